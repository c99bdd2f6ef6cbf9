import { PrismrecError } from "../base/errors.js";

/**
 * `a - b` of two models' values for the same users.
 *
 * @throws PrismrecError SHAPE_MISMATCH for different numbers of users
 */
export function pairedDifferences(a: ArrayLike<number>, b: ArrayLike<number>): Float64Array {
  if (a.length === b.length) return Float64Array.from(a, (value, i) => value - b[i]!);
  throw new PrismrecError("SHAPE_MISMATCH", "a paired comparison needs the same users on both sides", {
    expected: `${a.length} values`,
    received: String(b.length),
  });
}
