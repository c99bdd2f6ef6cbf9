import { describe, expect, it } from "vitest";
import { countedBlocks, quantile, summarize } from "./statistics.js";

const block = (foreignCores: number) => ({ seconds: [1], foreignCores });

describe("quantile", () => {
  it("is linear between neighbours and does not need sorted samples", () => {
    expect(quantile([4, 1, 3, 2], 0)).toBe(1);
    expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5);
    expect(quantile([4, 1, 3, 2], 1)).toBe(4);
    expect(quantile([7], 0.2)).toBe(7);
  });

  it("refuses an empty sample", () => {
    expect(() => quantile([], 0.5)).toThrow(RangeError);
  });

  it("gives a summary", () => {
    expect(summarize([1, 2, 3, 4, 5, 6])).toEqual({ median: 3.5, p20: 2, p80: 5 });
  });
});

describe("countedBlocks", () => {
  it("keeps the clean ones where there are enough", () => {
    expect(countedBlocks([block(0), block(1), block(0.1), block(0.2)])).toEqual([block(0), block(0.1), block(0.2)]);
  });

  it("keeps all where too few are clean", () => {
    expect(countedBlocks([block(0), block(1), block(1), block(1)])).toHaveLength(4);
  });
});
