import { describe, expect, it, vi } from "vitest";
import { createRandom } from "../base/random.js";
import { createCatalog } from "../data/catalog.js";
import type { History } from "../data/history.js";
import { itemFeatures } from "../data/item-features.js";
import type { Dataset, Item } from "../data/types.js";
import { decodeSafetensors, encodeSafetensors } from "../nn/checkpoint/safetensors.js";
import { native } from "../ops/native.js";
import { Recommender } from "../recommend/recommender.js";
import { hasBuilt, needsBuilt, spawnScript } from "../testing/spawn-script.js";
import { trainingData } from "../testing/training-data.js";
import { fitEase } from "./ease.js";
import { fitL3ae, L3AE_MAX_ITEMS, l3ae, l3aeMemory } from "./l3ae.js";

const history = (...items: number[]): History => ({ items: Uint32Array.from(items) });

/** `lists` over a catalog of the given items, dense ids in their order. */
function described(lists: readonly (readonly number[])[], items: readonly Omit<Item, "id">[]): Dataset {
  const bare = trainingData(lists, items.length);
  const all = [bare.catalog.items[0]!, ...items.map((item, i) => ({ id: `i${i + 1}`, ...item }))];
  return { ...bare, catalog: createCatalog(all, bare.catalog.popularity) };
}

/** A [n, n] inverse in doubles, by Gauss and Jordan with pivots. */
function inverted(a: readonly (readonly number[])[]): number[][] {
  const n = a.length;
  const rows = a.map((row, i) => [...row, ...row.map((_, j) => (i === j ? 1 : 0))]);
  for (let c = 0; c < n; c++) {
    const pivot = rows.slice(c).reduce((best, row) => (Math.abs(row[c]!) > Math.abs(best[c]!) ? row : best));
    rows.splice(rows.indexOf(pivot), 1);
    const scaled = pivot.map((value) => value / pivot[c]!);
    for (const row of rows) {
      const factor = row[c]!;
      for (let x = 0; x < 2 * n; x++) row[x]! -= factor * scaled[x]!;
    }
    rows.splice(c, 0, scaled);
  }
  return rows.map((row) => row.slice(n));
}

/** For each column j, the b with b_j = 0 that minimises b'(A + ridge I) b - 2 b' t_j: each column's own system. */
function withoutSelf(a: number[][], ridge: number, targets: number[][]): number[][] {
  const n = a.length;
  const weights = a.map((row) => row.map(() => 0));
  for (let j = 0; j < n; j++) {
    const others = [...a.keys()].filter((i) => i !== j);
    const inverse = inverted(others.map((i) => others.map((k) => a[i]![k]! + (i === k ? ridge : 0))));
    for (const [x, i] of others.entries()) {
      weights[i]![j] = others.reduce((sum, k, y) => sum + inverse[x]![y]! * targets[k]![j]!, 0);
    }
  }
  return weights;
}

/** Rows of F at unit length, F F' of them. */
function similarities(rows: readonly (readonly number[])[]): number[][] {
  const unit = rows.map((row) => {
    const norm = Math.hypot(...row);
    return row.map((value) => (norm > 0 ? value / norm : 0));
  });
  return unit.map((a) => unit.map((b) => a.reduce((sum, value, x) => sum + value * b[x]!, 0)));
}

function counts(lists: readonly (readonly number[])[], n: number): number[][] {
  const gram = Array.from({ length: n }, () => new Array<number>(n).fill(0));
  for (const list of lists) for (const i of list) for (const j of list) gram[i - 1]![j - 1]!++;
  return gram;
}

function denseFeatures({ catalog }: Dataset): number[][] {
  const { indptr, indices, values, rows, cols } = itemFeatures(catalog.items);
  return Array.from({ length: rows }, (_, i) => {
    const row = new Array<number>(cols).fill(0);
    for (let at = indptr[i]!; at < indptr[i + 1]!; at++) row[indices[at]!] = values![at]!;
    return row;
  });
}

