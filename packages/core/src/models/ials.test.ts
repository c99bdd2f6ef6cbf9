import { describe, expect, it, vi } from "vitest";
import { createRandom } from "../base/random.js";
import type { History } from "../data/history.js";
import { decodeSafetensors, encodeSafetensors } from "../nn/checkpoint/safetensors.js";
import { Recommender } from "../recommend/recommender.js";
import { trainingData } from "../testing/training-data.js";
import { fitIals, type Ials, type IalsSettings, ials, ialsMemory } from "./ials.js";

const ITEMS = 9;
const draws = createRandom(4);
const lists = Array.from({ length: 14 }, () =>
  Array.from({ length: ITEMS }, (_, i) => i + 1).filter(() => draws.uniform() < 0.4),
);
const data = trainingData(lists, ITEMS);
const history = (...items: number[]): History => ({ items: Uint32Array.from(items) });

/** The solution of A x = b by Gauss's elimination with pivots. */
function eliminated(a: number[][], b: number[]): number[] {
  const rows = a.map((row, i) => [...row, b[i]!]);
  for (let c = 0; c < rows.length; c++) {
    const pivot = rows.slice(c).reduce((best, row) => (Math.abs(row[c]!) > Math.abs(best[c]!) ? row : best));
    rows.splice(rows.indexOf(pivot), 1);
    rows.splice(c, 0, pivot);
    for (const row of rows) {
      if (row === pivot) continue;
      const factor = row[c]! / pivot[c]!;
      for (let x = c; x <= rows.length; x++) row[x]! -= factor * pivot[x]!;
    }
  }
  return rows.map((row, i) => row[rows.length]! / row[i]!);
}

const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((sum, value, x) => sum + value * b[x]!, 0);

type Weights = Pick<IalsSettings, "alpha" | "regularization" | "frequencyExponent">;

const ridgeOf = ({ alpha, regularization, frequencyExponent }: Weights, own: number, others: number): number =>
  regularization * (own + alpha * others) ** frequencyExponent;

/** The least squares of one vector by the definition: every vector of the other side weighs alpha, an own one 1 more. */
function systemOf(vectors: number[][], own: ReadonlySet<number>, weights: Weights): number[][] {
  const ridge = ridgeOf(weights, own.size, vectors.length);
  const weightOf = (i: number): number => weights.alpha + (own.has(i) ? 1 : 0);
  return vectors[0]!.map((_, x) =>
    vectors[0]!.map((_, y) => vectors.reduce((sum, v, i) => sum + weightOf(i) * v[x]! * v[y]!, x === y ? ridge : 0)),
  );
}

function solved(vectors: number[][], own: ReadonlySet<number>, weights: Weights): number[] {
  const right = vectors[0]!.map((_, x) => vectors.reduce((sum, v, i) => sum + (own.has(i) ? v[x]! : 0), 0));
  return eliminated(systemOf(vectors, own, weights), right);
}

const ownOf = (users: readonly (readonly number[])[]) => users.map((list) => new Set(list.map((id) => id - 1)));

/** The whole of the fit, slowly, from the same first item vectors. */
function fittedSlowly({ factors, iterations, seed, ...weights }: IalsSettings): number[][] {
  const random = createRandom(seed, "ials");
  let items = Array.from({ length: ITEMS }, () =>
    Array.from({ length: factors }, () => (0.1 / Math.sqrt(factors)) * random.normal()),
  );
  const users = ownOf(lists);
  const holders = items.map((_, i) => new Set([...users.keys()].filter((u) => users[u]!.has(i))));
  for (let sweep = 0; sweep < iterations; sweep++) {
    const userVectors = users.map((own) => solved(items, own, weights));
    items = holders.map((own) => solved(userVectors, own, weights));
  }
  return items;
}

const SETTINGS: IalsSettings = {
  factors: 3,
  iterations: 5,
  alpha: 0.2,
  regularization: 0.05,
  frequencyExponent: 1,
  seed: 7,
};

function rowsOf({ items: { data: values, rows, cols } }: Ials): number[][] {
  return Array.from({ length: rows }, (_, i) => [...values.subarray(i * cols, (i + 1) * cols)]);
}

