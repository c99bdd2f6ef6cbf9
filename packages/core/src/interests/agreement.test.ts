import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { adjustedRandIndex, meanOf, mutualInformation, normalizedMutualInformation, sizeEntropy } from "./agreement.js";

const labels = (length: number) => fc.array(fc.integer({ min: 0, max: 4 }), { minLength: length, maxLength: length });

describe("adjustedRandIndex", () => {
  it("gives the value computed by hand", () => {
    // Pairs together in both: 1; in a: 3 + 1 = 4 of {0,0,0,1,1}; in b: 1 + 3 = 4; of 10 pairs.
    // Contingency of (0,0,0,1,1) and (0,0,1,1,1): 2, 1, 2 -> 1 + 0 + 1 = 2 pairs; expected 4 * 4 / 10 = 1.6.
    expect(adjustedRandIndex([0, 0, 0, 1, 1], [0, 0, 1, 1, 1])).toBeCloseTo((2 - 1.6) / (4 - 1.6), 12);
  });

  it("is 1 for the same partition under other names, and symmetric", () => {
    fc.assert(
      fc.property(labels(9), labels(9), (a, b) => {
        const renamed = a.map((c) => 7 - c);
        expect(adjustedRandIndex(a, renamed)).toBeCloseTo(1, 12);
        expect(adjustedRandIndex(a, b)).toBeCloseTo(adjustedRandIndex(b, a), 12);
      }),
    );
  });

  it("leaves items without a cluster out", () => {
    expect(adjustedRandIndex([0, 0, 1, 1, -1], [5, 5, 6, 6, 5])).toBe(1);
  });

  it("refuses partitions of different lengths", () => {
    expect(() => adjustedRandIndex([0], [0, 1])).toThrow(/different lengths/);
  });
});

describe("information", () => {
  it("is ln 2 for two equal halves that agree and 0 for independent ones", () => {
    expect(mutualInformation([0, 0, 1, 1], [1, 1, 0, 0])).toBeCloseTo(Math.LN2, 12);
    expect(mutualInformation([0, 0, 1, 1], [0, 1, 0, 1])).toBeCloseTo(0, 12);
    expect(normalizedMutualInformation([0, 0, 1, 1], [1, 1, 0, 0])).toBeCloseTo(1, 12);
    expect(sizeEntropy([0, 1, 2, 3])).toBeCloseTo(Math.log(4), 12);
  });
});

describe("meanOf", () => {
  it("gives the mean and its standard error", () => {
    const { mean, standardError, count } = meanOf([1, 2, 3, 4]);
    expect([mean, count]).toEqual([2.5, 4]);
    expect(standardError).toBeCloseTo(Math.sqrt(5 / 3 / 4), 12);
  });
});
