import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PriorModel } from "@prismrec/core/models";
import { afterAll, beforeAll, expect, it } from "vitest";
import { fit } from "../api/fit.js";
import { open } from "../api/open.js";
import { smallRows } from "../testing/small-data.js";
import { openRun } from "./run.js";
import { openServing } from "./serving.js";
import { servedStage } from "./stages.js";
import { updateRun } from "./update.js";

const LIMIT = 120_000;
const rows = smallRows();
/** Everybody's nth event at about the same time: a moment in time divides every history. */
const interactions = rows.interactions.map((row, n) => ({ ...row, timestamp: (row.timestamp % 100) * 1000 + n }));
const data = { ...rows, interactions };
const SETTINGS = {
  effort: "quick",
  llm: "none",
  baselines: [],
  train: { stopping: { epochs: 1 }, network: { dim: 8 } },
};
let folder = "";
const inside = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-prior-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function answers(shop: Awaited<ReturnType<typeof open>>) {
  const found = await shop.recommendMany(["u3", "u40", { history: ["i1", "i7"] }], { k: 6 });
  return found.map(({ items }) => items);
}

it.each([
  ["user-disjoint", false],
  ["leave-one-out", false],
  ["user-ratio", false],
  ["temporal", false],
  ["user-disjoint", true],
] as const)(
  "a prior is chosen, saved and served alike under %s, trained on all: %s",
  async (protocol, trainAll) => {
    const dir = inside(`${protocol}-${trainAll}`);
    await using shop = await fit(data, { dir, trainAll, settings: { ...SETTINGS, split: { protocol } } });
    const told = await answers(shop);
    const saved = inside(`saved-${protocol}-${trainAll}`);
    await shop.save(saved);
    await using again = await open(dir);
    await using copied = await open(saved);
    expect(await answers(again)).toEqual(told);
    expect(await answers(copied)).toEqual(told);
    const { chosen, tried } = JSON.parse(await readFile(join(dir, "prior", "prior.json"), "utf8"));
    expect(tried.map(({ prior }: { prior: string }) => prior)).toEqual([
      ...Array(7).fill("item-knn"),
      ...Array(7).fill("ease"),
      ...Array(7).fill("l3ae"),
    ]);
    expect(tried).toContainEqual(expect.objectContaining(chosen));
    // One epoch of eight numbers leaves a prior a great deal to say.
    expect(chosen).not.toBeNull();
    for (const items of told) for (const { prior } of items) expect(prior! >= 0 && prior! <= 1).toBe(true);
  },
  LIMIT,
);

it(
  "is what the serving model is made of, its evidence the prior's where that brings an item",
  async () => {
    await using run = await openRun(inside("user-disjoint-false"), undefined, { readOnly: true });
    await using serving = await openServing(run, servedStage(run.settings));
    expect(serving.model).toBeInstanceOf(PriorModel);
    const { items } = await serving.recommender.recommend({ history: ["i1", "i7", "i13"] }, { k: 8 });
    for (const { because, prior } of items) if (prior! > 0.5) expect(because.length).toBeGreaterThan(0);
    expect(items.some(({ prior }) => prior! > 0.5)).toBe(true);
    const unexplained = await serving.recommender.recommend({ history: ["i1"] }, { k: 3, explain: false });
    expect(unexplained.items).toHaveLength(3);
  },
  LIMIT,
);

it(
  "leaves the network's own training as it is without one, and adds the one that is named",
  async () => {
    await using alone = await fit(data, { dir: inside("alone"), settings: { ...SETTINGS, prior: "none" } });
    expect(existsSync(join(inside("alone"), "prior"))).toBe(false);
    for (const items of await answers(alone)) for (const item of items) expect(item).not.toHaveProperty("prior");
    const model = (dir: string) => readFile(join(inside(dir), "train-ldmi", "model", "tensors.safetensors"));
    expect(await model("alone")).toEqual(await model("user-disjoint-false"));
    await using named = await fit(data, {
      dir: inside("named"),
      settings: {
        ...SETTINGS,
        prior: "blend",
        models: { blend: { members: [{ model: "ease" }, { model: "most-popular" }] } },
      },
    });
    expect(await answers(named)).toHaveLength(3);
    const { tried } = JSON.parse(await readFile(join(inside("named"), "prior", "prior.json"), "utf8"));
    expect(new Set(tried.map(({ prior }: { prior: string }) => prior))).toEqual(new Set(["blend"]));
  },
  LIMIT,
);

it(
  "is chosen by training users where few validate, within the steps that choosing may take, after a kill as well",
  async () => {
    const settings = { ...SETTINGS, effort: "standard", train: { stopping: { epochs: 4 }, network: { dim: 8 } } };
    const files = {
      interactions: join(inside("alone"), "inputs/interactions.jsonl"),
      items: join(inside("alone"), "inputs/items.jsonl"),
    };
    const stop = new AbortController();
    {
      await using run = await openRun(
        inside("stopped"),
        { ...settings, ...files },
        {
          signal: stop.signal,
          onEvent: (event) => {
            if (event.type === "training" && event.label.includes("fold 2")) stop.abort(new Error("enough"));
          },
        },
      );
      await expect(run.run({ to: "prior" })).rejects.toThrow("enough");
    }
    for (const name of ["stopped", "whole"]) {
      await using run = await openRun(inside(name), { ...settings, ...files });
      await run.run({ to: "index" });
    }
    const read = (name: string, file: string) => readFile(join(inside(name), file), "utf8");
    expect(await read("stopped", "prior/prior.json")).toBe(await read("whole", "prior/prior.json"));
    const { users, folds, steps, chosen } = JSON.parse(await read("whole", "prior/prior.json"));
    const tune = JSON.parse(await read("whole", "tune/tune.json"));
    const once = tune.rounds[0].trials[0].steps;
    expect(folds).toBeGreaterThan(0);
    expect(tune.rounds[0].steps + steps).toBeLessThanOrEqual(3 * once);
    // A fold of the 96 training users holds 19 or 20.
    expect(users).toBeGreaterThanOrEqual(19 * folds);
    expect(chosen).not.toBeNull();
    expect(existsSync(join(inside("whole"), "prior", "folds"))).toBe(false);

    // An update trains nothing of the kind, and keeps the choice.
    const news = join(folder, "news.csv");
    await writeFile(news, ["user,item,timestamp", ...[1, 7, 13, 19, 25].map((n) => `new,i${n},99${n}`)].join("\n"));
    await updateRun(inside("whole"), { interactions: [news] });
    const after = JSON.parse(await read("whole", "prior/prior.json"));
    expect(after).toMatchObject({ chosen, folds: 0, steps: 0 });
    expect(new Set(after.tried.map(({ prior }: { prior: string }) => prior))).toEqual(new Set([chosen.prior]));
    await using updated = await openRun(inside("whole"), undefined, { readOnly: true });
    expect((await updated.open("prior")).prior).toEqual({ name: chosen.prior, weight: chosen.weight });
  },
  LIMIT,
);

it(
  "is not asked for beside a model that is fitted at once",
  async () => {
    await using shop = await fit(data, {
      dir: inside("ease"),
      model: "ease",
      settings: { llm: "none", baselines: [] },
    });
    expect(existsSync(join(inside("ease"), "prior"))).toBe(false);
    expect((await answers(shop)).every((items) => items.length === 6)).toBe(true);
  },
  LIMIT,
);