describe("ials", () => {
  it.each([
    ["", {}],
    [", a penalty that grows with the root of the data", { frequencyExponent: 0.5 }],
    [", the same penalty for all", { frequencyExponent: 0, alpha: 1 }],
    [", one factor", { factors: 1 }],
    [", more factors than items", { factors: 13, iterations: 3 }],
  ])("is what a slow fit by the definition gives%s", async (_, changed) => {
    const settings = { ...SETTINGS, ...changed };
    const expected = fittedSlowly(settings);
    const fitted = rowsOf(await fitIals(data, settings));
    for (const [i, row] of expected.entries()) {
      for (const [x, value] of row.entries()) expect(fitted[i]![x], `${i}, ${x}`).toBeCloseTo(value, 6);
    }
  });

  it("lowers its objective with every sweep", async () => {
    const losses: number[] = [];
    const users = ownOf(lists);
    for (const iterations of [1, 2, 3, 6]) {
      const items = rowsOf(await fitIals(data, { ...SETTINGS, iterations }));
      const vectors = users.map((own) => solved(items, own, SETTINGS));
      let loss = 0;
      for (const [u, w] of vectors.entries()) {
        loss += ridgeOf(SETTINGS, users[u]!.size, ITEMS) * dot(w, w);
        for (const [i, h] of items.entries()) {
          const score = dot(w, h);
          loss += SETTINGS.alpha * score ** 2 + (users[u]!.has(i) ? (1 - score) ** 2 : 0);
        }
      }
      for (const [i, h] of items.entries()) {
        loss += ridgeOf(SETTINGS, users.filter((own) => own.has(i)).length, users.length) * dot(h, h);
      }
      losses.push(loss);
    }
    expect(losses.toSorted((a, b) => b - a)).toEqual(losses);
    expect(losses.at(-1)).toBeLessThan(0.99 * losses[0]!);
  });

  it("folds a history in by least squares, an item that stands there twice once, and scores by inner products", async () => {
    const model = await fitIals(data, SETTINGS);
    const items = rowsOf(model);
    const { vectors, offsets, clusters, count } = model.interests([history(2, 5, 2, 9), history(), history(1)]);
    expect([count, [...offsets], [...clusters]]).toEqual([1, [0, -Infinity, 0], [-1, -1, -1]]);
    for (const [row, own] of [[0, [1, 4, 8]] as const, [2, [0]] as const]) {
      const expected = solved(items, new Set(own), SETTINGS);
      for (const [x, value] of expected.entries()) expect(vectors.data[row * 3 + x]).toBeCloseTo(value, 5);
    }
    const ranking = await model.rank([history(2, 5, 2, 9)], { k: ITEMS, excludeHistory: false });
    const expected = items.map((item) => dot(item, vectors.data.subarray(0, 3)));
    for (const [place, id] of ranking.ids.entries()) expect(ranking.scores[place]).toBeCloseTo(expected[id - 1]!, 5);
  });

  it("shares a user's vector out over the events behind it", async () => {
    const model = await fitIals(data, SETTINGS);
    const { attention } = model.interests([history(2, 5, 2, 9), history(4), history()]);
    expect(attention).toHaveLength(12);
    const first = [...attention!.subarray(0, 4)];
    // The first of two events with item 2 has given its share to the second.
    expect(first[0]).toBe(0);
    expect(first.every((share) => share >= 0)).toBe(true);
    expect(first.reduce((a, b) => a + b)).toBeCloseTo(1, 6);
    expect([...attention!.subarray(4)]).toEqual([1, 0, 0, 0, 0, 0, 0, 0]);
    // By the definition: how much of w = A^-1 h_2 + A^-1 h_5 + A^-1 h_9 lies along w.
    const items = rowsOf(model);
    const own = new Set([1, 4, 8]);
    const w = solved(items, own, SETTINGS);
    const system = systemOf(items, own, SETTINGS);
    const parts = [...own].map((item) => Math.max(0, dot(w, eliminated(system, items[item]!))));
    const total = parts.reduce((a, b) => a + b);
    for (const [place, part] of [
      [2, 0],
      [1, 1],
      [3, 2],
    ] as const)
      expect(first[place]).toBeCloseTo(parts[part]! / total, 5);
  });

  it("finds the groups that users and items are drawn from, for users it has not seen", async () => {
    const [groups, each] = [4, 10];
    const random = createRandom(11);
    const drawn = (): { readonly group: number; readonly items: number[] } => {
      const group = random.integer(0, groups);
      const items = Array.from({ length: groups * each }, (_, i) => i + 1);
      return { group, items: items.filter((id) => random.uniform() < ((id - 1) % groups === group ? 0.5 : 0.05)) };
    };
    const model = await fitIals(
      trainingData(
        Array.from({ length: 200 }, () => drawn().items),
        groups * each,
      ),
      { factors: groups, regularization: 0.1 },
    );
    const users = Array.from({ length: 50 }, drawn).filter(({ items }) => items.length > 2);
    const { ids, counts } = await model.rank(
      users.map(({ items }) => history(...items)),
      { k: 3 },
    );
    const own = users.flatMap(({ group }, u) => {
      expect(counts[u]).toBe(3);
      return [...ids.subarray(3 * u, 3 * u + 3)].map((id) => (id - 1) % groups === group);
    });
    // Of the lists of chance a quarter would be right.
    expect(own.filter(Boolean).length / own.length).toBeGreaterThan(0.9);
    using recommender = new Recommender({ model, catalog: trainingData([], groups * each).catalog });
    const similar = await recommender.similarItems("i6", { k: 5 });
    expect(similar.filter(({ id }) => (Number(id.slice(1)) - 1) % groups === 1)).toHaveLength(5);
    const { items, interests } = await recommender.recommend({ history: ["i2", "i6", "i10"] }, { k: 4 });
    expect(items.map(({ interest }) => interest)).toEqual([0, 0, 0, 0]);
    expect(interests).toMatchObject([{ kind: "collaborative", share: 1 }]);
    expect(interests[0]!.because.toSorted()).toEqual(["i10", "i2", "i6"]);
    model[Symbol.dispose]();
  });

  it("gives the same bits for the same seed, and is stored and opened with the same lists", async () => {
    const settings = ials.settings.parse({ factors: 5, seed: 3 });
    const { model, facts } = await ials.fit(data, settings);
    expect((await fitIals(data, settings)).items).toEqual(model.items);
    expect((await fitIals(data, { ...settings, seed: 4 })).items).not.toEqual(model.items);
    expect(ials.chosen?.(facts)).toEqual(settings);
    const { tensors } = decodeSafetensors(encodeSafetensors(ials.tensors(model)), "ials");
    const opened = ials.open(data, tensors);
    const histories = lists.map((list) => history(...list));
    expect(await opened.rank(histories, { k: 3 })).toEqual(await model.rank(histories, { k: 3 }));
    expect(opened.interests(histories)).toEqual(model.interests(histories));
    for (const [wrong, dataset] of [
      [tensors, trainingData([], ITEMS + 1)],
      [new Map([...tensors].slice(0, 1)), data],
      [new Map([...tensors].slice(1)), data],
    ] as const) {
      expect(() => ials.open(dataset, wrong)).toThrow(expect.objectContaining({ code: "CHECKPOINT_INCOMPATIBLE" }));
    }
  });

  it("fits few users, a single item, users without events and nobody", async () => {
    for (const [users, size] of [
      [[[1, 2]], 2],
      [[[1]], 1],
      [[[], [2], []], 3],
      [[], 2],
    ] as const) {
      const model = await fitIals(trainingData(users, size), { factors: 4 });
      expect(model.items.data.every(Number.isFinite)).toBe(true);
      const ranking = await model.rank([history(1)], { k: size, excludeHistory: false });
      expect(ranking.counts[0]).toBe(size);
    }
    // An item that nobody has is at the origin.
    const model = await fitIals(trainingData([[], [2], []], 3));
    expect(model.items.data.subarray(0, 64).every((value) => value === 0)).toBe(true);
    expect(model.items.data.subarray(64, 128).some((value) => value !== 0)).toBe(true);
  });

  it("refuses settings that are none, and says what memory it needs before it takes any", async () => {
    for (const wrong of [
      { factors: 0 },
      { alpha: 0 },
      { regularization: -1 },
      { iterations: 1.5 },
      { factors: 2049 },
    ]) {
      await expect(fitIals(data, wrong)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    }
    await expect(fitIals(data, { regularization: Number.MIN_VALUE, factors: 30 })).rejects.toMatchObject({
      code: "NON_FINITE",
      hint: "Raise regularization.",
    });
    expect(ialsMemory(1000, 500, 10)).toBe(8 * 10 * 1500 + 12 * 10 * 1000 + 24 * 100);
    const available = vi.spyOn(process, "availableMemory").mockReturnValue(100);
    try {
      await expect(fitIals(data)).rejects.toMatchObject({ code: "OUT_OF_MEMORY" });
    } finally {
      available.mockRestore();
    }
  });

  it("counts its sweeps, and stops between two of them with the signal's own reason", async () => {
    const reason = new Error("enough");
    await expect(fitIals(data, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const seen: number[] = [];
    const controller = new AbortController();
    const onProgress = ({ done }: { done: number }) => {
      seen.push(done);
      if (done === 3) controller.abort(reason);
    };
    await expect(fitIals(data, { signal: controller.signal, onProgress })).rejects.toBe(reason);
    expect(seen).toEqual([1, 2, 3]);
  });

  it("gives way to the event loop within a sweep", async () => {
    const random = createRandom(2);
    const many = Array.from({ length: 600 }, () => Array.from({ length: 20 }, () => random.integer(1, 201)));
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    try {
      await fitIals(trainingData(many, 200), { factors: 96, iterations: 1 });
    } finally {
      clearInterval(timer);
    }
    expect(turns).toBeGreaterThan(3);
  });
});
