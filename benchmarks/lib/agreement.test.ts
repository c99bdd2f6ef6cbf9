import { describe, expect, it } from "vitest";
import { closeArrays, relativeError } from "./agreement.js";

describe("relativeError", () => {
  it("is the norm of the difference over the norm", () => {
    expect(relativeError(Float64Array.of(3, 4), Float64Array.of(3, 4.5))).toBeCloseTo(0.1);
    expect(relativeError(Float64Array.of(0), Float64Array.of(0))).toBe(0);
    expect(relativeError(Float64Array.of(0), Float64Array.of(1))).toBe(Number.POSITIVE_INFINITY);
    expect(relativeError(Float64Array.of(1), Float64Array.of(1, 2))).toBe(Number.POSITIVE_INFINITY);
  });
});

describe("closeArrays", () => {
  it("judges by the worst array, a missing one or NaN being infinitely far", () => {
    const expected = { a: Float32Array.of(1), b: Float32Array.of(2) };
    expect(closeArrays(expected, { a: Float32Array.of(1), b: Float32Array.of(2) }, 1e-6).agrees).toBe(true);
    expect(closeArrays(expected, { a: Float32Array.of(1), b: Float32Array.of(2.1) }, 1e-6).agrees).toBe(false);
    expect(closeArrays(expected, { a: Float32Array.of(1) }, 1e-6).agrees).toBe(false);
    expect(closeArrays(expected, { a: Float32Array.of(Number.NaN), b: Float32Array.of(2) }, 1e-6).agrees).toBe(false);
  });
});
