import { yieldToEventLoop } from "../../base/abort.js";
import type { Matrix } from "../../base/matrix.js";
import type { RunOptions } from "../../base/run-options.js";
import type { MatrixProductOptions } from "./types.js";

/** Multiplications between two looks at the event loop. */
const AT_ONCE = 2 ** 24;

/** `matrixProduct` row by row, summed in doubles. */
export async function matrixProductReference(
  a: Matrix,
  b: Matrix,
  { transposeB = false, into }: MatrixProductOptions,
  { signal }: RunOptions,
): Promise<Matrix> {
  const { rows, cols: depth } = a;
  const cols = transposeB ? b.rows : b.cols;
  const data = into ?? new Float32Array(rows * cols);
  const rowsAtOnce = Math.max(1, Math.floor(AT_ONCE / Math.max(1, depth * cols)));
  for (let i = 0; i < rows; i += rowsAtOnce) {
    await yieldToEventLoop(signal);
    matrixProductRows(a, b, transposeB, data, i, Math.min(rows, i + rowsAtOnce));
  }
  return { data, rows, cols };
}

/** Rows `from` to `to` of the product, written into `data`, which is as large as all of it. */
export function matrixProductRows(
  a: Matrix,
  b: Matrix,
  transposeB: boolean,
  data: Float32Array,
  from: number,
  to: number,
): void {
  const depth = a.cols;
  const cols = transposeB ? b.rows : b.cols;
  const row = new Float64Array(cols);
  for (let i = from; i < to; i++) {
    row.fill(0);
    for (let k = 0; k < depth; k++) {
      const left = a.data[i * depth + k]!;
      if (transposeB) for (let j = 0; j < cols; j++) row[j]! += left * b.data[j * depth + k]!;
      else for (let j = 0; j < cols; j++) row[j]! += left * b.data[k * cols + j]!;
    }
    data.set(row, i * cols);
  }
}
