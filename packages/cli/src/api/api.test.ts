import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RunEvent } from "../pipeline/events.js";
import { smallRows } from "../testing/small-data.js";
import { buildPackages, spawnPrismrec } from "../testing/spawn.js";
import { fit, open, type Row } from "./index.js";
import { writeRows } from "./rows.js";

const LIMIT = 240_000;
const { interactions, items } = smallRows();
const SETTINGS = { effort: "quick", clusterer: "category", train: { stopping: { epochs: 1 } } };
const HISTORY = { history: ["i1", "i7", "i13"] };

let folder: string;
const inside = (...parts: string[]): string => join(folder, ...parts);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-api-"));
  await buildPackages();
}, LIMIT);
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Rows one after the other, as they come from a database. */
async function* streamed(rows: readonly Row[]): AsyncGenerator<Row> {
  for (const row of rows) yield row;
}

describe("fit", () => {
  it(
    "takes arrays, streams and files for the same thing, and its answers are those of open and of the command line",
    async () => {
      const file = inside("events.jsonl");
      await writeFile(file, interactions.map((row) => JSON.stringify(row)).join("\n"));
      const dir = inside("run");
      await using shop = await fit({ interactions, items }, { dir, settings: SETTINGS });
      await using same = await fit(
        { interactions: streamed(interactions), items: streamed(items) },
        { settings: SETTINGS },
      );
      await using third = await fit({ interactions: file, items }, { settings: SETTINGS });
      const answer = await shop.recommend("u7", { k: 5 });
      expect(await same.recommend("u7", { k: 5 })).toEqual(answer);
      expect(await third.recommend("u7", { k: 5 })).toEqual(answer);
      await using opened = await open(dir);
      expect(await opened.recommend("u7", { k: 5 })).toEqual(answer);
      expect(await opened.recommend(HISTORY)).toEqual(await shop.recommend(HISTORY));
      const { stdout } = await spawnPrismrec(["recommend", dir, "--user", "u7", "-k", "5", "--json"]);
      const told = JSON.parse(stdout);
      expect(told.items.map(({ id, score }: { id: string; score: number }) => [id, score])).toEqual(
        answer.items.map(({ id, score }) => [id, score]),
      );
    },
    LIMIT,
  );

  it(
    "takes up what is there, tells of it, and keeps nothing without a folder",
    async () => {
      const dir = inside("again");
      const told: RunEvent[] = [];
      const onEvent = (event: RunEvent) => void told.push(event);
      await using first = await fit({ interactions, items }, { dir, settings: SETTINGS, onEvent });
      const finished = () => told.filter((event) => event.type === "stage-finished");
      expect(finished().map(({ stage, reused }) => [stage, reused])).toEqual(
        ["import", "cluster", "crowd", "train-ldmi", "prior", "index"].map((stage) => [stage, false]),
      );
      told.length = 0;
      await using second = await fit({ interactions, items }, { dir, settings: SETTINGS, onEvent });
      expect(finished().every(({ reused }) => reused)).toBe(true);
      expect(await second.interests("u3")).toEqual(await first.interests("u3"));

      const before = await readdir(tmpdir());
      const passing = await fit({ interactions }, { model: "most-popular", llm: "none" });
      expect(passing).toMatchObject({ model: "most-popular", users: 120, items: 48 });
      await passing.close();
      const left = (await readdir(tmpdir())).filter((name) => name.startsWith("prismrec-") && !before.includes(name));
      expect(left.filter((name) => /^prismrec-[A-Za-z0-9]{6}$/.test(name))).toEqual([]);
    },
    LIMIT,
  );

  it.each(["ease", "item-knn", "comirec-sa"])(
    "serves %s",
    async (model) => {
      await using shop = await fit(
        { interactions, items },
        {
          model,
          llm: "none",
          settings: { effort: "quick", train: model === "comirec-sa" ? { stopping: { epochs: 1 } } : {} },
        },
      );
      const { items: found } = await shop.recommend("u7", { k: 3 });
      expect(found).toHaveLength(3);
      expect(shop.model).toBe(model);
    },
    LIMIT,
  );

  it.each([
    [{ interactions: [{ user: "u1", item: {} }] }, /interactions\[0\]\.item/],
    [{ interactions: ["u1,i1"] }, /interactions\[0\]/],
    [{ interactions: [{ user: "u1", item: "i1", time: new Date("never") }] }, /an invalid Date/],
  ])("refuses %j, naming the cell", async (data, named) => {
    const failure = await fit(data as never, { llm: "none" }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(JSON.stringify(failure)).toMatch(named);
  });

  it(
    "lets one at a time write into a folder, and says so to the other",
    async () => {
      const dir = inside("two");
      const both = await Promise.allSettled([
        fit({ interactions }, { dir, model: "ease", llm: "none" }),
        fit({ interactions: interactions.slice(8) }, { dir, model: "ease", llm: "none" }),
      ]);
      const [done, refused] = both.toSorted((a, b) => (a.status < b.status ? -1 : 1));
      if (done?.status !== "fulfilled" || refused?.status !== "rejected") throw new Error("both or neither");
      expect(refused.reason).toMatchObject({ code: "RUN_LOCKED" });
      await using shop = done.value;
      expect((await shop.recommend("u7")).items).toHaveLength(10);
    },
    LIMIT,
  );

  it("refuses options and tables that mean nothing, and keeps nothing of a stream that breaks", async () => {
    await expect(fit({ interactions }, { modle: "ease" } as never)).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      hint: "Did you mean model?",
    });
    await expect(fit({ interactions, itemz: [] } as never)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    const broken = new Error("the database is gone");
    async function* breaking(): AsyncGenerator<Row> {
      yield* interactions.slice(0, 5);
      throw broken;
    }
    const dir = inside("broken");
    await expect(fit({ interactions: breaking() }, { dir, llm: "none" })).rejects.toBe(broken);
    expect(await readdir(join(dir, "inputs"))).toEqual([]);
  });

  it("refuses what cannot be, before anything is read", async () => {
    await expect(fit({ interactions }, { model: "nothing" })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    await expect(fit({ interactions: inside("nowhere.csv") })).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
    await expect(fit({ interactions: [] }, { llm: "none" })).rejects.toMatchObject({ code: "DATA_EMPTY" });
    const reason = new Error("enough");
    await expect(fit({ interactions }, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});

describe("filter and exclude", () => {
  it.each(["ldmi", "ease"])(
    "leave the best of what matches, from fit, from open and from the command line (%s)",
    async (model) => {
      const dir = inside(`filtered-${model}`);
      const settings = {
        effort: "quick",
        clusterer: "category",
        train: model === "ldmi" ? { stopping: { epochs: 1 } } : {},
      };
      await using shop = await fit({ interactions, items }, { dir, model, settings });
      const filter = { inStock: true, price: { from: 3, to: 18 }, categories: ["group 1", "group 2"] };
      const options = { k: 4, filter, exclude: ["i7"] };
      const all = await shop.recommend("u7", { k: 48 });
      const allowed = new Set(
        items
          .filter(({ price, inStock, categories }) => {
            return inStock && price >= 3 && price <= 18 && ["group 1", "group 2"].includes(categories[0]!);
          })
          .map(({ item }) => item),
      );
      const expected = all.items.filter(({ id }) => allowed.has(id) && id !== "i7").slice(0, 4);
      expect(expected.length).toBeGreaterThan(2);
      const answer = await shop.recommend("u7", options);
      expect(answer.items.map(({ id, score }) => [id, score])).toEqual(expected.map(({ id, score }) => [id, score]));
      await using opened = await open(dir);
      expect(await opened.recommend("u7", options)).toEqual(answer);
      const flags = ["inStock=true", "price=3..18", "categories=group 1,group 2"];
      const told = await spawnPrismrec([
        ...["recommend", dir, "-u", "u7", "-k", "4", "--json", "--exclude", "i7", "--filter", ...flags],
      ]);
      expect(JSON.parse(told.stdout).items.map(({ id }: { id: string }) => id)).toEqual(expected.map(({ id }) => id));
      const similar = await shop.similarItems("i1", { k: 3, filter });
      expect(similar.every(({ id }) => allowed.has(id))).toBe(true);
      const listed = await spawnPrismrec(["similar", dir, "i1", "-k", "3", "--json", "--filter", ...flags]);
      expect(JSON.parse(listed.stdout).similar).toEqual(similar);
      await expect(shop.recommend("u7", { filter: { prices: 1 } })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    },
    LIMIT,
  );
});

describe("save", () => {
  it(
    "writes what opens elsewhere, the inputs being gone",
    async () => {
      const dir = inside("to-save");
      const shop = await fit({ interactions, items }, { dir, settings: SETTINGS });
      const answer = await shop.recommend(HISTORY, { k: 4 });
      await shop.save(inside("saved"));
      await expect(shop.save(inside("saved"))).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
      await shop.close();
      await expect(shop.recommend("u1")).rejects.toMatchObject({ code: "DISPOSED" });
      await rm(dir, { recursive: true });
      await using moved = await open(inside("saved"));
      expect(await moved.recommend(HISTORY, { k: 4 })).toEqual(answer);
      expect(existsSync(inside("saved", "inputs"))).toBe(false);
    },
    LIMIT,
  );
});

describe("trainAll", () => {
  it.each(["ldmi", "ease", "most-popular"])(
    "serves a model of everybody, %s",
    async (model) => {
      const train = model === "ldmi" ? { stopping: { epochs: 2 } } : {};
      const options = { model, settings: { effort: "quick", clusterer: "category", train } };
      const dir = inside(`all-${model}`);
      await using held = await fit({ interactions, items }, options);
      await using shop = await fit({ interactions, items }, { ...options, dir, trainAll: true });
      const manifest = JSON.parse(await readFile(join(dir, "train-all", "manifest.json"), "utf8"));
      expect(Object.keys(manifest.inputs)).toContain(`train-${model}`);
      const scores = async (of: typeof shop) => (await of.recommend("u7", { k: 5 })).items.map(({ score }) => score);
      if (model !== "most-popular") expect(await scores(shop)).not.toEqual(await scores(held));
      await using opened = await open(dir);
      expect(await scores(opened)).toEqual(await scores(shop));
    },
    LIMIT,
  );
});

it(
  "trains everybody by the settings that were validated",
  async () => {
    const dir = inside("all-settings");
    const settings = { models: { "item-knn": { neighbours: 3 } } };
    await using shop = await fit(
      { interactions, items },
      { model: "item-knn", llm: "none", dir, trainAll: true, settings },
    );
    const fitted = JSON.parse(await readFile(join(dir, "train-all", "model.json"), "utf8"));
    expect(fitted).toEqual({ model: "item-knn", settings: { neighbours: 3 }, facts: {} });
    expect((await shop.recommend("u7")).items.length).toBeGreaterThan(0);
  },
  LIMIT,
);

it("reads back what it wrote", async () => {
  const dir = inside("rows");
  const rows: Row[] = [
    { user: "u1", item: 'a "b"\n', time: new Date(0), n: 2n, tags: ["x", "y"], none: null, bad: Number.NaN, ok: true },
  ];
  await writeRows(join(dir, "rows.jsonl"), rows, "rows");
  const lines = (await readFile(join(dir, "rows.jsonl"), "utf8")).trim().split("\n");
  expect(lines.map((line) => JSON.parse(line))).toEqual([
    { user: "u1", item: 'a "b"\n', time: "1970-01-01T00:00:00.000Z", n: "2", tags: ["x", "y"], ok: true },
  ]);
});
