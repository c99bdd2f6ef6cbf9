import { checkLength, checkMatrix } from "../../base/check-matrix.js";
import { PrismrecError } from "../../base/errors.js";
import type { Matrix } from "../../base/matrix.js";
import type { RunOptions } from "../../base/run-options.js";
import { callNative, native, runNative } from "../native.js";
import { matrixProductReference, matrixProductRows } from "./reference.js";
import type { MatrixProductOptions } from "./types.js";

/** Of the result: what the addon takes beside the matrices grows with the rows of one call. */
const ROWS_AT_ONCE = 1024;

/**
 * The product of two dense matrices, [M, K] and [K, N], off the calling thread: [M, N]. The same bits at any number of
 * threads.
 *
 * @throws PrismrecError SHAPE_MISMATCH where the inner dimensions differ or `into` does not fit, OUT_OF_MEMORY. An aborted signal rejects with
 *   its reason.
 */
export async function matrixProduct(
  a: Matrix,
  b: Matrix,
  options: MatrixProductOptions = {},
  run: RunOptions = {},
): Promise<Matrix> {
  const { m, n, k, transposeB, c } = checkedProduct(a, b, options);
  const binding = native();
  // The addon takes no empty extents.
  if (binding === undefined || m * n * k === 0) return await matrixProductReference(a, b, { ...options, into: c }, run);
  for (let row = 0; row < m; row += ROWS_AT_ONCE) {
    const rows = Math.min(ROWS_AT_ONCE, m - row);
    await runNative(run.signal, (cancel) =>
      binding.sgemm({
        m: rows,
        n,
        k,
        transposeB,
        a: a.data.subarray(row * k, (row + rows) * k),
        b: b.data,
        c: c.subarray(row * n, (row + rows) * n),
        ...(cancel === undefined ? {} : { cancel }),
      }),
    );
  }
  return { data: c, rows: m, cols: n };
}

/**
 * The same on the calling thread's own time, for products of a training step.
 *
 * @throws PrismrecError SHAPE_MISMATCH where the inner dimensions differ or `into` does not fit, OUT_OF_MEMORY
 */
export function matrixProductSync(a: Matrix, b: Matrix, options: MatrixProductOptions = {}): Matrix {
  const { m, n, k, transposeB, c } = checkedProduct(a, b, options);
  const binding = native();
  if (binding === undefined || m * n * k === 0) matrixProductRows(a, b, transposeB, c, 0, m);
  else callNative(() => binding.sgemmSync({ m, n, k, transposeB, a: a.data, b: b.data, c }));
  return { data: c, rows: m, cols: n };
}

/** The extents of a product, and where it goes. */
function checkedProduct(a: Matrix, b: Matrix, options: MatrixProductOptions) {
  checkMatrix("a", a);
  checkMatrix("b", b);
  const { transposeB = false } = options;
  const { rows: m, cols: k } = a;
  const [depth, n] = transposeB ? [b.cols, b.rows] : [b.rows, b.cols];
  if (k !== depth) {
    throw new PrismrecError("SHAPE_MISMATCH", "the inner dimensions of a product must agree", {
      expected: `[${m}, ${k}] and [${k}, N]`,
      received: `[${m}, ${k}] and [${depth}, ${n}]`,
    });
  }
  const { into: c = new Float32Array(m * n) } = options;
  checkLength("into", c.length, m * n);
  return { m, n, k, transposeB, c };
}
