import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sha256 } from "@prismrec/core/base";
import type { Dataset } from "@prismrec/core/data";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { open } from "../api/open.js";
import type { RawSettings } from "../config/load.js";
import { smallRows } from "../testing/small-data.js";
import { buildPackages, spawnPrismrec } from "../testing/spawn.js";
import { openRun, type RunEvent, type UpdateFiles, updateRun } from "./index.js";

const LIMIT = 240_000;
const SETTINGS = {
  effort: "quick",
  clusterer: "category",
  baselines: ["most-popular"],
  train: { stopping: { epochs: 3 } },
  evaluate: { resamples: 100 },
};
const HISTORY = { history: ["i1", "i7", "i13"] };

let folder: string;
let dir: string;
beforeAll(buildPackages, LIMIT);
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-update-"));
  dir = join(folder, "run");
});
afterEach(() => rm(folder, { recursive: true }));

type Row = readonly [user: string, item: string, time?: number];

async function csv(name: string, header: string, rows: readonly (readonly unknown[])[]): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, `${[header, ...rows.map((row) => row.join(","))].join("\n")}\n`);
  return path;
}
const events = (name: string, rows: readonly Row[]) =>
  csv(name, rows[0]?.length === 2 ? "user,item" : "user,item,timestamp", rows);

const former: readonly Row[] = smallRows().interactions.map(({ user, item, timestamp }) => [user, item, timestamp]);
/** Twelve users who come later, with eight events each, two of them of new items. */
const newcomers: readonly Row[] = Array.from({ length: 96 }, (_, n) => {
  const [user, place] = [n >> 3, n & 7];
  return [`v${user}`, place < 2 ? `new${place}` : `i${(user + 6 * place) % 48}`, 90_000 + n];
});
/** Events of users who are there, after all others. */
const later: readonly Row[] = Array.from({ length: 30 }, (_, n) => [`u${n}`, `i${(n * 7 + 3) % 48}`, 80_000 + n]);

async function writeItems(): Promise<string> {
  const items = smallRows().items.map(({ item, title, categories, price }) => [item, title, categories[0], price]);
  return csv("items.csv", "item,title,categories,price", items);
}

/** A finished run of the small data; its files are moved away, as logs are. */
async function makeRun(settings: RawSettings = {}, rows: readonly Row[] = former, at = dir): Promise<void> {
  const interactions = await events("log.csv", rows);
  const items = await writeItems();
  await using run = await openRun(at, { interactions, items, ...SETTINGS, ...settings });
  await run.run();
  await run.close();
  await rm(interactions);
  await rm(items);
}

async function datasetOf(at = dir): Promise<Dataset> {
  await using run = await openRun(at, undefined, { readOnly: true });
  return (await run.open("import")).dataset;
}

