import { describe, expect, it } from "vitest";
import { trainingData } from "../testing/training-data.js";
import { GfCf, graphFilters } from "./gf-cf.js";

// Item 5 belongs to nobody.
const LISTS = [[1, 2], [1, 2, 3], [2, 3], [3, 4], [1, 4], [4]];
const ITEMS = 5;
const dataset = trainingData(LISTS, ITEMS);

/** R = D_U^-1/2 X D_I^-1/2, in doubles. */
function normalised(): { readonly r: number[][]; readonly degrees: number[] } {
  const degrees = Array.from({ length: ITEMS }, (_, i) => LISTS.filter((list) => list.includes(i + 1)).length);
  const r = LISTS.map((list) =>
    degrees.map((degree, i) => (list.includes(i + 1) ? 1 / Math.sqrt(list.length * degree) : 0)),
  );
  return { r, degrees };
}

const scoresOf = (model: GfCf, ...items: number[]) => {
  const scores = new Float64Array(ITEMS);
  const known = model.score({ items: Uint32Array.from(items) }, scores);
  return { known, scores: [...scores] };
};

describe("gf-cf", () => {
  const { r, degrees } = normalised();
  /** [i][j] R'R */
  const linear = degrees.map((_, i) => degrees.map((_, j) => r.reduce((sum, row) => sum + row[i]! * row[j]!, 0)));

  it("sums the rows of R'R without the low-pass filter", () => {
    const { known, scores } = scoresOf(new GfCf(graphFilters(dataset, 2, 1), 0), 1, 3);
    expect(known).toBe(true);
    for (const [j, score] of scores.entries()) expect(score).toBeCloseTo(linear[0]![j]! + linear[2]![j]!, 5);
  });

  it("adds D_I^-1/2 V V' D_I^1/2, which of full rank gives an item back to itself", () => {
    const filters = graphFilters(dataset, ITEMS, 1);
    const [plain, filtered] = [0, 2].map((alpha) => scoresOf(new GfCf(filters, alpha), 2).scores) as [
      number[],
      number[],
    ];
    // R has rank 4: V V' is the identity but for item 5.
    const expected = [0, 2, 0, 0, 0];
    for (const [j, score] of filtered.entries()) expect(score - plain[j]!).toBeCloseTo(expected[j]!, 4);
  });

  it("has vectors that R'R only stretches", () => {
    const { vectors } = graphFilters(dataset, 2, 1);
    for (let c = 0; c < 2; c++) {
      const v = degrees.map((_, i) => vectors.data[i * 2 + c]!);
      const image = linear.map((row) => row.reduce((sum, value, j) => sum + value * v[j]!, 0));
      const value = image.reduce((sum, x, i) => sum + x * v[i]!, 0);
      for (const [i, x] of image.entries()) expect(x).toBeCloseTo(value * v[i]!, 4);
    }
  });

  it("has nothing to say of items that nobody has", () => {
    const model = new GfCf(graphFilters(dataset, 2, 1), 0.3);
    expect(scoresOf(model, 5)).toEqual({ known: false, scores: [0, 0, 0, 0, 0] });
    expect(scoresOf(model, 1).scores[4]).toBe(0);
  });
});
