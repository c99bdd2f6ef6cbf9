/** First and second moments of Adam, zero at the start; as long as what they belong to. */
export interface AdamState {
  readonly m: Float32Array;
  readonly v: Float32Array;
}

/** Moments of a table [rows, cols], and how often each row was updated. */
export interface RowAdamState extends AdamState {
  /** [rows] updates seen by each row; read by `correction: "row"`, counted always. */
  readonly steps: Uint32Array;
}

export interface AdamOptions {
  readonly learningRate: number;
  /** Number of this update, from 1. */
  readonly step: number;
  /** Default 0.9. */
  readonly beta1?: number;
  /** Default 0.999. */
  readonly beta2?: number;
  /** Default 1e-8. */
  readonly epsilon?: number;
  /** Decoupled (AdamW, Loshchilov and Hutter 2019); default 0. */
  readonly weightDecay?: number;
  /** Factor on the gradients before anything else, for clipping by global norm; default 1. */
  readonly gradientScale?: number;
}

export interface LazyAdamOptions extends AdamOptions {
  /**
   * Whose step count corrects the moments' start at zero: `global` (default) the optimizer's `step`, as dense Adam;
   * `row` the row's own count, which gives a row seen rarely a first step as long as everybody else's.
   */
  readonly correction?: "global" | "row";
}

export interface UniqueRows {
  /** Distinct ids, ascending. */
  readonly unique: Uint32Array;
  /** [ids.length] `unique[inverse[i]] === ids[i]`, -1 for NO_ROW; Int32Array so that tfjs gathers with it as it is. */
  readonly inverse: Int32Array;
}

/** Sparse contributions to a gradient over a table's rows. */
export interface RowContribution {
  /** Rows of the table, repeating freely; NO_ROW: none. */
  readonly ids: Uint32Array;
  /** [ids.length * cols] */
  readonly data: Float32Array;
}

/** Rows of a table, ascending, with [rows.length * cols] values. */
export interface MergedRows {
  readonly rows: Uint32Array;
  readonly data: Float32Array;
}
