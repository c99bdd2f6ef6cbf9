export interface MatrixProductOptions {
  /** Whether `b` is given as [N, K] instead of [K, N]. */
  readonly transposeB?: boolean;
  /** [M, N], written over and returned in place of a new array; neither `a` nor `b`. */
  readonly into?: Float32Array | undefined;
}
