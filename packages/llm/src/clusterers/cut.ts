import { createRandom, isSparse, type Matrix, type SparseMatrix } from "@prismrec/core/base";

/** Two items of one cluster are more alike than this share of the catalog's pairs. */
export const DEFAULT_CUT = 0.75;

const PAIRS = 20_000;

/**
 * The cosine that a share `quantile` of random pairs of different rows stays below: two items belong together when
 * they are more alike than that share of the catalog's pairs. At least `least`: where most pairs have nothing in common,
 * their cosine is no measure of belonging together. Rows must have unit length. Deterministic.
 */
export function pairQuantile(matrix: Matrix | SparseMatrix, quantile: number, least: number): number {
  const { rows } = matrix;
  if (rows < 2) return 1;
  const random = createRandom(1, "pair-quantile");
  const cosines = new Float64Array(PAIRS);
  for (let p = 0; p < PAIRS; p++) {
    const i = random.integer(0, rows);
    const j = (i + random.integer(1, rows)) % rows;
    cosines[p] = isSparse(matrix) ? sparseDot(matrix, i, j) : wholeDot(matrix, i, j);
  }
  cosines.sort();
  return Math.max(least, cosines[Math.min(PAIRS - 1, Math.floor(quantile * PAIRS))]!);
}

function wholeDot({ data, cols }: Matrix, i: number, j: number): number {
  let dot = 0;
  for (let k = 0; k < cols; k++) dot += data[i * cols + k]! * data[j * cols + k]!;
  return dot;
}

/** Rows have their columns in ascending order. */
function sparseDot({ indptr, indices, values }: SparseMatrix, i: number, j: number): number {
  let dot = 0;
  let b = indptr[j]!;
  for (let a = indptr[i]!; a < indptr[i + 1]!; a++) {
    while (b < indptr[j + 1]! && indices[b]! < indices[a]!) b++;
    if (b < indptr[j + 1]! && indices[b] === indices[a]) dot += values[a]! * values[b]!;
  }
  return dot;
}
