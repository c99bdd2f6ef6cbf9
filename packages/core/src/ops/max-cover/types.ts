import type { CsrMatrix } from "../../base/matrix.js";
import type { DevicePreference } from "../../base/run-options.js";

/** S sets over E elements. */
export interface MaxCoverProblem {
  /** S x E; an element stands at most once in a set. `values` is not read. */
  readonly sets: CsrMatrix;
  /** [E] >= 0, rounded to multiples of 2^-16 so that sums are exact; absent: all 1. */
  readonly weights?: Float32Array;
  /** [S] > 0, any unit (tokens, seconds); absent: all 1. */
  readonly costs?: Float32Array;
}

/**
 * - "exact": the greedy algorithm, (1 - 1/e) of the optimum under `maxSets`. Gains are recomputed only when a set
 *   reaches the top (Minoux, 1978), and kept up to date through an inverted index once that has cost more than the
 *   index does: O(nnz) in all.
 * - "lazy": the same picks, always without the index: less memory.
 * - "stochastic": each pick is the best of a random sample of sets ("Lazier than lazy greedy", Mirzasoleiman et al.,
 *   2015): (1 - 1/e - sampleLoss) in expectation, for tens of millions of sets.
 */
export type MaxCoverSolver = "exact" | "lazy" | "stochastic";

export interface MaxCoverOptions {
  /** Most sets to select; absent: no limit. */
  readonly maxSets?: number;
  /** Most the selected sets may cost together; absent: no limit. The better of the gain and the ratio greedy is taken. */
  readonly maxCost?: number;
  /** r: how often an element counts, 1..65535 (default 1). */
  readonly repeats?: number;
  /** A set whose gain is below this is not selected (default 0: any positive gain will do). */
  readonly minGain?: number;
  /** Default "exact". */
  readonly solver?: MaxCoverSolver;
  /** "stochastic" only: 0 < sampleLoss < 1 (default .1). */
  readonly sampleLoss?: number;
  /** "stochastic" only: 32-bit seed (default 0). */
  readonly seed?: number;
  /** "reference" (naive greedy), "scalar", "avx2", "avx512" or "neon" of the addon, or "typescript"; absent: the best there is. */
  readonly variant?: string;
  /** Where to run; default "cpu". "cuda" is an error where no GPU can be used, "auto" falls back (see `chooseDevice`). */
  readonly device?: DevicePreference;
}

export interface MaxCoverSolution {
  /** Set numbers in the order of selection; ties go to the lowest number. */
  readonly selected: Uint32Array;
  /** What each selection added, exact multiples of 2^-16; never increasing for "exact" and "lazy" without costs. */
  readonly gains: Float64Array;
  /** sum_i w_i min(r, times i is covered): the sum of `gains`. */
  readonly value: number;
  /** The value of selecting every set. */
  readonly attainable: number;
  /** value / attainable, 0..1 (1 where nothing can be gained). */
  readonly coverage: number;
  /**
   * No selection within the budget is worth more: the smallest, over prefixes of the selection (all of them for a small
   * problem, else the empty one and the whole), of the prefix's value plus the largest gains that the budget could
   * still buy (fractionally under `maxCost`).
   */
  readonly upperBound: number;
  /** Cost of the selection (its size where there are no costs). */
  readonly cost: number;
  /** Which greedy the selection comes from: largest gain, or largest gain per cost. */
  readonly rule: "gain" | "ratio";
}
