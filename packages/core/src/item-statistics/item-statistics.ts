import { PrismrecError } from "../errors/errors.js";
import type { CsrMatrix } from "../matrix/matrix.js";
import { cooccurrenceReference, ppmiReference, truncatedSvdReference } from "./reference.js";
import type { CooccurrenceOptions, PpmiOptions, SvdOptions, TruncatedSvd } from "./types.js";

/** How often two columns stand in one row: [cols, cols], symmetric, the diagonal included. */
export function cooccurrence(rows: CsrMatrix, options: CooccurrenceOptions = {}): CsrMatrix {
  return cooccurrenceReference(rows, options);
}

/** Positive pointwise mutual information of co-occurrence counts; the diagonal is not read and stays empty. */
export function ppmi(counts: CsrMatrix, options: PpmiOptions = {}): CsrMatrix {
  return ppmiReference(counts, options);
}

/**
 * The `rank` leading left singular vectors and singular values of a sparse matrix.
 *
 * @throws PrismrecError INVALID_ARGUMENT for a rank that is not within the matrix
 */
export function truncatedSvd(matrix: CsrMatrix, rank: number, options: SvdOptions): TruncatedSvd {
  if (!Number.isInteger(rank) || rank < 1 || rank > Math.min(matrix.rows, matrix.cols)) {
    throw new PrismrecError("INVALID_ARGUMENT", "the rank of a truncated SVD must lie within the matrix", {
      expected: `1 to ${Math.min(matrix.rows, matrix.cols)}`,
      received: String(rank),
    });
  }
  return truncatedSvdReference(matrix, rank, options);
}
