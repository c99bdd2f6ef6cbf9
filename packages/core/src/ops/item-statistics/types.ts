import type { Matrix } from "../../base/matrix.js";

export interface CooccurrenceOptions {
  /** What each pair of a row counts: 1, or one over the row's length so that long rows do not outweigh the rest. */
  readonly pairWeight?: "one" | "inverse-length";
}

export interface ItemNeighboursOptions {
  /** How many neighbours each column keeps, >= 1. */
  readonly neighbours: number;
  /** [cols], positive for every column with an entry: by its root a similarity is divided. */
  readonly squaredNorms: Float32Array;
}

export interface PpmiOptions {
  /** Exponent on the context counts (Levy, Goldberg and Dagan 2015); default .75. */
  readonly contextSmoothing?: number;
}

export interface GramOptions {
  /** Added to the diagonal; default 0. */
  readonly ridge?: number;
}

export interface SvdOptions {
  readonly seed: number;
  /** Blocks of 16 columns of the Krylov space (default 2 rank / 16 + 8): more for values that lie close together. */
  readonly blocks?: number;
}

/** Leading singular triplets, largest first; each left vector's largest entry is positive. */
export interface TruncatedSvd {
  /** [rows, rank] */
  readonly u: Matrix;
  /** [rank] */
  readonly singularValues: Float32Array;
}
