import type { CsrMatrix, Matrix, SparseMatrix } from "../../base/matrix.js";
import type { DevicePreference } from "../../base/run-options.js";

export type SimilarityMetric = "dot" | "cosine";

/** How the interests of one query become one score: the best of them, or their log-sum-exp (a mixture's log density). */
export type SearchReadout = "max" | "log-sum-exp";

export interface ExactIndexOptions {
  /**
   * "cosine" scales items and queries to unit length (a zero vector stays zero and scores 0 before bias and offset).
   * Default "dot".
   */
  readonly metric?: SimilarityMetric;
  /** [N] added to every score of an item; absent: 0. */
  readonly bias?: Float32Array;
  /** "typescript" leaves the addon aside; absent: the addon where it is there. */
  readonly variant?: "typescript";
}

export interface SimilarityQuery {
  /** [Q * J, d]; interest j of query q is row q * J + j. */
  readonly queries: Matrix;
  /** Length of each list, 1..N. */
  readonly k: number;
  /** J, 1..65535; default 1. */
  readonly interestsPerQuery?: number;
  /** [Q * J] added to an interest's inner products; -Infinity: the interest is absent and not read. Absent: all 0. */
  readonly offsets?: Float32Array;
  /** Default "max". */
  readonly readout?: SearchReadout;
  /** Q x N rows of the index that a query must not return; unsorted and repeated entries are fine. */
  readonly exclude?: CsrMatrix;
  /**
   * Which items may be returned at all, for every query: item i is bit i % 32 of word i / 32, or bit i % 8 of byte
   * i / 8. Length ceil(N / 32) or ceil(N / 8). Absent: all of them.
   */
  readonly filter?: Uint32Array | Uint8Array;
  /**
   * Q x N added to a query's scores after readout and bias, as a linear prior's; finite. Sparse: what has no entry is 0, in any
   * order, no column twice in a row. A query without a present interest still has an empty list. Not on a GPU.
   */
  readonly additive?: Matrix | SparseMatrix;
  /** A kernel of the addon by name ("reference", "scalar", "avx2", "avx512", "neon", "cuda"); absent: the best there is. */
  readonly variant?: string;
  /**
   * Where to run; default "cpu". "cuda" is an error where no GPU can be used, and with `additive`; "auto" falls back (see
   * `chooseDevice`).
   */
  readonly device?: DevicePreference;
}

/** How much a search had to touch. A pair is a present interest of a query and an item; in all N times the interests. */
export interface SearchTouched {
  /** Pairs of which at least an 8-bit copy was read; the others were ruled out by the item's length or the filter. */
  readonly read: number;
  /** Pairs whose inner product was computed from the vectors themselves. */
  readonly scored: number;
}

/** One list per query: score descending, ties by ascending id. */
export interface SimilarityLists {
  readonly k: number;
  /** [Q * k] rows of the index; the unused tail of a short list holds `NO_ITEM`. */
  readonly ids: Uint32Array;
  /** [Q * k]; -Infinity in an unused tail. */
  readonly scores: Float32Array;
  /** [Q] valid entries of each list: below k where exclusion leaves fewer, 0 for a query with no present interest. */
  readonly counts: Uint32Array;
  /** [Q * k] the interest with the largest term behind each hit (the first of equal ones). */
  readonly interests: Uint16Array;
  readonly touched: SearchTouched;
}

/** Fills the unused tail of `SimilarityLists.ids`. */
export const NO_ITEM = 0xffffffff;
