import { describe, expect, it, vi } from "vitest";
import { native } from "../ops/native.js";
import { hasBuilt, needsBuilt, spawnScript } from "../testing/spawn-script.js";
import { trainingData } from "../testing/training-data.js";
import { easeMemory, fitEase } from "./ease.js";
import { fitItemKnn } from "./item-knn.js";
import type { Model } from "./model.js";
import { fitMostPopular } from "./most-popular.js";

/** Fits a catalog of a few more items than users, and prints by how much the process grew. */
const EASE_MEMORY = `
import { createCatalog, createLog } from "@prismrec/core/data";
import { easeMemory, fitEase } from "@prismrec/core/models";
const fit = (size, users) => {
  const items = Array.from({ length: size + 1 }, (_, id) => ({ id: id === 0 ? "" : "i" + id, title: "", categories: [] }));
  const lists = Array.from({ length: users }, (_, u) => [0, 1, 2].map((t) => 1 + ((7 * u + t) % size)));
  const none = { users: new Uint32Array(0), historyEnds: new Uint32Array(0), targetEnds: new Uint32Array(0) };
  const train = { users: Uint32Array.from(lists.keys()), ends: new Uint32Array(users).fill(3) };
  const indptr = Uint32Array.from({ length: users + 1 }, (_, u) => 3 * u);
  return fitEase({
    fingerprint: "few users",
    catalog: createCatalog(items, new Uint32Array(size + 1)),
    log: createLog({ userIds: lists.map((_, u) => "u" + u), indptr, items: Uint32Array.from(lists.flat()) }),
    split: { protocol: "user-disjoint", train, valid: none, test: none },
  }, { lambda: 2 });
};
const [size, users] = [2500, 2450];
await fit(300, 290);
const before = process.resourceUsage().maxRSS;
await fit(size, users);
process.stdout.write(JSON.stringify({
  grown: 1024 * (process.resourceUsage().maxRSS - before), said: easeMemory(size, users),
}));
`;

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

  it("ease counts its memory before it takes any, and says what it needs", async () => {
    // Weights, with the users' inverse beside them where it is the smaller one.
    expect(easeMemory(1000, 5000, true)).toBe(8e6);
    expect(easeMemory(1000, 500, true)).toBe(4e6 + 1e6);
    expect(easeMemory(1000, 5000, false)).toBe(20e6);
    expect(easeMemory(1000, 900, false)).toBe(20 * 900 ** 2);
    const available = vi.spyOn(process, "availableMemory").mockReturnValue(100);
    try {
      const failure = fitEase(data, { lambda: 1 });
      await expect(failure).rejects.toMatchObject({ code: "OUT_OF_MEMORY", expected: expect.stringContaining("GiB") });
    } finally {
      available.mockRestore();
    }
  });

  it.skipIf(!hasBuilt || native() === undefined)(
    `ease takes no more memory with few users than it says${needsBuilt}`,
    async () => {
      const { grown, said } = (await spawnScript(EASE_MEMORY, [])) as { grown: number; said: number };
      // JavaScript's own heap grows meanwhile, by what it likes.
      expect(grown).toBeLessThan(1.4 * said + 16 * 2 ** 20);
    },
  );

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
