import type { Matrix } from "@prismrec/core/base";
import { describe, expect, it } from "vitest";
import { handMade } from "../testing/hand-made.js";
import { popularityBias, randomItems, svdItems } from "./initial-items.js";
import { trainingSequences } from "./sequences.js";

const row = ({ data, cols }: Matrix, i: number) => data.subarray(i * cols, (i + 1) * cols);
const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, x, c) => sum + x * b[c]!, 0);
const norm = (a: Float32Array) => Math.sqrt(dot(a, a));
const meanNorm = (items: Matrix) =>
  Array.from({ length: items.rows }, (_, i) => norm(row(items, i))).reduce((sum, n) => sum + n, 0) / items.rows;

describe("svdItems", () => {
  // Two worlds, {1..4} and {5..8}; item 9 is in the catalog through a test user alone.
  const dataset = handMade(
    [
      [1, 2, 3, 4],
      [2, 4, 1],
      [3, 1, 4],
      [4, 3, 2],
      [5, 6, 7, 8],
      [8, 6, 5],
      [7, 5, 8],
      [6, 7, 8],
    ],
    { test: [[1, 9]] },
  );
  const items = svdItems(trainingSequences(dataset), 9, 2, 1);

  it("puts items that are consumed together close, and the two worlds apart", () => {
    const cosine = (a: number, b: number) =>
      dot(row(items, a), row(items, b)) / (norm(row(items, a)) * norm(row(items, b)));
    const inside = [cosine(0, 1), cosine(2, 3), cosine(4, 5), cosine(6, 7)];
    const across = [cosine(0, 4), cosine(1, 6), cosine(3, 7)];
    expect(Math.min(...inside)).toBeGreaterThan(Math.max(...across) + 0.3);
  });

  it("has rows of mean norm one, and nothing to say of an item that training never saw", () => {
    expect((meanNorm(items) * 9) / 8).toBeCloseTo(1, 5);
    expect(norm(row(items, 8))).toBe(0);
  });

  it("gives an item the same vector however many others training never saw", () => {
    const large = svdItems(trainingSequences(dataset), 100_000, 2, 1);
    expect(large.data.subarray(0, items.data.length)).toEqual(items.data);
    expect(large.data.subarray(items.data.length).every((value) => value === 0)).toBe(true);
  });

  it("leaves the directions empty that a small catalog does not have", () => {
    const small = svdItems(trainingSequences(handMade([[1, 2, 3]])), 3, 8, 1);
    expect(small).toMatchObject({ rows: 3, cols: 8 });
    expect(small.data.every(Number.isFinite)).toBe(true);
    expect(
      row(small, 0)
        .subarray(3)
        .every((value) => value === 0),
    ).toBe(true);
  });
});

describe("randomItems", () => {
  it("has rows of norm about one whatever the width, from the seed alone", () => {
    for (const dim of [4, 64]) expect(meanNorm(randomItems(500, dim, 1))).toBeCloseTo(1, 0);
    expect(randomItems(5, 4, 1)).toEqual(randomItems(5, 4, 1));
    expect(randomItems(5, 4, 1)).not.toEqual(randomItems(5, 4, 2));
  });
});

describe("popularityBias", () => {
  it("is zero at the mean count and finite for an item without events", () => {
    const bias = popularityBias(Uint32Array.of(0, 9, 3, 0));
    expect([...bias]).toEqual([10, 4, 1].map((count) => Math.fround(Math.log(count) - Math.log(5))));
  });
});
