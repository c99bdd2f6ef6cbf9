import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { holm, wilcoxonSignedRank } from "./signed-rank.js";

describe("wilcoxonSignedRank", () => {
  it("counts the null distribution of a small sample: every pattern of signs", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -1, max: 0 }), { minLength: 1, maxLength: 9 }), (signs) => {
        const n = signs.length;
        const differences = signs.map((sign, i) => (sign < 0 ? -1 : 1) * (i + 1));
        const { statistic, pValue } = wilcoxonSignedRank(differences, new Array(n).fill(0));
        const rankSums = Array.from({ length: 2 ** n }, (_, pattern) =>
          Array.from({ length: n }, (_, i) => ((pattern >> i) & 1) * (i + 1)).reduce((a, b) => a + b, 0),
        );
        const share = rankSums.filter((sum) => sum <= statistic).length / 2 ** n;
        expect(pValue).toBeCloseTo(Math.min(1, 2 * share), 12);
      }),
    );
  });

  // Values of SciPy 1.17's wilcoxon(zero_method="wilcox", method="approx", correction=False).
  it("corrects for ties and leaves equal pairs out, as SciPy does", () => {
    const a = Array.from({ length: 12 }, (_, i) => ((7 * i) % 13) / 4);
    const b = Array.from({ length: 12 }, (_, i) => ((5 * i + 3) % 11) / 4);
    const { statistic, pValue } = wilcoxonSignedRank(a, b);
    expect(statistic).toBe(29);
    expect(pValue).toBeCloseTo(0.43027391815384286, 12);
    const far = wilcoxonSignedRank(
      Array.from({ length: 200 }, (_, i) => i + 1),
      new Array(200).fill(0),
    );
    expect(far.statistic).toBe(0);
    expect(far.pValue / 1.4361464127613523e-34).toBeCloseTo(1, 9);
  });

  it("says the same of b against a, and nothing of equals", () => {
    const a = [0.2, 0.5, 0.1, 0.9, 0.4];
    const b = [0.1, 0.6, 0.3, 0.2, 0.4];
    expect(wilcoxonSignedRank(a, b)).toEqual(wilcoxonSignedRank(b, a));
    expect(wilcoxonSignedRank(a, a)).toEqual({ statistic: 0, pValue: 1, pairs: 0 });
  });

  it("refuses other users and what is not finite", () => {
    expect(() => wilcoxonSignedRank([1], [1, 2])).toThrow(expect.objectContaining({ code: "SHAPE_MISMATCH" }));
    expect(() => wilcoxonSignedRank([1, Number.NaN], [1, 2])).toThrow(expect.objectContaining({ code: "NON_FINITE" }));
  });
});

describe("holm", () => {
  it("steps down: each p-value by how many are left, never below one before it", () => {
    expect(holm({ a: 0.01, b: 0.04, c: 0.03 })).toEqual({ a: 0.03, b: 0.06, c: 0.06 });
    expect(holm({ a: 0.9, b: 0.8 })).toEqual({ a: 1, b: 1 });
    expect(holm({})).toEqual({});
  });

  it("refuses what is no probability", () => {
    expect(() => holm({ a: 1.5 })).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });
});
