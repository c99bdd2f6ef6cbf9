import { writeFile } from "node:fs/promises";
import { join } from "node:path";

const USERS = 120;
const ITEMS = 48;
const GROUPS = 6;

/** Users of eight events who take items of two of six groups in turn: `events.csv`, and `items.csv` beside it. */
export async function writeSmallData(folder: string): Promise<void> {
  const events = ["user,item,timestamp"];
  for (let user = 0; user < USERS; user++) {
    const groups = [user % GROUPS, (user * 3 + 1) % GROUPS];
    for (let n = 0; n < 8; n++) {
      const place = Math.floor(user / GROUPS) + 3 * Math.floor(n / 2);
      events.push(`u${user},i${groups[n % 2]! + GROUPS * (place % (ITEMS / GROUPS))},${1_000 + user * 100 + n}`);
    }
  }
  await writeFile(join(folder, "events.csv"), `${events.join("\n")}\n`);
  await writeSmallItems(folder, GROUPS);
}

/** The items with as many categories as told. */
export async function writeSmallItems(folder: string, categories: number): Promise<void> {
  const items = Array.from({ length: ITEMS }, (_, item) => `i${item},Title ${item},group ${item % categories}`);
  await writeFile(join(folder, "items.csv"), `item,title,categories\n${items.join("\n")}\n`);
}
