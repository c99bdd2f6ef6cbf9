import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import type { Dataset } from "@prismrec/core/data";
import { openTable, withDuckDb } from "@prismrec/core/data/import";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { fit } from "../api/fit.js";
import { open } from "../api/open.js";
import { smallRows } from "../testing/small-data.js";
import { buildPackages, spawnPrismrec } from "../testing/spawn.js";
import { forgetUsers, openRun, type RunEvent, updateRun } from "./index.js";

const LIMIT = 240_000;
const SETTINGS = {
  effort: "quick",
  clusterer: "category",
  baselines: ["most-popular"],
  train: { stopping: { epochs: 2 } },
  evaluate: { resamples: 100 },
};

let folder: string;
let dir: string;
beforeAll(buildPackages, LIMIT);
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-forget-"));
  dir = join(folder, "run");
});
afterEach(() => rm(folder, { recursive: true }));

const rows: readonly string[] = smallRows().interactions.map(
  ({ user, item, timestamp }) => `shopper-${user.slice(1)}-Q,${item},${timestamp}`,
);

async function makeRun(log = join(folder, "log.csv.gz")): Promise<Dataset> {
  const text = `${["user,item,timestamp", ...rows, "shopper-1-Q"].join("\n")}\n`;
  await writeFile(log, log.endsWith(".gz") ? gzipSync(text) : text);
  const items = join(folder, "items.csv");
  const shelves = smallRows().items.map(({ item, title, categories }) => `${item},${title},${categories[0]}`);
  await writeFile(items, `${["item,title,categories", ...shelves].join("\n")}\n`);
  const users = join(folder, "users.csv");
  await writeFile(
    users,
    `${["user,age", ...Array.from({ length: 120 }, (_, n) => `shopper-${n}-Q,${n}`)].join("\n")}\n`,
  );
  await using run = await openRun(dir, { interactions: log, items, users, ...SETTINGS });
  await run.run();
  return (await run.open("import")).dataset;
}

const idsOf = ({ log, split }: Dataset, part: "train" | "test"): string[] =>
  Array.from(split[part].users, (user) => log.userIds[user]!);

/** The files of a run that hold a text in their bytes, unpacked; a Parquet file's cells are looked at. */
async function filesWith(text: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const found: string[] = [];
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const bytes = await readFile(path);
    const packed = path.endsWith(".gz") ? gunzipSync(bytes) : bytes;
    const holds = path.endsWith(".parquet") ? (await cellsOf(path)).includes(text) : packed.includes(text);
    if (holds || entry.name.includes(text)) found.push(path.slice(dir.length + 1));
  }
  return found.sort();
}

const cellsOf = (path: string): Promise<string> =>
  withDuckDb(async (connection) => {
    const table = await openTable(connection, path);
    const cells: string[] = [];
    for await (const chunk of table.read(table.columns, undefined, 0)) cells.push(...chunk.flat().map(String));
    return cells.join("\n");
  });

