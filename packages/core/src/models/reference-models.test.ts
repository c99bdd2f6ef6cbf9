import { describe, expect, it } from "vitest";
import { createCatalog, createLog } from "../dataset/catalog.js";
import type { Dataset } from "../dataset/types.js";
import { fitEase } from "./ease.js";
import { fitItemKnn } from "./item-knn.js";
import type { Model } from "./model.js";
import { fitMostPopular } from "./most-popular.js";

/** Training users only; ids are dense already: item 1 has most events. */
function trainingData(lists: readonly (readonly number[])[], size: number): Dataset {
  const popularity = new Uint32Array(size + 1);
  for (const id of lists.flat()) popularity[id]!++;
  const items = Array.from({ length: size + 1 }, (_, id) => ({
    id: id === 0 ? "" : `i${id}`,
    title: "",
    categories: [],
  }));
  const indptr = Uint32Array.from([0, ...lists.map(({ length }) => length)]);
  for (let u = 0; u < lists.length; u++) indptr[u + 1]! += indptr[u]!;
  const none = new Uint32Array(0);
  const nobody = { users: none, historyEnds: none, targetEnds: none };
  return {
    fingerprint: "constructed",
    catalog: createCatalog(items, popularity),
    log: createLog({ userIds: lists.map((_, u) => `u${u}`), indptr, items: Uint32Array.from(lists.flat()) }),
    split: {
      protocol: "user-disjoint",
      train: { users: Uint32Array.from(lists.keys()), ends: Uint32Array.from(lists, ({ length }) => length) },
      valid: nobody,
      test: nobody,
    },
  };
}

// Two worlds that share no user: {1, 3, 5} and {2, 4}, and item 6 that nobody took.
const data = trainingData([[1, 3, 5], [1, 3], [1, 3, 5], [1], [2, 4], [2, 4], [2]], 6);
const rank = async (model: Model, items: number[], options: Partial<Parameters<Model["rank"]>[1]> = {}) => {
  const ranking = await model.rank([{ items: Uint32Array.from(items) }], { k: 6, ...options });
  return Array.from(ranking.ids.subarray(0, ranking.counts[0]));
};

describe("the reference models", () => {
  it("most-popular ranks by training events, ties by id, whatever the history", async () => {
    const model = fitMostPopular(data);
    expect(await rank(model, [])).toEqual([1, 2, 3, 4, 5, 6]);
    expect(await rank(model, [1, 3])).toEqual([2, 4, 5, 6]);
  });

  it("item-knn and ease put the history's own world first", async () => {
    for (const model of [await fitItemKnn(data), await fitEase(data, { lambda: 1 })]) {
      expect((await rank(model, [3]))[0], model.name).toBe(1);
      expect((await rank(model, [4]))[0], model.name).toBe(2);
      expect((await rank(model, [1, 3]))[0], model.name).toBe(5);
    }
  });

  it("item-knn scores by cosine and keeps each item's nearest neighbours only", async () => {
    const ranking = await (await fitItemKnn(data)).rank([{ items: Uint32Array.of(3) }], { k: 2 });
    expect([...ranking.ids]).toEqual([1, 5]);
    expect(ranking.scores[0]).toBeCloseTo(3 / Math.sqrt(4 * 3), 6);
    expect(ranking.scores[1]).toBeCloseTo(2 / Math.sqrt(3 * 2), 6);
    // With one neighbour each, 5 keeps 3 and not 1, so a history of 1 says nothing about 5.
    const one = await (await fitItemKnn(data, { neighbours: 1 })).rank([{ items: Uint32Array.of(1) }], { k: 5 });
    expect(one.scores[Array.from(one.ids).indexOf(5)]).toBe(0);
  });

  it("ease solves the ridge regression without self-similarity", async () => {
    // X'X + I of users {1, 2}, {1}: [[3, 1], [1, 2]]; its inverse is [[2, -1], [-1, 3]] / 5.
    const model = await fitEase(trainingData([[1, 2], [1]], 2), { lambda: 1 });
    const ranking = await model.rank([{ items: Uint32Array.of(1) }, { items: Uint32Array.of(2) }], {
      k: 2,
      excludeHistory: false,
    });
    expect([...ranking.ids]).toEqual([2, 1, 1, 2]);
    expect(ranking.scores[0]).toBeCloseTo(1 / 3, 6);
    expect(ranking.scores[2]).toBeCloseTo(1 / 2, 6);
    expect([ranking.scores[1], ranking.scores[3]]).toEqual([0, 0]);
  });

  it("ease gives the same weights with fewer users than items as with more", async () => {
    const lists = [
      [1, 2, 3, 5],
      [1, 4],
      [2, 3, 6, 1],
      [5, 6],
    ];
    const few = await fitEase(trainingData(lists, 6), { lambda: 3 });
    // Users without events change nothing but the way that is taken.
    const many = await fitEase(trainingData([...lists, [], [], [], []], 6), { lambda: 3 });
    few.weights.data.forEach((weight, i) => {
      expect(weight).toBeCloseTo(many.weights.data[i]!, 6);
    });
  });

  it("leave out what they are told to, and fill short lists with nothing", async () => {
    const exclude = { indptr: Uint32Array.of(0, 2), indices: Uint32Array.of(2, 6), rows: 1, cols: 7 };
    for (const model of [fitMostPopular(data), await fitItemKnn(data), await fitEase(data, { lambda: 1 })]) {
      expect(new Set(await rank(model, [1], { exclude }))).toEqual(new Set([3, 4, 5]));
      const ranking = await model.rank([{ items: Uint32Array.of(1) }], { k: 6, exclude });
      expect([ranking.counts[0], ...ranking.ids.subarray(3)]).toEqual([3, 0, 0, 0]);
    }
  });

  it("refuse unknown ids, impossible lengths and impossible settings, and stop when told", async () => {
    const model = fitMostPopular(data);
    await expect(rank(model, [7])).rejects.toMatchObject({ code: "UNKNOWN_ITEM" });
    await expect(rank(model, [0])).rejects.toMatchObject({ code: "UNKNOWN_ITEM" });
    await expect(rank(model, [1], { k: 7 })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(fitEase(data, { lambda: 0 })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    await expect(fitItemKnn(data, { neighbours: 0.5 })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    const reason = new Error("stop");
    const signal = AbortSignal.abort(reason);
    await expect(rank(model, [1], { signal })).rejects.toBe(reason);
    await expect(fitEase(data, { lambda: 1, signal })).rejects.toBe(reason);
    await expect(fitItemKnn(data, { signal })).rejects.toBe(reason);
  });
});
