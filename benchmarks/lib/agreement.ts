import type { Arrays, DataArray, Verdict } from "./bench.js";

/** |actual - expected| / |expected| in the Euclidean norm; 0 where both are zero, infinite where either is not finite. */
export function relativeError(expected: DataArray, actual: DataArray): number {
  if (expected.length !== actual.length) return Number.POSITIVE_INFINITY;
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += (actual[i]! - expected[i]!) ** 2;
    norm += expected[i]! ** 2;
  }
  if (difference === 0) return 0;
  const error = Math.sqrt(difference / norm);
  return Number.isFinite(error) ? error : Number.POSITIVE_INFINITY;
}

/** Every array of `expected` within a relative error of its counterpart. */
export function closeArrays(expected: Arrays, actual: Arrays, tolerance: number): Verdict {
  let worst = 0;
  for (const [name, values] of Object.entries(expected)) {
    const other = actual[name];
    worst = Math.max(worst, other === undefined ? Number.POSITIVE_INFINITY : relativeError(values, other));
  }
  return { agrees: worst <= tolerance, detail: `relative error ${worst.toExponential(0)}` };
}
