import type { CsrMatrix } from "../../base/matrix.js";

/** Transpose of a binary or weighted sparse matrix; the indices of each row ascend. */
export function transpose(matrix: CsrMatrix): CsrMatrix {
  const indptr = new Uint32Array(matrix.cols + 1);
  for (const column of matrix.indices) indptr[column + 1]!++;
  for (let c = 0; c < matrix.cols; c++) indptr[c + 1]! += indptr[c]!;
  const indices = new Uint32Array(matrix.indices.length);
  const values = matrix.values === undefined ? undefined : new Float32Array(matrix.values.length);
  const next = indptr.slice();
  for (let row = 0; row < matrix.rows; row++) {
    for (let at = matrix.indptr[row]!; at < matrix.indptr[row + 1]!; at++) {
      const to = next[matrix.indices[at]!]!++;
      indices[to] = row;
      if (values !== undefined) values[to] = matrix.values![at]!;
    }
  }
  return { indptr, indices, ...(values === undefined ? {} : { values }), rows: matrix.cols, cols: matrix.rows };
}

/**
 * Row `item` of X'X for a binary [users, items] matrix X: how many users hold both items, each user counting
 * `weightOf(user)`. Adds into `counts` ([items], zero where untouched) and returns the columns that it touched, in no
 * particular order.
 */
export function cooccurrenceRow(
  users: CsrMatrix,
  usersOfItem: CsrMatrix,
  item: number,
  counts: Float64Array,
  touched: Uint32Array,
  weightOf: (user: number) => number = () => 1,
): Uint32Array {
  let size = 0;
  for (let at = usersOfItem.indptr[item]!; at < usersOfItem.indptr[item + 1]!; at++) {
    const user = usersOfItem.indices[at]!;
    const weight = weightOf(user);
    for (let place = users.indptr[user]!; place < users.indptr[user + 1]!; place++) {
      const other = users.indices[place]!;
      if (counts[other]! === 0) touched[size++] = other;
      counts[other]! += weight;
    }
  }
  return touched.subarray(0, size);
}
