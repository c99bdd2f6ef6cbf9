import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { adjustedRandIndex } from "./agreement.js";
import { averageLinkage } from "./average-linkage.js";

const matrix = (rows: number[][]) => ({
  data: Float32Array.from(rows.flat()),
  rows: rows.length,
  cols: rows[0]?.length ?? 0,
});

/** Merges the closest pair of clusters again and again, mean of all pairwise cosine distances. */
function naive(rows: number[][], clusters: number): number[] {
  const unit = rows.map((row) => row.map((x) => Math.fround(x) / Math.hypot(...row.map(Math.fround))));
  const groups = rows.map((_, i) => [i]);
  while (groups.length > clusters) {
    let best = { a: 0, b: 1, distance: Infinity };
    for (let a = 0; a < groups.length; a++) {
      for (let b = a + 1; b < groups.length; b++) {
        let sum = 0;
        for (const i of groups[a]!) {
          for (const j of groups[b]!) sum += 1 - unit[i]!.reduce((dot, x, k) => dot + x * unit[j]![k]!, 0);
        }
        const distance = sum / (groups[a]!.length * groups[b]!.length);
        if (distance < best.distance) best = { a, b, distance };
      }
    }
    groups[best.a]!.push(...groups[best.b]!);
    groups.splice(best.b, 1);
  }
  return rows.map((_, i) => groups.findIndex((group) => group.includes(i)));
}

describe("averageLinkage", () => {
  it("gives the tree of the naive algorithm at every number of clusters", () => {
    const vector = fc.array(fc.float({ min: Math.fround(0.1), max: 1, noNaN: true }), { minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(
        fc.array(vector, { minLength: 3, maxLength: 9 }),
        fc.integer({ min: 1, max: 5 }),
        (rows, clusters) => {
          const distinct = rows.map((row, i) => row.map((x, k) => (k === 0 ? x + 0.013 * i * i : x + 0.0071 * i)));
          // Cut by the number of clusters alone: a threshold above every cosine merges nothing by itself.
          const assign = averageLinkage(matrix(distinct), { maxClusters: clusters, threshold: 2 });
          expect(adjustedRandIndex(assign, naive(distinct, clusters))).toBeCloseTo(1, 12);
        },
      ),
      { numRuns: 60, seed: 7 },
    );
  });

  it("finds two tight bundles by silhouette, numbered by first appearance", () => {
    const rows = [
      [0, 1, 0.05],
      [1, 0, 0.02],
      [0.02, 1, 0],
      [1, 0.05, 0],
      [0, 1, 0],
    ];
    expect([...averageLinkage(matrix(rows), { maxClusters: 4, threshold: "silhouette" })]).toEqual([0, 1, 0, 1, 0]);
  });

  it("cuts where the mean cosine falls below the threshold, and never above maxClusters", () => {
    const rows = [
      [1, 0, 0],
      [0.9, 0.1, 0],
      [0, 1, 0],
      [0, 0, 1],
    ];
    expect([...averageLinkage(matrix(rows), { maxClusters: 8, threshold: 0.5 })]).toEqual([0, 0, 1, 2]);
    expect(new Set(averageLinkage(matrix(rows), { maxClusters: 2, threshold: 0.5 })).size).toBe(2);
    expect([...averageLinkage(matrix(rows), { maxClusters: 8, threshold: -1 })]).toEqual([0, 0, 0, 0]);
  });

  it("takes items that nothing is known of as unlike everything", () => {
    const rows = [
      [1, 0],
      [0, 0],
      [1, 0],
    ];
    expect([...averageLinkage(matrix(rows), { maxClusters: 8, threshold: 0.5 })]).toEqual([0, 1, 0]);
  });

  it("answers empty and single inputs", () => {
    expect(averageLinkage(matrix([]), { maxClusters: 3, threshold: 0.5 })).toHaveLength(0);
    expect([...averageLinkage(matrix([[1, 2]]), { maxClusters: 3, threshold: "silhouette" })]).toEqual([0]);
  });

  it("refuses numbers that are not finite and impossible options", () => {
    expect(() => averageLinkage(matrix([[1], [Number.NaN]]), { maxClusters: 2, threshold: 0 })).toThrow(/NaN/);
    expect(() => averageLinkage(matrix([[1]]), { maxClusters: 0, threshold: 0 })).toThrow(/maxClusters/);
  });
});
