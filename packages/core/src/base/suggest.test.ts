import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { editDistance, suggest } from "./suggest.js";

describe("editDistance", () => {
  it("counts insertions, deletions, substitutions and swaps of neighbours once each", () => {
    expect(editDistance("seed", "seeds")).toBe(1);
    expect(editDistance("seed", "sed")).toBe(1);
    expect(editDistance("seed", "seet")).toBe(1);
    expect(editDistance("sede", "seed")).toBe(1);
    expect(editDistance("kitten", "sitting")).toBe(3);
  });

  it("is symmetric, and zero exactly for equal texts", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 8 }), fc.string({ maxLength: 8 }), (a, b) => {
        expect(editDistance(a, b)).toBe(editDistance(b, a));
        expect(editDistance(a, b) === 0).toBe(a === b);
      }),
    );
  });
});

describe("suggest", () => {
  it("gives the nearest name for a slip of the finger", () => {
    expect(suggest("clusterer", ["cluster", "clusterer", "crowd"])).toBe("clusterer");
    expect(suggest("interctions", ["items", "interactions"])).toBe("interactions");
  });

  it("keeps silent where nothing is near", () => {
    expect(suggest("xyzzy", ["items", "interactions"])).toBeUndefined();
  });
});
