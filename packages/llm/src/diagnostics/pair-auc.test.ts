import { describe, expect, it } from "vitest";
import { pairAuc } from "./pair-auc.js";

const matrix = (...rows: readonly (readonly number[])[]) => ({
  data: Float32Array.from(rows.flat()),
  rows: rows.length,
  cols: rows[0]!.length,
});

describe("pairAuc", () => {
  it("is 1 where groups lie apart, .5 where nothing is known, and counts ties by half", () => {
    const apart = matrix([1, 0], [1, 0], [0, 1], [0, 1]);
    expect(pairAuc(apart, [0, 0, 1, 1])).toBe(1);
    expect(pairAuc(matrix([1, 0], [1, 0], [1, 0], [1, 0]), [0, 0, 1, 1])).toBe(0.5);
    // Pairs of one group: cosines 1, 0, 0; of different ones: 0, 1, 0, 1, 0, 0.
    expect(pairAuc(matrix([1, 0], [1, 0], [0, 1], [1, 0]), [0, 0, 0, 1])).toBeCloseTo(
      (2 * 0.5 + 1 + 2 * (0.5 + 0)) / 9,
    );
  });

  it("is the same for sparse rows, and not a number where there is one group", () => {
    const sparse = {
      indptr: Uint32Array.of(0, 1, 2, 3),
      indices: Uint32Array.of(0, 0, 1),
      values: Float32Array.of(1, 1, 1),
      rows: 3,
      cols: 2,
    };
    expect(pairAuc(sparse, [0, 0, 1])).toBe(1);
    expect(pairAuc(sparse, [0, 0, 0])).toBeNaN();
  });
});
