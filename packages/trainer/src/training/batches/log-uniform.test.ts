import { createRandom } from "@prismrec/core/base";
import { describe, expect, it } from "vitest";
import { LogUniformSampler } from "./log-uniform.js";

const ITEMS = 8;
const sampler = new LogUniformSampler(ITEMS);

describe("LogUniformSampler", () => {
  it("has probabilities that fall with the rank and sum to one", () => {
    const all = Array.from({ length: ITEMS }, (_, row) => sampler.probability(row));
    expect(all.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 12);
    expect(all.every((p, row) => row === 0 || p < all[row - 1]!)).toBe(true);
    expect(all[0]).toBeCloseTo(Math.log(2) / Math.log(9), 12);
  });

  it("draws rows of the item table in that proportion, so never padding, which has no row", () => {
    const count = 20_000;
    const { ids } = sampler.draw(count, new Uint32Array(0), createRandom(1));
    const counts = new Float64Array(ITEMS);
    for (const id of ids) counts[id]!++;
    expect(counts.reduce((sum, drawn) => sum + drawn, 0)).toBe(count);
    counts.forEach((drawn, row) => {
      const p = sampler.probability(row);
      expect(Math.abs(drawn / count - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / count));
    });
  });

  it("gives candidates and targets the log of their expected count", () => {
    const { ids, logQ, targetLogQ } = sampler.draw(10, Uint32Array.of(0, 7), createRandom(2));
    const expected = (row: number) => Math.fround(Math.log(10 * sampler.probability(row)));
    expect([...logQ]).toEqual([...ids].map(expected));
    expect([...targetLogQ]).toEqual([0, 7].map(expected));
  });

  it("draws the only item of a catalog of one", () => {
    expect([...new LogUniformSampler(1).draw(5, new Uint32Array(0), createRandom(1)).ids]).toEqual([0, 0, 0, 0, 0]);
  });
});