/** Hash of every file of a run but its lock, by path. */
async function contents(at = dir): Promise<Record<string, string>> {
  const entries = await readdir(at, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return Object.fromEntries(
    await Promise.all(files.sort().map(async (path) => [path.slice(at.length + 1), sha256(await readFile(path))])),
  );
}

const partsOf = ({ log, split }: Dataset): Map<string, string> =>
  new Map(
    (["train", "valid", "test"] as const).flatMap((part) =>
      Array.from(split[part].users, (user) => [log.userIds[user]!, part] as const),
    ),
  );

const warnings = (told: readonly RunEvent[]) => told.flatMap((event) => (event.type === "warning" ? [event.text] : []));

describe("update", () => {
  it(
    "keeps the settings that validation has chosen, and tries none again",
    async () => {
      await makeRun({ effort: "standard", train: { ...SETTINGS.train, stopping: { epochs: 2 } } });
      const result = async () => JSON.parse(await readFile(join(dir, "tune", "tune.json"), "utf8"));
      const { chosen, settings, rounds } = await result();
      expect(rounds).toHaveLength(1);
      await updateRun(dir, { interactions: [await events("more.csv", [...later, ...newcomers])] });
      expect(await result()).toEqual({ chosen, settings, rounds: [] });
      const { config } = JSON.parse(await readFile(join(dir, "train-ldmi", "curve.json"), "utf8"));
      expect(config).toMatchObject(settings);
    },
    LIMIT,
  );

  it(
    "brings in users, items and events, counts what is there once, and goes on from the former model",
    async () => {
      await makeRun();
      const before = await datasetOf();
      const more = await events("more.csv", [...former.slice(0, 10), ...later, ...newcomers]);
      const items = await csv("new.csv", "item,title,categories,price", [
        ["new0", "Brand new", "group 1", 5],
        ["i1", "Title 1", "group 1", 99],
      ]);
      const told: RunEvent[] = [];
      const result = await updateRun(
        dir,
        { interactions: [more], items: [items] },
        { onEvent: (e) => void told.push(e) },
      );
      expect(result).toMatchObject({ updated: true, added: { users: 12, items: 2 } });
      expect(result.files).toEqual([{ name: "more.csv", rows: 136, alreadyThere: 10, events: 126 }]);
      expect(result.added.events).toBe((await datasetOf()).log.items.length - before.log.items.length);
      const [own] = result.training;
      expect(own).toMatchObject({ stage: "train-ldmi", warm: true, former: { steps: expect.any(Number) } });
      expect(told).toContainEqual({ type: "updated-training", training: own });
      const after = await datasetOf();
      expect(after.catalog.items[after.catalog.idOf("new0")!]?.title).toBe("Brand new");
      const price = after.catalog.columns!.get("price") as { readonly values: Float64Array };
      expect(price.values[after.catalog.idOf("i1")!]).toBe(99);
      // The run is one like any other: it needs no file but its own, nothing of it is out of date, and it serves.
      await rm(more);
      await rm(items);
      const moved = join(folder, "moved");
      await rename(dir, moved);
      await using run = await openRun(moved);
      expect((await run.run()).map(({ reused }) => reused)).not.toContain(false);
      await run.close();
      await using shop = await open(moved);
      expect((await shop.recommend("v3", { k: 5 })).items).toHaveLength(5);
      expect((await shop.similarItems("new0", { k: 3 })).length).toBe(3);
      const copy = join(folder, "copy");
      await shop.save(copy);
      await using copied = await open(copy);
      expect(await copied.recommend("v3", { k: 5 })).toEqual(await shop.recommend("v3", { k: 5 }));
    },
    LIMIT,
  );

  it(
    "may come again and again, and ends where one import of all files would, with the parts of before",
    async () => {
      await makeRun();
      const first = await events("first.csv", later);
      const second = await events("second.csv", newcomers);
      const one = await updateRun(dir, { interactions: [first] });
      const two = await updateRun(dir, { interactions: [second] });
      expect(two.training[0]).toMatchObject({ warm: true, former: { steps: one.training[0]!.steps } });
      const { log, catalog } = await datasetOf();
      const whole = join(folder, "whole");
      const all = [await events("log.csv", former), first, second];
      await using run = await openRun(whole, { interactions: all, items: await writeItems(), ...SETTINGS });
      await run.run({ to: "import" });
      const { dataset } = await run.open("import");
      expect(log.userIds).toEqual(dataset.log.userIds);
      const idsOf = (of: Dataset["log"], ids: Dataset["catalog"]) =>
        Array.from(of.items, (item) => ids.items[item]!.id);
      expect(idsOf(log, catalog)).toEqual(idsOf(dataset.log, dataset.catalog));
      expect(log.timestamps).toEqual(dataset.log.timestamps);
    },
    LIMIT,
  );

  it(
    "of nothing new leaves the run as it was: an empty file, a header, what is there",
    async () => {
      await makeRun();
      const before = await contents();
      const empty = join(folder, "empty.csv");
      await writeFile(empty, "");
      const header = await events("header.csv", []);
      const known = await events("known.csv", former.slice(5, 60));
      for (const interactions of [[empty], [header], [known], [empty, header, known]]) {
        const result = await updateRun(dir, { interactions });
        expect(result).toMatchObject({ updated: false, added: { users: 0, items: 0, events: 0 }, stages: [] });
        expect(await contents()).toEqual(before);
      }
      await expect(updateRun(dir, {})).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    },
    LIMIT,
  );

  it(
    "of a file that cannot be used is refused, and the run is as it was",
    async () => {
      await makeRun();
      const before = await contents();
      const cases: readonly (readonly [UpdateFiles, string])[] = [
        [{ interactions: [await csv("other.csv", "customer,sku,day", [["u1", "i1", "2026-01-01"]])] }, "DATA_FORMAT"],
        [{ interactions: [await events("bad.csv", [["u1", "i1", "soon" as never]])] }, "DATA_FORMAT"],
        [{ interactions: [join(folder, "nowhere.csv")] }, "FILE_NOT_FOUND"],
        [{ items: [await csv("titles.csv", "title,price", [["x", 1]])] }, "DATA_FORMAT"],
      ];
      for (const [files, code] of cases) {
        await expect(updateRun(dir, files)).rejects.toMatchObject({ code });
        expect(await contents()).toEqual(before);
      }
      await mkdir(join(folder, "none"));
      await expect(updateRun(join(folder, "none"), { interactions: ["x"] })).rejects.toMatchObject({
        code: "RUN_INVALID",
      });
      expect(await readdir(join(folder, "none"))).toEqual([]);
    },
    LIMIT,
  );

  it(
    "keeps what is too little to count, until enough has come",
    async () => {
      await makeRun();
      const rare = (from: number, name: string) =>
        events(
          name,
          Array.from({ length: 3 }, (_, n): Row => [`u${from + n}`, "rare", 95_000 + from + n]),
        );
      expect(await updateRun(dir, { interactions: [await rare(0, "some.csv")] })).toMatchObject({
        updated: true,
        added: { users: 0, items: 0, events: 0 },
      });
      expect((await datasetOf()).catalog.idOf("rare")).toBeUndefined();
      const result = await updateRun(dir, { interactions: [await rare(3, "more.csv")] });
      expect(result.added).toEqual({ users: 0, items: 1, events: 6 });
    },
    LIMIT,
  );

  it(
    "of items alone keeps the model's place, and of users alone their columns",
    async () => {
      await makeRun();
      const items = await csv("prices.csv", "item,price", [["i0", 1234]]);
      expect(await updateRun(dir, { items: [items] })).toMatchObject({
        updated: true,
        added: { users: 0, items: 0, events: 0 },
      });
      const users = await csv("users.csv", "user,age", [["u3", 33]]);
      await updateRun(dir, { users: [users] });
      const { catalog, log } = await datasetOf();
      expect((catalog.columns!.get("price") as { values: Float64Array }).values[catalog.idOf("i0")!]).toBe(1234);
      expect((log.profile!.get("age") as { values: Float64Array }).values[log.indexOf("u3")!]).toBe(33);
    },
    LIMIT,
  );

  it(
    "that is interrupted leaves the run serving as it was, and goes on to the very bytes of one that was not",
    async () => {
      await makeRun();
      const undisturbed = join(folder, "undisturbed");
      await makeRun({}, former, undisturbed);
      const more = await events("more.csv", newcomers);
      await updateRun(undisturbed, { interactions: [more] });
      const before = await contents();
      await using served = await open(dir);
      const answer = await served.recommend(HISTORY);
      const stop = new AbortController();
      const reason = new Error("enough");
      const onEvent = (event: RunEvent) => {
        if (event.type === "training" && event.event.type === "epoch" && event.event.epoch === 2) stop.abort(reason);
      };
      await expect(updateRun(dir, { interactions: [more] }, { signal: stop.signal, onEvent })).rejects.toBe(reason);
      const now = await contents();
      for (const [path, hash] of Object.entries(before)) expect([path, now[path]]).toEqual([path, hash]);
      await using again = await open(dir);
      expect(await again.recommend(HISTORY)).toEqual(answer);
      await rm(more);
      const told: RunEvent[] = [];
      const result = await updateRun(dir, {}, { onEvent: (event) => void told.push(event) });
      expect(result).toMatchObject({ updated: true, added: { users: 12, items: 2 } });
      const starts = told.flatMap((event) =>
        event.type === "training" && event.event.type === "start" ? [event.event] : [],
      );
      expect(starts[0]).toMatchObject({ resumed: true });
      const [one, other] = [await contents(), await contents(undisturbed)];
      for (const path of ["train-ldmi/model/tensors.safetensors", "import/events.u32", "evaluate/evaluation.json"]) {
        expect(one[path]).toBe(other[path]);
      }
      expect(existsSync(join(dir, ".update"))).toBe(false);
    },
    LIMIT,
  );

  it(
    "takes up what an interrupted one was about to bring, beside what is given now",
    async () => {
      await makeRun();
      const stop = new AbortController();
      const onEvent = (event: RunEvent) => void (event.type === "training" && stop.abort(new Error("enough")));
      const first = await events("first.csv", newcomers);
      await expect(updateRun(dir, { interactions: [first] }, { signal: stop.signal, onEvent })).rejects.toThrow(
        "enough",
      );
      // A file that cannot be used takes nothing of that away.
      const other = await csv("other.csv", "customer,sku", [["u1", "i1"]]);
      await expect(updateRun(dir, { interactions: [other] })).rejects.toMatchObject({ code: "DATA_FORMAT" });
      const result = await updateRun(dir, { interactions: [await events("second.csv", later)] });
      expect(result.files.map(({ name }) => name)).toEqual(["first.csv", "second.csv"]);
      expect((await datasetOf()).log.indexOf("v3")).toBeDefined();
    },
    LIMIT,
  );

  it(
    "goes on where the model learns from everybody, and where it is one that is fitted at once",
    async () => {
      const more = await events("more.csv", newcomers);
      await makeRun({ trainAll: true });
      const all = await updateRun(dir, { interactions: [more] });
      expect(all.training.map(({ stage, warm }) => [stage, warm])).toEqual([
        ["train-ldmi", true],
        ["train-most-popular", false],
        ["train-all", true],
      ]);
      const fitted = join(folder, "fitted");
      await makeRun({ model: "ease", train: {} }, former, fitted);
      const again = await updateRun(fitted, { interactions: [more] });
      expect(again.training[0]).toEqual({ stage: "train-ease", warm: false });
      for (const at of [dir, fitted]) {
        await using shop = await open(at);
        expect((await shop.recommend("v3", { k: 5 })).items).toHaveLength(5);
      }
    },
    LIMIT,
  );
});

describe("prismrec update", () => {
  it(
    "tells what came, in words and as JSON, and another process serves it",
    async () => {
      const flags = ["--clusterer", "category", "--epochs", "2", "--baselines", "most-popular", "--since", "1000"];
      const log = ["-i", await events("log.csv", former), "--items", await writeItems()];
      expect((await spawnPrismrec(["run", ...log, ...flags, "--out", dir])).code).toBe(0);
      const more = await events("more.csv", [["u1", "i40", 999], ...newcomers]);
      const { code, stdout, stderr } = await spawnPrismrec(["update", dir, "-i", more]);
      expect([code, stderr.includes("✖")]).toEqual([0, false]);
      expect(stdout).toMatch(/^Added \d+ events, 12 users and 2 items to /);
      expect(stdout).toMatch(/The model took \d+ steps from where it was; the training before took \d+\./);
      expect(stderr).toContain("1 before-since");
      expect(stderr).toMatch(/train-ldmi: \d+ steps from the former model/);
      const served = await spawnPrismrec(["recommend", dir, "--user", "v5", "-k", "4", "--json"]);
      expect(JSON.parse(served.stdout).items).toHaveLength(4);
      const again = await spawnPrismrec(["update", dir, "-i", more, "--json"]);
      expect(JSON.parse(again.stdout)).toMatchObject({ updated: false });
      const wrong = await spawnPrismrec(["update", dir, "--json"]);
      expect([wrong.code, wrong.stderr.includes("INVALID_ARGUMENT")]).toEqual([2, true]);
    },
    LIMIT,
  );
});

it(
  "killed at any point, an update leaves a run that serves, and is done in the end",
  async () => {
    await makeRun();
    const answer = async (): Promise<string[]> => {
      await using shop = await open(dir);
      return (await shop.recommend(HISTORY, { k: 3 })).items.map(({ id, score }) => `${id} ${score}`);
    };
    const [before, more] = [await answer(), await events("more.csv", newcomers)];
    for (const stage of ["import", "train-ldmi", "report"]) {
      const signalWhen = () => existsSync(join(dir, ".update", stage, "manifest.json"));
      const killed = await spawnPrismrec(["update", dir, "-i", more], { signal: "SIGKILL", signalWhen });
      // A fast machine may be done before the signal comes.
      if (killed.code === 0) break;
      if (!existsSync(join(dir, ".update", "complete.json"))) expect(await answer()).toEqual(before);
      else expect(await answer()).not.toEqual(before);
    }
    await spawnPrismrec(["update", dir, "-i", more]);
    expect(await answer()).not.toEqual(before);
    expect((await datasetOf()).log.indexOf("v3")).toBeDefined();
    expect(existsSync(join(dir, ".update"))).toBe(false);
  },
  LIMIT,
);

describe("the split of an updated run", () => {
  it(
    "keeps every user in the part of before, twice over, while newcomers are drawn",
    async () => {
      await makeRun();
      const first = partsOf(await datasetOf());
      await updateRun(dir, { interactions: [await events("more.csv", newcomers)] });
      const second = partsOf(await datasetOf());
      for (const [id, part] of first) expect([id, second.get(id)]).toEqual([id, part]);
      expect(second.size).toBe(first.size + 12);
      const third: readonly Row[] = Array.from({ length: 64 }, (_, n) => [
        `w${n >> 3}`,
        `i${(n * 5) % 48}`,
        99_000 + n,
      ]);
      await updateRun(dir, { interactions: [await events("third.csv", [...third, ...later])] });
      const now = partsOf(await datasetOf());
      for (const [id, part] of second) expect([id, now.get(id)]).toEqual([id, part]);
    },
    LIMIT,
  );

  it.each(["leave-one-out", "user-ratio", "temporal"])(
    "under %s lets the model go on where rows come later, and not where it would know what it is asked",
    async (protocol) => {
      const together: Row[] = former.map(([user, item], n) => [
        user,
        item,
        1_000 + 100 * (n % 8) + Number(user.slice(1)) / 2,
      ]);
      await makeRun({ split: { protocol } }, together);
      const warm = await updateRun(dir, { interactions: [await events("more.csv", [...later, ...newcomers])] });
      expect(warm.training[0]).toMatchObject({ stage: "train-ldmi", warm: true });
      // Events before all others: what was learned from is asked for now.
      const early: readonly Row[] = Array.from({ length: 480 }, (_, n) => [`u${n >> 2}`, `i${(n * 11 + 5) % 48}`, n]);
      const told: RunEvent[] = [];
      const cold = await updateRun(
        dir,
        { interactions: [await events("early.csv", early)] },
        { onEvent: (event) => void told.push(event) },
      );
      expect(cold.training[0]).toMatchObject({ warm: false });
      expect(warnings(told).join("\n")).toContain("trained anew");
      await using run = await openRun(dir);
      expect((await run.run()).map(({ reused }) => reused)).not.toContain(false);
    },
    LIMIT,
  );

  it(
    "of data without times asks nobody for what was learned: what is added comes after the order of before",
    async () => {
      const untimed = (rows: readonly Row[]): Row[] => rows.map(([user, item]) => [user, item]);
      await makeRun({ split: { protocol: "leave-one-out" } }, untimed(former));
      const before = await datasetOf();
      const result = await updateRun(dir, {
        interactions: [await events("more.csv", untimed([...later, ...newcomers]))],
      });
      expect(result.training[0]).toMatchObject({ warm: true });
      const after = await datasetOf();
      const historyOf = ({ log, catalog }: Dataset, id: string) => {
        const user = log.indexOf(id)!;
        return Array.from(
          log.items.subarray(log.indptr[user], log.indptr[user + 1]),
          (item) => catalog.items[item]!.id,
        );
      };
      for (const id of before.log.userIds) {
        const own = historyOf(before, id);
        expect(historyOf(after, id).slice(0, own.length)).toEqual(own);
      }
    },
    LIMIT,
  );
});
