import { describe, expect, it } from "vitest";
import { createRandom } from "../random/random.js";
import { bootstrapMean, pairedBootstrap } from "./bootstrap.js";

describe("bootstrap", () => {
  const random = createRandom(5);
  const noise = Float64Array.from({ length: 400 }, () => random.normal());

  it("gives the standard error of the mean and an interval of about two of them", () => {
    const { mean, low, high, standardError } = bootstrapMean(noise);
    const average = noise.reduce((sum, x) => sum + x, 0) / 400;
    const deviation = Math.sqrt(noise.reduce((sum, x) => sum + (x - average) ** 2, 0) / 400);
    expect(mean).toBeCloseTo(average, 12);
    expect(standardError / (deviation / 20)).toBeGreaterThan(0.93);
    expect(standardError / (deviation / 20)).toBeLessThan(1.07);
    expect((high - low) / standardError).toBeGreaterThan(3.7);
    expect((high - low) / standardError).toBeLessThan(4.1);
  });

  it("keeps pairs together: a constant gain is certain however noisy the users are", () => {
    const better = noise.map((x) => x + 0.01);
    const gain = pairedBootstrap(better, noise);
    expect(gain.mean).toBeCloseTo(0.01, 12);
    expect(gain.standardError).toBeLessThan(1e-12);
    expect(gain.notBetter).toBe(0);
    expect(pairedBootstrap(noise, better).notBetter).toBe(1);
  });

  it("repeats itself for the same seed", () => {
    expect(bootstrapMean(noise, { seed: 3 })).toEqual(bootstrapMean(noise, { seed: 3 }));
    expect(bootstrapMean(noise, { seed: 3 })).not.toEqual(bootstrapMean(noise, { seed: 4 }));
  });

  it("refuses unpaired and empty values", () => {
    expect(() => pairedBootstrap([1], [1, 2])).toThrowError(expect.objectContaining({ code: "SHAPE_MISMATCH" }));
    expect(() => bootstrapMean([])).toThrowError(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    expect(() => bootstrapMean([1], { level: 1 })).toThrowError(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });
});
