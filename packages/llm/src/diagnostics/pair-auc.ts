import { isSparse, type Matrix, type SparseMatrix } from "@prismrec/core/base";

/**
 * Probability that two items of one group are more alike than two of different groups: the area under the ROC curve of the
 * cosine over all pairs of rows, ties counting one half; .5 says nothing. Rows of unit length; O(rows² · cols).
 *
 * @param groups [rows] group of each row
 */
export function pairAuc(matrix: Matrix | SparseMatrix, groups: ArrayLike<number>): number {
  const { rows, cols } = matrix;
  const dense = new Float32Array(rows * cols);
  if (isSparse(matrix)) {
    for (let r = 0; r < rows; r++) {
      for (let e = matrix.indptr[r]!; e < matrix.indptr[r + 1]!; e++) {
        dense[r * cols + matrix.indices[e]!] = matrix.values[e]!;
      }
    }
  } else {
    dense.set(matrix.data);
  }
  const pairs: { cosine: number; same: boolean }[] = [];
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < i; j++) {
      let cosine = 0;
      for (let k = 0; k < cols; k++) cosine += dense[i * cols + k]! * dense[j * cols + k]!;
      pairs.push({ cosine, same: groups[i] === groups[j] });
    }
  }
  pairs.sort((a, b) => a.cosine - b.cosine);
  const same = pairs.filter((pair) => pair.same).length;
  const others = pairs.length - same;
  if (same === 0 || others === 0) return Number.NaN;
  // The mean rank of pairs of one group, tied cosines sharing theirs (Mann and Whitney, 1947).
  let ranks = 0;
  for (let start = 0; start < pairs.length; ) {
    let end = start;
    while (end < pairs.length && pairs[end]!.cosine === pairs[start]!.cosine) end++;
    const shared = (start + end + 1) / 2;
    for (let p = start; p < end; p++) if (pairs[p]!.same) ranks += shared;
    start = end;
  }
  return (ranks - (same * (same + 1)) / 2) / (same * others);
}
