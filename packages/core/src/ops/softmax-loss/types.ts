import type { CsrMatrix, Matrix } from "../../base/matrix.js";
import type { DevicePreference } from "../../base/run-options.js";

/**
 * Replaces the catalog by candidates, as Bengio and Senecal (2008) and TensorFlow's sampled softmax do: shared by all
 * rows, or each row's own.
 */
export interface SampledCandidates {
  /** [S], or [R * S] with `perRow`: row numbers of `items`, S >= 1; repeats count as often as they occur. */
  readonly ids: Uint32Array;
  /** Whether row r has candidates of its own, `ids` [r * S, (r + 1) * S); default false. */
  readonly perRow?: boolean;
  /** As long as `ids`: log of each candidate's expected count, taken off its logit; absent: 0. */
  readonly logQ?: Float32Array;
  /** [targets.indices.length] the same for each target; absent: 0, so that targets enter uncorrected. */
  readonly targetLogQ?: Float32Array;
}

/**
 * R rows, each a mixture of J interests, against N items. Rows of `items` are counted from 0 (dense id minus one where a
 * table has no padding row).
 */
export interface SoftmaxLossInput {
  /** [R * J, d]; interest j of row r is row r * J + j. */
  readonly interests: Matrix;
  /** J >= 1. */
  readonly interestsPerRow: number;
  /** [R * J] log prior of each interest; -Infinity: absent, neither read nor given a gradient. Absent array: all 0. */
  readonly offsets?: Float32Array;
  /** [N, d] */
  readonly items: Matrix;
  /** [N]; absent: 0. */
  readonly itemBias?: Float32Array;
  /** R x N; a row's loss is the mean over its entries (an item named twice counts twice). `values` is not read. */
  readonly targets: CsrMatrix;
  /** R x N items taken out of a row's softmax, such as the visible prefix. A row's own targets always stay in. */
  readonly mask?: CsrMatrix;
  /** score(r, i) = log-sum-exp (or max, the first interest winning ties) over j of <h_rj, e_i> + b_i + o_rj. */
  readonly readout: "log-sum-exp" | "max";
  /** Absent: the full catalog. */
  readonly sampled?: SampledCandidates;
  /** A kernel variant by name ("reference", "scalar", "avx2", "avx512", "neon", "cuda", or "typescript"); absent: the best there is. */
  readonly variant?: string;
  /** Where to run; default "cpu". "cuda" is an error where no GPU can be used, "auto" falls back (see `chooseDevice`). */
  readonly device?: DevicePreference;
}

/** Whether gradients are wanted beside the value; default true. */
export interface SoftmaxLossChoice {
  readonly gradients?: boolean;
}

/** Gives the array, of that length, which a gradient is written to. */
export type GradientAllocator = (of: "interests" | "items", length: number) => Float32Array;

export interface SoftmaxLossValue {
  /** Mean over the rows that have targets, nats; 0 where no row has any. */
  readonly loss: number;
  /** [R] loss of each row; 0 for a row without targets. */
  readonly rowLosses: Float32Array;
  /** How many rows have targets: the divisor of `loss`. */
  readonly countedRows: number;
}

/** Gradients of `loss`. */
export interface SoftmaxLossGradients {
  /** [R * J, d]; 0 for absent interests. */
  readonly interests: Float32Array;
  /** [R * J]; 0 for absent interests. */
  readonly offsets: Float32Array;
  /** [N, d], or [itemIds.length, d] when sampled. */
  readonly items: Float32Array;
  /** [N], or [itemIds.length] when sampled. */
  readonly itemBias: Float32Array;
  /** Sampled only: the rows of `items` that have a gradient, candidates and targets together, strictly ascending. */
  readonly itemIds?: Uint32Array;
}

export interface SoftmaxLoss extends SoftmaxLossValue {
  readonly gradients: SoftmaxLossGradients;
}
