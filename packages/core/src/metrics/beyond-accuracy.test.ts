import { describe, expect, it } from "vitest";
import {
  beyondAccuracy,
  categoryDistance,
  coverage,
  gini,
  intraListDiversity,
  novelty,
  tailShare,
} from "./beyond-accuracy.js";

const lists = [
  [1, 2, 0],
  [1, 3],
];

describe("beyond-accuracy metrics", () => {
  it("coverage counts distinct items of the cut lists", () => {
    expect(coverage(lists, 2, 10)).toBe(0.3);
    expect(coverage(lists, 1, 10)).toBe(0.1);
  });

  it("gini is 0 when all items are recommended alike and (N - 1) / N when one takes all", () => {
    expect(
      gini(
        [
          [1, 2],
          [3, 4],
        ],
        2,
        4,
      ),
    ).toBe(0);
    expect(gini([[1], [1], [1]], 1, 4)).toBeCloseTo(3 / 4, 12);
    // Counts 0 1 1 2: sum over i of (2 i - 5) count_i / (4 * 4).
    expect(gini(lists, 2, 4)).toBeCloseTo((-1 * 1 + 1 * 1 + 3 * 2) / 16, 12);
    expect(gini([], 2, 4)).toBe(0);
  });

  it("novelty is the mean self-information in bits, finite for items that nobody took", () => {
    const popularity = Uint32Array.of(0, 7, 3, 0);
    expect(novelty([[1, 2], [3]], 2, popularity, 7)).toBeCloseTo(((0 + 1) / 2 + 3) / 2, 12);
  });

  it("intra-list diversity averages over pairs and skips lists without a pair", () => {
    const items = [{ categories: [] }, { categories: ["A", "B"] }, { categories: ["B"] }, { categories: [] }];
    const distance = categoryDistance(items);
    expect([distance(1, 2), distance(1, 1), distance(3, 3), distance(2, 3)]).toEqual([0.5, 0, 1, 1]);
    expect(intraListDiversity([[1, 2, 3], [1], []], 3, distance)).toBeCloseTo((0.5 + 1 + 1) / 3, 12);
    expect(intraListDiversity([[1]], 3, distance)).toBe(0);
  });

  it("tail share leaves out the head, the most popular fifth of the catalog", () => {
    expect(tailShare([[1, 2, 3, 4]], 4, 10)).toBe(0.5);
    expect(tailShare([], 4, 10)).toBe(0);
  });

  it("gives all of them at one cut-off", () => {
    const items = Array.from({ length: 5 }, () => ({ categories: ["A"] }));
    const catalog = { size: 4, popularity: Uint32Array.of(0, 3, 3, 3, 3), items };
    expect(beyondAccuracy(lists, 2, catalog, 3)).toEqual({
      coverage: 3 / 4,
      gini: 6 / 16,
      novelty: 0,
      intraListDiversity: 0,
      tailShare: 0.5,
    });
    expect(() => beyondAccuracy(lists, 0, catalog, 3)).toThrowError(/whole number/);
  });
});