describe("forget", () => {
  it(
    "leaves no byte of users in the run, trained on or judged by, whose run then goes on without them",
    async () => {
      const dataset = await makeRun();
      const gone = [idsOf(dataset, "train")[3]!, idsOf(dataset, "test")[0]!];
      const more = join(folder, "more.csv");
      await writeFile(more, `user,item,timestamp\n${gone[0]},i1,90000\n${gone[0]},i2,90001\nshopper-8-Q,i3,90002\n`);
      await updateRun(dir, { interactions: [more] });
      for (const name of ["said.parquet", "said.json", "said.csv"]) {
        await spawnPrismrec(["export", dir, "recommendations", "-k", "2", "-o", join(dir, name)]);
      }
      await writeFile(join(dir, "notes.txt"), `ask ${gone[1]} why`);
      const tuned = join(dir, "lineage", "tuned.json");
      await writeFile(tuned, JSON.stringify({ chosen: ["no crowd"], settings: { crowd: { weight: 0 } } }));
      for (const id of gone) {
        expect(await filesWith(id)).toEqual(
          expect.arrayContaining(["import/users.json", "lineage/parts.json", "said.csv", "said.json", "said.parquet"]),
        );
        expect((await filesWith(id)).filter((path) => path.startsWith("inputs/")).length).toBeGreaterThan(1);
      }
      const told: RunEvent[] = [];
      const result = await forgetUsers(dir, gone, { onEvent: (event) => void told.push(event) });
      expect(result).toMatchObject({ users: 2, rows: 8 + 8 + 2 + 2, suspect: ["notes.txt"] });
      expect(result.removed).toEqual(
        expect.arrayContaining([
          "import",
          "crowd",
          "train-ldmi",
          "index",
          "report",
          "said.csv",
          "said.json",
          "said.parquet",
        ]),
      );
      expect(told).toContainEqual(
        expect.objectContaining({ type: "warning", text: expect.stringContaining("notes.txt") }),
      );
      await rm(join(dir, "notes.txt"));
      for (const id of gone) expect(await filesWith(id)).toEqual([]);
      await using shop = await open(dir);
      for (const id of gone) await expect(shop.recommend(id)).rejects.toMatchObject({ code: "UNKNOWN_USER" });
      expect((await shop.recommend("shopper-8-Q", { k: 3 })).items).toHaveLength(3);
      await using run = await openRun(dir);
      expect((await run.run()).map(({ reused }) => reused)).not.toContain(false);
      // Nothing goes on from what was learned of them, and the others are where they were.
      expect((await run.manifest("train-ldmi"))?.inputs.former).toBeUndefined();
      expect(existsSync(tuned)).toBe(false);
      const after = (await run.open("import")).dataset;
      for (const part of ["train", "test"] as const) {
        expect(idsOf(after, part)).toEqual(idsOf(dataset, part).filter((id) => !gone.includes(id)));
      }
    },
    LIMIT,
  );

  it(
    "keeps them out when a log brings them back, and does not say who they are",
    async () => {
      const dataset = await makeRun();
      const [id = ""] = idsOf(dataset, "train");
      await forgetUsers(dir, [id]);
      const list = await readFile(join(dir, "forgotten.json"), "utf8");
      expect(list).not.toContain(id);
      expect(JSON.parse(list).users).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/)]);
      const again = join(folder, "again.csv");
      await writeFile(again, `${["user,item,timestamp", ...rows, `${id},i3,99000`, "late-1,i1,99001"].join("\n")}\n`);
      const users = join(folder, "users2.csv");
      await writeFile(users, `user,age\n${id},77\nshopper-8-Q,78\n`);
      const result = await updateRun(dir, { interactions: [again], users: [users] });
      expect(result.files).toMatchObject([{ name: "again.jsonl", alreadyThere: 952, events: 1 }]);
      expect(await filesWith(id)).toEqual([]);
      await using shop = await open(dir);
      await expect(shop.recommend(id)).rejects.toMatchObject({ code: "UNKNOWN_USER" });
      // The very file of before is a part of the run, and stays one.
      expect(await updateRun(dir, { interactions: [join(folder, "log.csv.gz")] })).toMatchObject({ updated: false });
      expect(await filesWith(id)).toEqual([]);
    },
    LIMIT,
  );

  it(
    "keeps them out where a program brings its rows again",
    async () => {
      const { interactions, items } = smallRows();
      const own = interactions.map(({ user, ...row }) => ({ ...row, user: `shopper-${user.slice(1)}-Q` }));
      const settings = { clusterer: "category", train: { stopping: { epochs: 1 } } };
      await (await fit({ interactions: own, items }, { dir, settings })).close();
      await forgetUsers(dir, ["shopper-7-Q"]);
      expect(await filesWith("shopper-7-Q")).toEqual([]);
      await using shop = await fit({ interactions: own, items }, { dir, settings });
      expect(await filesWith("shopper-7-Q")).toEqual([]);
      await expect(shop.recommend("shopper-7-Q")).rejects.toMatchObject({ code: "UNKNOWN_USER" });
    },
    LIMIT,
  );

  it(
    "has removed them before anything is made again: an interruption leaves nothing of them, and the call goes on",
    async () => {
      const [id = ""] = idsOf(await makeRun(), "test");
      const stop = new AbortController();
      const reason = new Error("enough");
      const onEvent = (event: RunEvent) => void (event.type === "training" && stop.abort(reason));
      await expect(forgetUsers(dir, [id], { signal: stop.signal, onEvent })).rejects.toBe(reason);
      expect(await filesWith(id)).toEqual([]);
      await forgetUsers(dir, [id]);
      expect(await filesWith(id)).toEqual([]);
      await using shop = await open(dir);
      await expect(shop.recommend(id)).rejects.toMatchObject({ code: "UNKNOWN_USER" });
    },
    LIMIT,
  );

  it(
    "only removes where that is asked for, answers about histories too, and leaves what is the user's own",
    async () => {
      await mkdir(dir);
      const log = join(dir, "log.csv");
      const [id = ""] = idsOf(await makeRun(log), "train");
      const answers = join(dir, "cache", "llm");
      await mkdir(answers, { recursive: true });
      for (const name of ["answers.sqlite", "answers-histories.sqlite"]) await writeFile(join(answers, name), "");
      const { stdout, code } = await spawnPrismrec(["forget", dir, id, "--no-remake", "--json"]);
      expect(code).toBe(0);
      const result = JSON.parse(stdout);
      expect(result).toMatchObject({ users: 1, stages: [], suspect: ["log.csv"] });
      expect(result.removed).toContain("cache/llm/answers-histories.sqlite");
      expect(await readdir(answers)).toEqual(["answers.sqlite"]);
      expect(existsSync(join(dir, "import"))).toBe(false);
      expect(await filesWith(id)).toEqual(["log.csv"]);
      await expect(open(dir)).rejects.toMatchObject({ code: "RUN_INVALID" });
      await using run = await openRun(dir);
      await run.run();
      expect((await run.open("import")).dataset.log.indexOf(id)).toBeUndefined();
      expect(await filesWith(id)).toEqual(["log.csv"]);
    },
    LIMIT,
  );

  it(
    "refuses users whom the run does not know, all of them, and a folder without a run; nothing has changed then",
    async () => {
      const { log } = await makeRun();
      const before = await readdir(dir, { recursive: true });
      await expect(forgetUsers(dir, ["shopper-8-Q", "stranger"])).rejects.toMatchObject({
        code: "UNKNOWN_USER",
        received: "stranger",
      });
      await expect(forgetUsers(dir, log.userIds)).rejects.toMatchObject({ code: "DATA_EMPTY" });
      await expect(forgetUsers(folder, ["u1"])).rejects.toMatchObject({ code: "RUN_INVALID" });
      expect((await readdir(dir, { recursive: true })).sort()).toEqual(before.sort());
      await using run = await openRun(dir);
      expect((await run.run()).map(({ reused }) => reused)).not.toContain(false);
    },
    LIMIT,
  );
});
