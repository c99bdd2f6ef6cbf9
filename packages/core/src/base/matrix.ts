/** Row-major view over caller-owned memory: `data.length === rows * cols`. */
export interface Matrix {
  readonly data: Float32Array;
  readonly rows: number;
  readonly cols: number;
}

/** Compressed sparse rows: row r holds `indices[indptr[r] .. indptr[r + 1])`; without `values` every entry is 1. */
export interface CsrMatrix {
  readonly indptr: Uint32Array;
  readonly indices: Uint32Array;
  readonly values?: Float32Array;
  readonly rows: number;
  readonly cols: number;
}

/** Compressed sparse rows with a value for each entry; what has no entry is 0. */
export interface SparseMatrix extends CsrMatrix {
  readonly values: Float32Array;
}

export function isSparse(matrix: Matrix | SparseMatrix): matrix is SparseMatrix {
  return "indptr" in matrix;
}
