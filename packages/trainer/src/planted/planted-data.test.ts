import { describe, expect, it } from "vitest";
import { plantedData, TruthClusterer } from "./planted-data.js";

const SMALL = { users: 400, items: 200, interests: 8 };

describe("plantedData", () => {
  it("repeats itself bit for bit and changes with the seed", () => {
    const a = plantedData(SMALL);
    const b = plantedData(SMALL);
    expect(b.dataset.log.items).toEqual(a.dataset.log.items);
    expect(b.truth).toEqual(a.truth);
    expect(plantedData({ ...SMALL, seed: 2 }).dataset.log.items).not.toEqual(a.dataset.log.items);
  });

  it("keeps users disjoint, ids sorted by training popularity, and five events at least", () => {
    const { catalog, log, split } = plantedData(SMALL).dataset;
    const all = [...split.train.users, ...split.valid.users, ...split.test.users];
    expect(new Set(all).size).toBe(log.userCount);
    for (let id = 2; id <= catalog.size; id++) {
      expect(catalog.popularity[id]!).toBeLessThanOrEqual(catalog.popularity[id - 1]!);
    }
    const counted = new Uint32Array(catalog.size + 1);
    for (const [r, user] of split.train.users.entries()) {
      for (let at = log.indptr[user]!; at < log.indptr[user]! + split.train.ends[r]!; at++) counted[log.items[at]!]!++;
    }
    expect(counted).toEqual(catalog.popularity);
    for (let user = 0; user < log.userCount; user++) {
      const items = log.items.subarray(log.indptr[user]!, log.indptr[user + 1]!);
      expect(items.length).toBeGreaterThanOrEqual(5);
      expect(new Set(items).size).toBe(items.length);
    }
  });

  it("gives users few interests, and categories that say nothing about them", () => {
    const { dataset, truth } = plantedData({ users: 2000, items: 800, interests: 10 });
    const { log, catalog } = dataset;
    let interests = 0;
    for (let user = 0; user < log.userCount; user++) {
      interests += new Set(Array.from(log.items.subarray(log.indptr[user]!, log.indptr[user + 1]!), (i) => truth[i]))
        .size;
    }
    expect(interests / log.userCount).toBeGreaterThan(1.5);
    expect(interests / log.userCount).toBeLessThan(4.5);
    // Chi-square of interest against category: 63 degrees of freedom, mean 63, standard deviation 11.2.
    const table = new Map<string, number>();
    const rows = new Map<number, number>();
    const columns = new Map<string, number>();
    for (let id = 1; id <= catalog.size; id++) {
      const category = catalog.items[id]!.categories[0]!;
      const interest = truth[id]!;
      const cell = `${interest}/${category}`;
      table.set(cell, (table.get(cell) ?? 0) + 1);
      rows.set(interest, (rows.get(interest) ?? 0) + 1);
      columns.set(category, (columns.get(category) ?? 0) + 1);
    }
    let chiSquare = 0;
    for (const [interest, row] of rows) {
      for (const [category, column] of columns) {
        const expected = (row * column) / catalog.size;
        chiSquare += ((table.get(`${interest}/${category}`) ?? 0) - expected) ** 2 / expected;
      }
    }
    expect(chiSquare).toBeLessThan(63 + 5 * 11.2);
  });

  it("refuses sizes that cannot hold the interests", () => {
    expect(() => plantedData({ interests: 2 })).toThrowError(/at least 4 interests/);
  });
});

describe("TruthClusterer", () => {
  it("groups a history by the planted interest and folds what exceeds the limit into the last cluster", async () => {
    const truth = Uint16Array.from([0, 5, 3, 5, 9, 3]);
    const clusterer = new TruthClusterer(truth);
    const request = { key: "user:1", items: Uint32Array.from([1, 2, 3, 4, 5]) };
    const [free] = await clusterer.partition([{ ...request, maxClusters: 8 }]);
    expect([...free!.assign]).toEqual([0, 1, 0, 2, 1]);
    expect(free!.labels).toEqual(["interest 5", "interest 3", "interest 9"]);
    const [tight] = await clusterer.partition([{ ...request, maxClusters: 2 }]);
    expect([...tight!.assign]).toEqual([0, 1, 0, 1, 1]);
    expect(tight!.labels).toHaveLength(2);
  });
});
