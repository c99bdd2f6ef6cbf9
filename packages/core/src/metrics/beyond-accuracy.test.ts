import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  beyondAccuracy,
  categoryDistance,
  coverage,
  ExposureMeter,
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

  it("exposure holds the popularity of lists against that of the same users' histories", () => {
    const catalog = { size: 4, popularity: Uint32Array.of(0, 8, 4, 2, 0) };
    const meter = new ExposureMeter(2, catalog, 8);
    expect(meter.value()).toEqual({ coverage: 0, gini: 0, novelty: 0, averagePopularity: 0, popularityLift: 0 });
    // Lists 1 2 and 1: popularity (1 + 1/2) / 2 and 1. Histories 2 2 3 and 4: (1/2 + 1/2 + 1/4) / 3 and 0.
    meter.add([1, 0, 1, 2, 3], [2, 2, 3]);
    meter.add([1], [4]);
    const value = meter.value();
    expect(value.averagePopularity).toBeCloseTo((3 / 4 + 1) / 2, 12);
    expect(value.popularityLift).toBeCloseTo((3 / 4 + 1) / (5 / 12) - 1, 12);
    expect(value.coverage).toBe(2 / 4);
    // A list without a history counts as a list and not for the lift; an empty list for nothing.
    meter.add([3], []);
    meter.add([0, 0], [1]);
    expect(meter.value().averagePopularity).toBeCloseTo((3 / 4 + 1 + 1 / 4) / 3, 12);
    expect(meter.value().popularityLift).toBeCloseTo(value.popularityLift, 12);
    expect(meter.value().coverage).toBe(3 / 4);
  });

  it("exposure is that of the same lists at once, and no list is above its bounds", () => {
    const list = fc.uniqueArray(fc.integer({ min: 1, max: 6 }), { maxLength: 6 });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(list, list)),
        fc.array(fc.nat(9), { minLength: 6, maxLength: 6 }),
        (rows, counts) => {
          const catalog = { size: 6, popularity: Uint32Array.of(0, ...counts) };
          const meter = new ExposureMeter(3, catalog, 9);
          for (const [own, history] of rows) meter.add(own, history);
          const value = meter.value();
          const all = rows.map(([own]) => own);
          expect(value.coverage).toBe(coverage(all, 3, 6));
          expect(value.gini).toBe(gini(all, 3, 6));
          expect(value.novelty).toBeCloseTo(novelty(all, 3, catalog.popularity, 9), 9);
          expect(value.averagePopularity >= 0 && value.averagePopularity <= 1).toBe(true);
          expect(value.popularityLift).toBeGreaterThanOrEqual(-1);
        },
      ),
    );
  });

  it("gives all of them at one cut-off", () => {
    const items = Array.from({ length: 5 }, () => ({ categories: ["A"] }));
    const catalog = { size: 4, popularity: Uint32Array.of(0, 3, 3, 3, 3), items };
    const histories = [[4], [2, 3]];
    expect(beyondAccuracy(lists, histories, 2, catalog, 3)).toEqual({
      coverage: 3 / 4,
      gini: 6 / 16,
      novelty: 0,
      averagePopularity: 1,
      popularityLift: 0,
      intraListDiversity: 0,
      tailShare: 0.5,
    });
    expect(() => beyondAccuracy(lists, histories, 0, catalog, 3)).toThrowError(/whole number/);
    expect(() => beyondAccuracy(lists, [[4]], 2, catalog, 3)).toThrowError(
      expect.objectContaining({ code: "SHAPE_MISMATCH" }),
    );
  });
});
