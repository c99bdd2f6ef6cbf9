import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createRandom } from "../base/random.js";
import type { History } from "../data/history.js";
import type { Ranking } from "../metrics/ranking.js";
import { ParameterSet } from "../nn/layers/parameters.js";
import { native } from "../ops/native.js";
import { hasBuilt, needsBuilt, spawnScript } from "../testing/spawn-script.js";
import { trainingData } from "../testing/training-data.js";
import { fitEase } from "./ease.js";
import { InterestModel } from "./interest-model.js";
import { isMultiInterest, type Model, type RankOptions } from "./model.js";
import { PriorModel } from "./prior-model.js";
import { createNetwork, isNetwork, isScorer, MODELS, networkConfig } from "./registry.js";
import { loadModel, saveModel } from "./store.js";

/** They say the same to everybody. */
const READ_NO_HISTORY = new Set(["most-popular", "recent-popular"]);

const ITEMS = 40;
const DIM = 8;
const hasAddon = native() !== undefined;

const random = createRandom(7);
const lists = Array.from({ length: 30 }, () => {
  const drawn = new Set(Array.from({ length: 12 }, () => 1 + Math.floor(ITEMS * random.uniform() ** 2)));
  return [...drawn];
});

const dataset = trainingData(lists, ITEMS);

/** Further forms of a network, beside the defaults that every registered one is held to. */
const VARIANTS: Readonly<Record<string, { readonly model: string; readonly [setting: string]: unknown }>> = {
  "ldmi, no semantic side": { model: "ldmi", maxClusters: 0 },
  "ldmi, gate": { model: "ldmi", fusion: "gate" },
  "ldmi, add": { model: "ldmi", fusion: "add", align: "sinkhorn", semanticSource: "states" },
  "ldmi, concat": { model: "ldmi", fusion: "concat", align: "hard" },
};
const NETWORKS = new Map([
  ...MODELS.filter(isNetwork).map(({ name }) => [name, { model: name }] as const),
  ...Object.entries(VARIANTS),
]);
const NETWORK_NAMES = [...NETWORKS.keys()];

/** Networks whose forward pass is one operation outside of tfjs. */
const WITHOUT_PRODUCTS: ReadonlySet<string> = new Set(
  NETWORK_NAMES.filter((name) => createNetwork(configOf(name)).differentiate !== undefined),
);

function configOf(name: string) {
  return networkConfig({ dim: DIM, maxHistory: 9, ...NETWORKS.get(name)! });
}

function networkModel(name: string): InterestModel {
  const network = createNetwork(configOf(name));
  const draw = createRandom(3);
  const items = { data: Float32Array.from({ length: ITEMS * DIM }, () => draw.normal()), rows: ITEMS, cols: DIM };
  const bias = Float32Array.from({ length: ITEMS }, (_, i) => -i / 50);
  const parameters = ParameterSet.create(network.specs(), draw);
  return new InterestModel(network, parameters, items, network.hasItemBias ? bias : undefined);
}

const OPENERS: readonly (readonly [string, () => Promise<Model>])[] = [
  ...MODELS.filter(isScorer).map(({ name, fit, settings }) => {
    const fitted = async () => (await fit(dataset, settings.parse({}))).model;
    return [name, fitted] as const;
  }),
  ...NETWORK_NAMES.map((name) => [name, async () => networkModel(name)] as const),
  ["ldmi with ease", async () => new PriorModel(networkModel("ldmi"), await fitEase(dataset, { lambda: 3 }), 0.5)],
];

const history = (...items: number[]): History => ({
  items: Uint32Array.from(items),
  clusters: Int16Array.from(items, (item) => (item % 5 === 0 ? -1 : item % 3)),
});

/** Of many lengths, one with repeats, one beyond what the networks read; more than one batch of users. */
const HISTORIES: readonly History[] = Array.from({ length: 140 }, (_, n) => {
  const draw = createRandom(n, "histories");
  return history(...Array.from({ length: 1 + (n % 14) }, () => draw.integer(1, ITEMS + 1)));
});

function listOf({ k, ids, scores, counts }: Ranking, row: number) {
  const [from, to] = [row * k, row * k + counts[row]!];
  return { ids: [...ids.subarray(from, to)], scores: [...scores.subarray(from, to)] };
}

