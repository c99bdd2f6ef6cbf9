/** Ranked lists, one row per history: score descending, then dense id ascending (popularity, then external id). */
export interface Ranking {
  readonly k: number;
  /** [rows * k] dense item ids; unused tail entries are 0. */
  readonly ids: Uint32Array;
  /** [rows * k] */
  readonly scores: Float32Array;
  /** [rows] how many entries of each row are valid. */
  readonly counts: Uint32Array;
  /** [rows * k] which interest stands behind each hit (largest term of the readout); absent for single-vector models. */
  readonly interests?: Uint16Array;
  /**
   * [rows * k] which part of what a hit's score lies above a user's average score a prior gave, 0 to 1; absent without a
   * prior.
   */
  readonly priorShares?: Float32Array;
}
