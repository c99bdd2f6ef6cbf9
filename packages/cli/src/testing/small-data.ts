import { writeFile } from "node:fs/promises";
import { join } from "node:path";

const USERS = 120;
const ITEMS = 48;
const GROUPS = 6;

/** Users of eight events who take items of two of six groups in turn. */
function smallEvents() {
  return Array.from({ length: USERS }, (_, user) => {
    const groups = [user % GROUPS, (user * 3 + 1) % GROUPS];
    return Array.from({ length: 8 }, (_, n) => {
      const place = Math.floor(user / GROUPS) + 3 * Math.floor(n / 2);
      const item = `i${groups[n % 2]! + GROUPS * (place % (ITEMS / GROUPS))}`;
      return { user: `u${user}`, item, timestamp: 1_000 + user * 100 + n };
    });
  }).flat();
}

/** The same as rows of a program, with items that have a price and may be in stock. */
export function smallRows() {
  const items = Array.from({ length: ITEMS }, (_, item) => ({
    item: `i${item}`,
    title: `Title ${item}`,
    categories: [`group ${item % GROUPS}`],
    price: item / 2,
    inStock: item % 3 > 0,
  }));
  return { interactions: smallEvents(), items };
}

/** `events.csv`, and `items.csv` beside it. */
export async function writeSmallData(folder: string): Promise<void> {
  const lines = smallEvents().map(({ user, item, timestamp }) => `${user},${item},${timestamp}`);
  await writeFile(join(folder, "events.csv"), `${["user,item,timestamp", ...lines].join("\n")}\n`);
  await writeSmallItems(folder, GROUPS);
}

/** The items with as many categories as told. */
export async function writeSmallItems(folder: string, categories: number): Promise<void> {
  const items = Array.from({ length: ITEMS }, (_, item) => `i${item},Title ${item},group ${item % categories}`);
  await writeFile(join(folder, "items.csv"), `item,title,categories\n${items.join("\n")}\n`);
}
