import type { Matrix, RunOptions } from "@prismrec/core/base";
import type { ReadingOrder } from "../cache/cached-model.js";
import type { ClustererContext } from "./definition.js";

/** How the texts of a catalog's items are read: signal, progress, and which come first. */
export function readingOf({
  signal,
  onProgress,
  order,
}: RunOptions & Pick<ClustererContext, "order">): RunOptions & ReadingOrder {
  return {
    ...(signal === undefined ? {} : { signal }),
    ...(onProgress === undefined ? {} : { onProgress }),
    ...(order === undefined ? {} : { order: order.map((item) => item - 1) }),
  };
}

/**
 * Rows of all items from those of the items that were read, in their order, and of the others by `fallback`.
 *
 * @param unread the others, rising
 */
export function withUnread(
  read: Matrix,
  unread: readonly number[],
  fallback: (item: number) => ArrayLike<number>,
): Matrix {
  if (unread.length === 0) return read;
  const { cols } = read;
  const rows = read.rows + unread.length;
  const data = new Float32Array(rows * cols);
  const missing = new Set(unread);
  for (let item = 0, next = 0; item < rows; item++) {
    data.set(missing.has(item) ? fallback(item) : rowOf(read, next++), item * cols);
  }
  return { data, rows, cols };
}

export function rowOf({ data, cols }: Matrix, row: number): Float32Array {
  return data.subarray(row * cols, (row + 1) * cols) as Float32Array;
}
