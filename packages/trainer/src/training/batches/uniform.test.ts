import { createRandom } from "@prismrec/core/base";
import { describe, expect, it } from "vitest";
import { UniformSampler } from "./uniform.js";

describe("UniformSampler", () => {
  it("draws every row of the item table alike, and gives the log of the expected count", () => {
    const [items, count] = [8, 20_000];
    const { ids, logQ, targetLogQ } = new UniformSampler(items).draw(count, Uint32Array.of(3), createRandom(1));
    const counts = new Float64Array(items);
    for (const id of ids) counts[id]!++;
    const p = 1 / items;
    for (const drawn of counts) expect(Math.abs(drawn / count - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / count));
    const expected = Math.fround(Math.log(count / items));
    expect(new Set(logQ)).toEqual(new Set([expected]));
    expect([...targetLogQ]).toEqual([expected]);
  });
});