/** Both phases, each column by its own system in doubles. */
function fittedSlowly(lists: number[][], features: number[][], lambda: number, share: number, featureLambda: number) {
  const f = similarities(features);
  const c = withoutSelf(f, featureLambda, f);
  const x = counts(lists, features.length);
  const targets = x.map((row, i) => row.map((value, j) => value + lambda * share * c[i]![j]!));
  return withoutSelf(x, lambda, targets);
}

const GENRES = ["Crime", "Drama", "Comedy"];
const draws = createRandom(9);
const ITEMS = 14;
const items = Array.from({ length: ITEMS }, (_, i) => ({
  title: i === 5 ? "" : `the ${["heat", "cold"][i % 2]} ${i}`,
  categories: i === 5 ? [] : [GENRES[i % 3]!, ...(i % 4 === 0 ? ["War"] : [])],
  ...(i % 5 === 0 ? {} : { year: 1990 + (i % 3) }),
}));
const lists = Array.from({ length: 25 }, () =>
  Array.from({ length: ITEMS - 2 }, (_, i) => i + 1).filter(() => draws.uniform() < 0.35),
);
const data = described(lists, items);

describe("l3ae", () => {
  it.each([
    [2, 0.25, 10],
    [5, 1, 0.3],
    [20, 0.7, 1],
  ])(
    "is the solution of each column's own least squares: penalty %f, share %f, features' penalty %f",
    async (lambda, share, featureLambda) => {
      const { model } = await fitL3ae(data, { lambdas: [lambda], featureShares: [share], featureLambda });
      const expected = fittedSlowly(lists, denseFeatures(data), lambda, share, featureLambda);
      for (const [i, row] of expected.entries()) {
        for (const [j, weight] of row.entries()) {
          expect(model.weights.data[i * ITEMS + j], `${i}, ${j}`).toBeCloseTo(weight, 5);
        }
      }
    },
  );

  it("is ease where nothing of the penalty is the features', and where there are no features", async () => {
    const ease = await fitEase(data, { lambda: 3 });
    const bare = trainingData(lists, ITEMS);
    for (const [dataset, share] of [
      [data, 0],
      [bare, 0],
      [bare, 0.5],
    ] as const) {
      const { model } = await fitL3ae(dataset, { lambdas: [3], featureShares: [share] });
      for (const [at, weight] of ease.weights.data.entries()) expect(model.weights.data[at]).toBeCloseTo(weight, 6);
    }
  });

  it("reads given vectors as one more block of features", async () => {
    const width = 3;
    const vectors = Float32Array.from({ length: ITEMS * width }, () => draws.normal());
    vectors.fill(0, 4 * width, 5 * width);
    const itemVectors = { data: vectors, rows: ITEMS, cols: width };
    const options = { lambdas: [4], featureShares: [0.5], featureLambda: 1 };
    const { model } = await fitL3ae(data, { ...options, itemVectors });
    const features = denseFeatures(data).map((row, i) => {
      const own = [...vectors.subarray(i * width, (i + 1) * width)];
      const norm = Math.hypot(...own);
      return [...row, ...own.map((value) => (norm > 0 ? value / norm : 0))];
    });
    const expected = fittedSlowly(lists, features, 4, 0.5, 1);
    for (const [at, weight] of expected.flat().entries()) expect(model.weights.data[at]).toBeCloseTo(weight, 5);

    const short = { data: vectors.subarray(width), rows: ITEMS - 1, cols: width };
    await expect(fitL3ae(data, { ...options, itemVectors: short })).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
    const broken = { ...itemVectors, data: vectors.map((value, at) => (at === 4 ? Number.NaN : value)) };
    await expect(fitL3ae(data, { ...options, itemVectors: broken })).rejects.toMatchObject({ code: "NON_FINITE" });
  });

  describe("a catalog of which half is new", () => {
    // Users take two genres of five; half of each genre's items no training user has.
    const [genres, size] = [5, 60];
    const random = createRandom(21);
    const genreOf = (id: number): number => (id - 1) % genres;
    const isNew = (id: number): boolean => id > size / 2;
    const tastes = (): [number, number] => {
      const first = random.integer(0, genres);
      return [first, (first + random.integer(1, genres)) % genres];
    };
    const taken = (taste: readonly number[]): number[] =>
      Array.from({ length: size / 2 }, (_, i) => i + 1).filter(
        (id) => random.uniform() < (taste.includes(genreOf(id)) ? 0.6 : 0.04),
      );
    const users = Array.from({ length: 150 }, () => taken(tastes()));
    const titles = Array.from({ length: size }, (_, i) => ({ title: `film ${i}`, categories: [`g${genreOf(i + 1)}`] }));
    const planted = described(users, titles);
    const shuffled = described(
      users,
      random.shuffle(Array.from({ length: size }, (_, i) => i)).map((i) => titles[i]!),
    );
    const guests = Array.from({ length: 40 }, tastes).map((taste) => ({ taste, items: taken(taste) }));

    /** Share of the new items high in the guests' lists that are of a genre the guest takes; .4 by chance. */
    async function right(dataset: Dataset, share: number): Promise<number> {
      const { model } = await fitL3ae(dataset, { lambdas: [10], featureShares: [share], featureLambda: 1 });
      const filter = new Uint32Array(Math.ceil(size / 32));
      for (let id = 1; id <= size; id++) if (isNew(id)) filter[(id - 1) >> 5]! |= 1 << ((id - 1) & 31);
      const { ids } = await model.rank(
        guests.map(({ items: own }) => history(...own)),
        { k: 8, filter },
      );
      const hits = guests.flatMap(({ taste }, g) =>
        [...ids.subarray(8 * g, 8 * g + 8)].map((id) => taste.includes(genreOf(id))),
      );
      return hits.filter(Boolean).length / hits.length;
    }

    it("is served by its features", async () => {
      expect(await right(planted, 0.5)).toBeGreaterThan(0.9);
      // The controls: features of other items, and none.
      expect(await right(shuffled, 0.5)).toBeLessThan(0.6);
      expect(await right(planted, 0)).toBeLessThan(0.6);
    });

    it("names the events behind a new item", async () => {
      const { model } = await fitL3ae(planted, { lambdas: [10], featureShares: [0.5], featureLambda: 1 });
      using recommender = new Recommender({ model, catalog: planted.catalog });
      const { items: found } = await recommender.recommend({ history: ["i1", "i6", "i2"] }, { k: 30 });
      const fresh = found.find(({ id }) => isNew(Number(id.slice(1))) && genreOf(Number(id.slice(1))) === 0)!;
      expect(fresh.because.slice(0, 2).toSorted()).toEqual(["i1", "i6"]);
    });
  });

  it("takes the pair that validation finds best, the earlier among equals, and fits it again", async () => {
    const asked: string[] = [];
    const settings = l3ae.settings.parse({ lambdas: [8, 2], featureShares: [0.5, 0.1], featureLambda: 2 });
    const { model, facts } = await l3ae.fit(data, settings, {}, async ({ weights }) => {
      asked.push(weights.data.slice(0, 3).join());
      return [1, 5, 3, 5][asked.length - 1]!;
    });
    expect(new Set(asked).size).toBe(4);
    expect(facts).toMatchObject({
      lambda: 8,
      featureShare: 0.1,
      validation: { "8, 0.5": 1, "8, 0.1": 5, "2, 0.5": 3, "2, 0.1": 5 },
    });
    const again = l3ae.chosen!(facts);
    expect(again).toEqual({ lambdas: [8], featureShares: [0.1], featureLambda: 2 });
    const alone = await l3ae.fit(data, again);
    expect(alone.model.weights).toEqual(model.weights);
    expect(alone.facts).toEqual({ lambda: 8, featureShare: 0.1, chosen: again });
  });

  it("is stored and opened with the same lists, and refuses another catalog's", async () => {
    const { model } = await l3ae.fit(data, l3ae.settings.parse({}));
    const { tensors } = decodeSafetensors(encodeSafetensors(l3ae.tensors(model)), "l3ae");
    const histories = lists.map((list) => history(...list));
    expect(await l3ae.open(data, tensors).rank(histories, { k: 5 })).toEqual(await model.rank(histories, { k: 5 }));
    expect(() => l3ae.open(trainingData([], 3), tensors)).toThrow(
      expect.objectContaining({ code: "CHECKPOINT_INCOMPATIBLE" }),
    );
  });

  it("fits few users, a single item, users without events and nobody", async () => {
    for (const [users, size] of [
      [[[1, 2]], 2],
      [[[1]], 1],
      [[[], [2]], 3],
      [[], 2],
    ] as const) {
      const { model } = await fitL3ae(described(users, items.slice(0, size)));
      expect(model.weights.data.every(Number.isFinite)).toBe(true);
      const ranking = await model.rank([history(1)], { k: size, excludeHistory: false });
      expect(ranking.counts[0]).toBe(size);
    }
  });

  it("refuses settings that are none and catalogs that are too large, and stops with the signal's own reason", async () => {
    for (const wrong of [{ lambdas: [] }, { lambdas: [0] }, { featureShares: [1.1] }, { featureLambda: 0 }]) {
      await expect(fitL3ae(data, wrong)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    }
    await expect(fitL3ae(trainingData([], L3AE_MAX_ITEMS + 1))).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    const reason = new Error("enough");
    await expect(fitL3ae(data, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const controller = new AbortController();
    const onProgress = () => controller.abort(reason);
    await expect(fitL3ae(data, { signal: controller.signal, onProgress }, async () => 1)).rejects.toBe(reason);
  });

  it("counts its memory before it takes any, and says what it needs", async () => {
    expect(l3aeMemory(1000, true)).toBe(32e6);
    expect(l3aeMemory(1000, false)).toBe(40e6);
    const available = vi.spyOn(process, "availableMemory").mockReturnValue(100);
    try {
      await expect(fitL3ae(data)).rejects.toMatchObject({
        code: "OUT_OF_MEMORY",
        expected: expect.stringMatching("GiB"),
      });
    } finally {
      available.mockRestore();
    }
  });

  it.skipIf(!hasBuilt || native() === undefined)(`takes no more memory than it says${needsBuilt}`, async () => {
    const { grown, said } = (await spawnScript(MEMORY, [])) as { grown: number; said: number };
    expect(grown).toBeLessThan(1.4 * said);
  });
});

/** Fits a catalog with a choice of settings, and prints by how much the process grew. */
const MEMORY = `
import { createCatalog, createLog } from "@prismrec/core/data";
import { fitL3ae, l3aeMemory } from "@prismrec/core/models";
const fit = (size) => {
  const items = Array.from({ length: size + 1 }, (_, id) => ({
    id: id === 0 ? "" : "i" + id, title: "", categories: ["c" + (id % 50)],
  }));
  const lists = Array.from({ length: size }, (_, u) => [0, 1, 2].map((t) => 1 + ((7 * u + t) % size)));
  const none = { users: new Uint32Array(0), historyEnds: new Uint32Array(0), targetEnds: new Uint32Array(0) };
  const train = { users: Uint32Array.from(lists.keys()), ends: new Uint32Array(size).fill(3) };
  const indptr = Uint32Array.from({ length: size + 1 }, (_, u) => 3 * u);
  let value = 0;
  return fitL3ae({
    fingerprint: "memory",
    catalog: createCatalog(items, new Uint32Array(size + 1)),
    log: createLog({ userIds: lists.map((_, u) => "u" + u), indptr, items: Uint32Array.from(lists.flat()) }),
    split: { protocol: "user-disjoint", train, valid: none, test: none },
  }, { lambdas: [2, 3], featureShares: [0.5, 0.2] }, async () => ++value);
};
await fit(200);
const before = process.resourceUsage().maxRSS;
await fit(2500);
process.stdout.write(JSON.stringify({
  grown: 1024 * (process.resourceUsage().maxRSS - before), said: l3aeMemory(2500),
}));
`;