/** The bits of a ranking, as the other process prints them. */
function plainOf({ ids, scores, counts }: Ranking) {
  return { ids: [...ids], scores: [...scores], counts: [...counts] };
}

describe.each(OPENERS)("%s", (name, open) => {
  let model: Model;
  beforeAll(async () => {
    model = await open();
  });
  afterAll(() => {
    if (Symbol.dispose in model) (model as Model & Disposable)[Symbol.dispose]();
  });

  it("lists every item once, best first, equal scores by id, and never what is left out", async () => {
    const exclude = {
      indptr: Uint32Array.from({ length: HISTORIES.length + 1 }, (_, row) => 3 * row),
      indices: Uint32Array.from({ length: 3 * HISTORIES.length }, (_, n) => [2, 7, 2][n % 3]!),
      rows: HISTORIES.length,
      cols: ITEMS + 1,
    };
    const ranking = await model.rank(HISTORIES, { k: ITEMS, exclude });
    expect(ranking.k).toBe(ITEMS);
    for (const [row, { items }] of HISTORIES.entries()) {
      const { ids, scores } = listOf(ranking, row);
      const hidden = new Set([...items, 2, 7]);
      expect([...ids].sort((a, b) => a - b)).toEqual(
        Array.from({ length: ITEMS }, (_, i) => i + 1).filter((id) => !hidden.has(id)),
      );
      for (const [place, score] of scores.entries()) {
        expect(Number.isFinite(score)).toBe(true);
        const [before, id] = [scores[place - 1] ?? Infinity, ids[place]!];
        expect(before > score || (before === score && ids[place - 1]! < id), `${row}, ${place}`).toBe(true);
      }
      const rest = ranking.ids.subarray(row * ITEMS + ids.length, (row + 1) * ITEMS);
      expect(rest.every((id) => id === 0)).toBe(true);
    }
  });

  it("gives the head of the whole list for a shorter one, and lists the history where it may", async () => {
    const [short, whole] = [
      await model.rank(HISTORIES, { k: 3, excludeHistory: false }),
      await model.rank(HISTORIES, { k: ITEMS, excludeHistory: false }),
    ];
    for (const row of HISTORIES.keys()) {
      expect(whole.counts[row]).toBe(ITEMS);
      expect(listOf(short, row).ids).toEqual(listOf(whole, row).ids.slice(0, 3));
    }
  });

  it("gives an empty history an empty list, unless it reads none", async () => {
    const ranking = await model.rank([history(1, 2), history(), history(3)], { k: 4 });
    expect([...ranking.counts]).toEqual(READ_NO_HISTORY.has(name) ? [4, 4, 4] : [4, 0, 4]);
    expect(ranking.scores.every(Number.isFinite)).toBe(true);
    const alone = await model.rank([history()], { k: 4 });
    expect(alone.counts[0]).toBe(READ_NO_HISTORY.has(name) ? 4 : 0);
  });

  it("gives no lists where there are no histories, and an empty one to who has everything", async () => {
    const none = await model.rank([], { k: 2 });
    expect([none.ids.length, none.counts.length]).toEqual([0, 0]);
    const everything = history(...Array.from({ length: ITEMS }, (_, i) => i + 1));
    expect([...(await model.rank([everything, history(1)], { k: 2 })).counts]).toEqual([0, 2]);
  });

  it("refuses lists of no length or longer than the catalog", async () => {
    for (const k of [0, -1, 1.5, Number.NaN, ITEMS + 1]) {
      await expect(model.rank([history(1)], { k })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    }
  });

  it("refuses ids that the catalog does not know, in histories and among what is left out", async () => {
    for (const id of [0, ITEMS + 1, 2 ** 32 - 1]) {
      await expect(model.rank([history(1), history(2, id)], { k: 2 })).rejects.toMatchObject({ code: "UNKNOWN_ITEM" });
      const exclude = { indptr: Uint32Array.of(0, 1), indices: Uint32Array.of(id), rows: 1, cols: ITEMS + 1 };
      await expect(model.rank([history(1)], { k: 2, exclude })).rejects.toMatchObject({ code: "UNKNOWN_ITEM" });
      if (!isMultiInterest(model)) continue;
      const { interests } = model;
      expect(() => interests.call(model, [history(id)])).toThrow(expect.objectContaining({ code: "UNKNOWN_ITEM" }));
    }
  });

  it("refuses profiles without their row, and takes any other", async () => {
    const columns = new Map([["age", { kind: "number" as const, values: Float64Array.of(18, 35) }]]);
    for (const row of [2, -1, 0.5]) {
      const lacking = { items: Uint32Array.of(1, 2), profile: { columns, row } };
      await expect(model.rank([lacking], { k: 2 })).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
    }
    const bare = { items: Uint32Array.of(1, 2) };
    const profiled = { ...bare, profile: { columns, row: 1 } };
    expect(await model.rank([profiled], { k: 2 })).toEqual(await model.rank([bare], { k: 2 }));
  });

  it("refuses clusters and exclusions of other histories", async () => {
    const clusters = { items: Uint32Array.of(1, 2), clusters: Int16Array.of(0) };
    await expect(model.rank([clusters], { k: 2 })).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
    const exclude = { indptr: Uint32Array.of(0, 1), indices: Uint32Array.of(1), rows: 1, cols: ITEMS + 1 };
    await expect(model.rank([history(1), history(2)], { k: 2, exclude })).rejects.toMatchObject({
      code: "SHAPE_MISMATCH",
    });
  });

  it("serves without clusters, and reads clusters beyond its room as none", async () => {
    const bare = HISTORIES.slice(0, 5).map(({ items }) => ({ items }));
    expect([...(await model.rank(bare, { k: 5 })).counts]).toEqual([5, 5, 5, 5, 5]);
    const many = { items: Uint32Array.of(1, 2, 3), clusters: Int16Array.of(0, 32_767, -7) };
    expect([...(await model.rank([many], { k: 5 })).counts]).toEqual([5]);
  });

  it("gives the same bits again, and the same lists in another company", async () => {
    const first = await model.rank(HISTORIES, { k: 6 });
    expect(await model.rank(HISTORIES, { k: 6 })).toEqual(first);
    const twice = await model.rank([HISTORIES[5]!, HISTORIES[9]!, HISTORIES[5]!], { k: 6 });
    expect(listOf(twice, 2)).toEqual(listOf(twice, 0));
    expect(listOf(twice, 0).ids).toEqual(listOf(first, 5).ids);
  });

  it("rejects with the signal's own reason", async () => {
    const reason = new Error("enough");
    await expect(model.rank(HISTORIES, { k: 2, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const later = new AbortController();
    const options: RankOptions = { k: 2, signal: later.signal, onProgress: () => later.abort(reason) };
    await expect(model.rank(HISTORIES, options)).rejects.toBe(reason);
  });
});

/**
 * Loads every saved model and ranks with one after the other, round and round, a caller's own work on tfjs in between.
 * Prints the last lists of each and what became of the caller's engine.
 */
const SERVE = `
import * as tf from "@tensorflow/tfjs-core";
import { createCatalog } from "@prismrec/core/data";
import { loadModel } from "@prismrec/core/models";
import { native } from "@prismrec/core/ops";
const { dirs, ids, histories, own } = JSON.parse(process.argv[1]);
const fresh = tf.engine().backendName ?? null;
const addon = native();
let calls = 0;
if (addon !== undefined) {
  const { tensorMatmul } = addon;
  addon.tensorMatmul = (...given) => (calls++, tensorMatmul(...given));
}
const items = [{ id: "", title: "", categories: [] }, ...ids.map((id) => ({ id, title: "", categories: [] }))];
const catalog = createCatalog(items, new Uint32Array(items.length));
const models = [];
for (const dir of dirs) models.push(await loadModel(dir, catalog));
const read = histories.map(([items, clusters]) => ({ items: Uint32Array.from(items), clusters: Int16Array.from(clusters) }));
let weight, x, held;
if (own) {
  await tf.setBackend("cpu");
  weight = tf.variable(tf.tensor2d([1, 2, 3, 4], [2, 2]));
  x = tf.tensor2d([1, -1, 2, 0.5], [2, 2]);
  held = tf.matMul(x, weight);
}
const tensors = tf.engine().state.numTensors;
const seen = new Set();
const lists = [];
for (let round = 0; round < 3; round++) {
  for (const [m, model] of models.entries()) {
    const { ids, scores, counts } = await model.rank(read, { k: 5 });
    lists[m] = { ids: [...ids], scores: [...scores], counts: [...counts] };
    seen.add(tf.engine().backendName ?? null);
    if (own) {
      tf.tidy(() => {
        const { grads } = tf.variableGrads(() => tf.sum(tf.square(tf.matMul(x, weight))));
        weight.assign(tf.sub(weight, tf.mul(Object.values(grads)[0], 0.01)));
        model.interests(read.slice(0, 3));
      });
    }
  }
}
process.stdout.write(JSON.stringify({
  lists, calls, fresh, seen: [...seen], left: tf.engine().state.numTensors - tensors,
  weight: own ? [...weight.dataSync()] : null, held: own ? [...held.dataSync()] : null,
}));
`;

interface Served {
  readonly lists: readonly ReturnType<typeof plainOf>[];
  readonly calls: number;
  readonly fresh: string | null;
  readonly seen: readonly (string | null)[];
  readonly left: number;
  readonly weight: readonly number[] | null;
  readonly held: readonly number[] | null;
}

describe.skipIf(!hasBuilt)(`networks served by a process that only loads them${needsBuilt}`, () => {
  let dir = "";
  const dirOf = (name: string): string => join(dir, name.replace(/\W+/g, "-"));

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "prismrec-served-"));
    for (const name of NETWORK_NAMES) {
      await saveModel(dirOf(name), networkModel(name), configOf(name), dataset.catalog, {});
    }
  });
  afterAll(() => rm(dir, { recursive: true, force: true }));

  async function serve(names: readonly string[], own: boolean, env: Record<string, string> = {}): Promise<Served> {
    const given = {
      dirs: names.map(dirOf),
      ids: dataset.catalog.items.slice(1).map(({ id }) => id),
      histories: HISTORIES.map(({ items, clusters }) => [[...items], [...clusters!]]),
      own,
    };
    return (await spawnScript(SERVE, [JSON.stringify(given)], env)) as Served;
  }

  it.each(NETWORK_NAMES)("%s gives the bits of the process that made it", async (name) => {
    const { lists, calls, fresh, seen, left } = await serve([name], false);
    using model = networkModel(name);
    const here = plainOf(await model.rank(HISTORIES, { k: 5 }));
    expect(lists).toEqual([here]);
    // The engine stays without a backend where nobody but the model has used it.
    expect({ fresh, seen, left }).toEqual({ fresh: null, seen: [null], left: 0 });
    if (hasAddon && !WITHOUT_PRODUCTS.has(name)) expect(calls).toBeGreaterThan(0);
  });

  it("all of them in turn give the bits of each alone, and leave a caller's own tfjs alone", async () => {
    const together = await serve(NETWORK_NAMES, true);
    for (const [n, name] of NETWORK_NAMES.entries()) {
      using model = networkModel(name);
      expect(together.lists[n], name).toEqual(plainOf(await model.rank(HISTORIES, { k: 5 })));
    }
    expect(together.seen).toEqual(["cpu"]);
    expect(together.left).toBe(0);
    expect(together.held).toEqual([-2, -2, 3.5, 6]);
    expect(together.weight!.every((value, i) => Number.isFinite(value) && value !== i + 1)).toBe(true);
  });

  it("serves without the addon, to rounding", async () => {
    const { lists, calls } = await serve(["ldmi", "comirec-sa", "gru4rec", "mind", "sine"], true, {
      PRISMREC_NATIVE: "off",
    });
    expect(calls).toBe(0);
    for (const [n, name] of (["ldmi", "comirec-sa", "gru4rec", "mind", "sine"] as const).entries()) {
      using model = await loadModel(dirOf(name), dataset.catalog);
      const { scores } = await model.rank(HISTORIES, { k: 5 });
      for (const [i, score] of lists[n]!.scores.entries()) expect(score).toBeCloseTo(scores[i]!, 3);
    }
  });
});
