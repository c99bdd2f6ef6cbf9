import type { Matrix } from "../../base/matrix.js";
import type { DevicePreference } from "../../base/run-options.js";

export interface ContrastiveLossSettings {
  /** cosine: rows are scaled to unit length first; a row of length 0 has cosine 0 with everything and no gradient. */
  readonly similarity: "cosine" | "dot";
  /** > 0; similarities are divided by it. Deliberately without a default. */
  readonly temperature: number;
  /**
   * Default "mean", over the rows that count. "none": `loss` and the gradients are those of the sum, and `rowLosses` is
   * what is wanted.
   */
  readonly reduction?: "mean" | "sum" | "none";
  /** A kernel variant by name ("reference", "scalar", "avx2", "avx512", "neon", "cuda", or "typescript"); absent: the best there is. */
  readonly variant?: string;
  /** Where to run; default "cpu". "cuda" is an error where no GPU can be used, "auto" falls back (see `chooseDevice`). */
  readonly device?: DevicePreference;
}

/** InfoNCE (van den Oord et al. 2018) with in-batch negatives: row i of `positives` is the positive of row i of `queries`. */
export interface InfoNceInput extends ContrastiveLossSettings {
  readonly kind: "info-nce";
  /** [n, d] */
  readonly queries: Matrix;
  /** [n, d] */
  readonly positives: Matrix;
  /** [m, d] further negatives, shared by all queries. */
  readonly negatives?: Matrix;
  /** [n + m] log of the probability of each candidate (positives, then negatives), taken off its logit (Yi et al. 2019). */
  readonly logQ?: Float32Array;
  /** [n] what each positive is: another candidate with the id of row i's positive is not a negative of row i. */
  readonly positiveIds?: Uint32Array;
  /** [m] the same for `negatives`; needs `positiveIds`. */
  readonly negativeIds?: Uint32Array;
  /**
   * Default "query-to-positive". "symmetric": half of it plus half of the loss of finding each query among the queries
   * from its positive; `negatives` and `logQ` belong to the first half alone.
   */
  readonly direction?: "query-to-positive" | "symmetric";
}

/**
 * Supervised contrast inside groups (Khosla et al. 2020, the form with the sum outside the logarithm): a row's positives
 * are the other rows of its group with its label.
 */
export interface SupervisedContrastiveInput extends ContrastiveLossSettings {
  readonly kind: "supervised";
  /** [n, d] */
  readonly rows: Matrix;
  /** [n] any numbers, in any order. */
  readonly groups: Int32Array;
  /** [n] label inside the group; -1: none, the row is a candidate but never a positive. */
  readonly labels: Int32Array;
  /** Candidates of a row: the rest of its group, or all other rows. */
  readonly scope: "group" | "batch";
  /** [n] for scope "batch": rows of the same item that are no positives of each other are no candidates either. */
  readonly itemIds?: Uint32Array;
}

export type ContrastiveLossInput = InfoNceInput | SupervisedContrastiveInput;

/** Whether gradients are wanted beside the value; default true. */
export interface ContrastiveLossChoice {
  readonly gradients?: boolean;
}

export interface ContrastiveLossValue {
  /** Nats; 0 where no row counts. */
  readonly loss: number;
  /** [n] loss of each row, 0 for a row without positives. */
  readonly rowLosses: Float32Array;
  /** Rows that have a positive; the other n - countedRows are skipped. */
  readonly countedRows: number;
}

export interface InfoNceGradients {
  /** [n, d] */
  readonly queries: Float32Array;
  /** [n, d] */
  readonly positives: Float32Array;
  /** [m, d] where there are negatives. */
  readonly negatives?: Float32Array;
}

export interface SupervisedContrastiveGradients {
  /** [n, d] */
  readonly rows: Float32Array;
}

export interface InfoNceLoss extends ContrastiveLossValue {
  readonly gradients: InfoNceGradients;
}

export interface SupervisedContrastiveLoss extends ContrastiveLossValue {
  readonly gradients: SupervisedContrastiveGradients;
}

/** What a call with `gradients: false`, or not known to be without, gives. */
export interface ContrastiveLoss extends ContrastiveLossValue {
  readonly gradients?: InfoNceGradients | SupervisedContrastiveGradients;
}
