import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { native } from "@prismrec/core/ops";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildPackages, type Outcome, spawnPrismrec } from "./testing/spawn.js";

const LIMIT = 240_000;

let folder: string;

/** Runs the pipeline over `users` histories of a catalog of `items`, one of them with every item. */
async function pipeline(name: string, users: number, items: number, seed = 1): Promise<Outcome> {
  const events = ["user,item,timestamp"];
  for (let user = 0; user < users; user++) {
    const length = user === 0 ? items : Math.min(items, 3 + (user % 5));
    for (let n = 0; n < length; n++) events.push(`u${user},i${(user + n * (1 + (user % 2))) % items},${1_000 + n}`);
  }
  const list = Array.from({ length: items }, (_, item) => `i${item},Title ${item},group ${item % 3}`);
  await writeFile(join(folder, `${name}.csv`), `${[...new Set(events)].join("\n")}\n`);
  await writeFile(join(folder, `${name}-items.csv`), `item,title,categories\n${list.join("\n")}\n`);
  return spawnPrismrec([
    "run",
    ...["-i", join(folder, `${name}.csv`), "--items", join(folder, `${name}-items.csv`), "--min-core", "1"],
    ...["--llm", "none", "--clusterer", "category", "--epochs", "1", "--seed", String(seed), "--out", runOf(name)],
  ]);
}

const runOf = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-serving-"));
  await buildPackages();
  const outcomes = [await pipeline("one", 80, 60), await pipeline("other", 80, 60, 2)];
  expect(outcomes.map(({ code }) => code)).toEqual([0, 0]);
}, LIMIT);
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Document {
  readonly user: string;
  readonly items: readonly { readonly id: string; readonly score: number }[];
}

async function recommended(run: string, user: string): Promise<Document> {
  const { code, stdout, stderr } = await spawnPrismrec(["recommend", run, "-u", user, "-k", "5", "--json"]);
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout) as Document;
}

describe("a finished run, served by one process after another", () => {
  it(
    "gives each user of an export what recommend gives that user alone",
    async () => {
      const { stdout } = await spawnPrismrec(["export", runOf("one"), "recommendations", "-k", "5"]);
      const lines = stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Document);
      expect(lines).toHaveLength(80);
      for (const user of ["u1", "u42"]) {
        const alone = await recommended(runOf("one"), user);
        const exported = lines.find((line) => line.user === user)!;
        expect(exported.items.map(({ id }) => id)).toEqual(alone.items.map(({ id }) => id));
        for (const [i, { score }] of alone.items.entries()) expect(exported.items[i]!.score).toBeCloseTo(score, 4);
      }
      expect(lines.find(({ user }) => user === "u0")!.items).toEqual([]);
    },
    LIMIT,
  );

  it.skipIf(native() === undefined)(
    "opens the index that was saved, and serves without one all the same",
    async () => {
      const bare = runOf("bare");
      await cp(runOf("one"), bare, { recursive: true });
      await rm(join(bare, "index", "search"), { recursive: true });
      expect(await recommended(bare, "u7")).toEqual(await recommended(runOf("one"), "u7"));
    },
    LIMIT,
  );

  it.skipIf(native() === undefined)(
    "refuses the index of another model rather than serve wrong lists",
    async () => {
      const mixed = runOf("mixed");
      await cp(runOf("one"), mixed, { recursive: true });
      await cp(join(runOf("other"), "index", "search"), join(mixed, "index", "search"), { recursive: true });
      const { code, stdout, stderr } = await spawnPrismrec(["recommend", mixed, "-u", "u7", "--json"]);
      expect(code).not.toBe(0);
      expect(`${stdout}${stderr}`).toContain("CHECKPOINT_INCOMPATIBLE");
    },
    LIMIT,
  );
});

describe("a catalog smaller than the usual cut-offs", () => {
  it.each([
    [3, 1],
    [19, 9],
    [30, 20],
  ])(
    "of %i items is judged at %i, and says so",
    async (items, cutoff) => {
      const { code, stdout, stderr } = await pipeline(`of-${items}`, 60, items);
      expect(code, stderr).toBe(0);
      expect(stdout).toContain(`recall@${cutoff}`);
      expect(stdout).not.toMatch(/recall@50|recall@20.*recall@30/);
      expect(stderr).toContain(`validation recall@${cutoff} `);
      expect(stderr).toContain(`lists are judged at ${cutoff} (asked: 20, 50; ${items} items)`);
      const html = await readFile(join(runOf(`of-${items}`), "report", "report.html"), "utf8");
      expect(html).not.toContain("recall@50");
    },
    LIMIT,
  );
});
