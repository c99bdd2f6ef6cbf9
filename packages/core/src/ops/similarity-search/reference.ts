import { isSparse, type Matrix, type SparseMatrix } from "../../base/matrix.js";
import { NO_ITEM, type SimilarityLists, type SimilarityMetric, type SimilarityQuery } from "./types.js";

/** What the reference keeps of an index: its own copy of the items (unit rows under cosine) and their bias. */
export interface ReferenceItems {
  readonly items: Matrix;
  readonly bias: Float32Array | undefined;
  readonly metric: SimilarityMetric;
}

export function referenceItems(
  items: Matrix,
  bias: Float32Array | undefined,
  metric: SimilarityMetric,
): ReferenceItems {
  return { items: metric === "cosine" ? unitRows(items) : { ...items, data: items.data.slice() }, bias, metric };
}

/**
 * The definition of exact search in double precision, one full sort per query: the stand-in where the addon cannot be
 * loaded, and the other side of its tests. Takes input that `ExactIndex` has checked.
 *
 * score(q, i) = readout_j(<query_qj, item_i> + offset_qj) + bias_i + additive(q, i), rounded to float32 before lists are
 * ordered.
 */
export function searchReference(index: ReferenceItems, query: SimilarityQuery): SimilarityLists {
  const { items, bias } = index;
  const { k, offsets, exclude, filter, additive, interestsPerQuery: interestCount = 1, readout = "max" } = query;
  const queries = index.metric === "cosine" ? unitRows(query.queries) : query.queries;
  const rows = queries.rows / interestCount;
  const lists = {
    k,
    ids: new Uint32Array(rows * k).fill(NO_ITEM),
    scores: new Float32Array(rows * k).fill(Number.NEGATIVE_INFINITY),
    counts: new Uint32Array(rows),
    interests: new Uint16Array(rows * k),
  };
  let pairs = 0;
  const scores = new Float32Array(items.rows);
  const winners = new Uint16Array(items.rows);
  for (let q = 0; q < rows; q++) {
    const present: number[] = [];
    for (let j = 0; j < interestCount; j++) {
      if (offsets?.[q * interestCount + j] !== Number.NEGATIVE_INFINITY) present.push(j);
    }
    if (present.length === 0) continue;
    pairs += present.length * items.rows;
    const hidden = new Set<number>();
    if (exclude !== undefined) {
      for (let e = exclude.indptr[q]!; e < exclude.indptr[q + 1]!; e++) hidden.add(exclude.indices[e]!);
    }
    const added = additive === undefined ? undefined : rowOf(additive, q);
    const candidates: number[] = [];
    for (let i = 0; i < items.rows; i++) {
      if (hidden.has(i) || (filter !== undefined && !allows(filter, i))) continue;
      candidates.push(i);
      const terms = present.map((j) => {
        const row = q * interestCount + j;
        return dot(queries, row, items, i) + (offsets?.[row] ?? 0);
      });
      let top = 0;
      for (let t = 1; t < terms.length; t++) if (terms[t]! > terms[top]!) top = t;
      let score = terms[top]!;
      if (readout === "log-sum-exp") {
        let sum = 0;
        for (const term of terms) sum += Math.exp(term - terms[top]!);
        score += Math.log(sum);
      }
      scores[i] = score + (bias?.[i] ?? 0) + (added?.[i] ?? 0);
      winners[i] = present[top]!;
    }
    candidates.sort((a, b) => scores[b]! - scores[a]! || a - b);
    const count = Math.min(k, candidates.length);
    lists.counts[q] = count;
    for (let n = 0; n < count; n++) {
      const item = candidates[n]!;
      lists.ids[q * k + n] = item;
      lists.scores[q * k + n] = scores[item]!;
      lists.interests[q * k + n] = winners[item]!;
    }
  }
  return { ...lists, touched: { read: pairs, scored: pairs } };
}

function allows(filter: Uint32Array | Uint8Array, item: number): boolean {
  const bits = filter.BYTES_PER_ELEMENT * 8;
  return ((filter[Math.floor(item / bits)]! >>> (item % bits)) & 1) === 1;
}

/** [cols] a row as it is, or the numbers of a sparse one in their places. */
function rowOf(matrix: Matrix | SparseMatrix, row: number): Float32Array {
  if (!isSparse(matrix)) return matrix.data.subarray(row * matrix.cols, (row + 1) * matrix.cols);
  const numbers = new Float32Array(matrix.cols);
  for (let e = matrix.indptr[row]!; e < matrix.indptr[row + 1]!; e++) numbers[matrix.indices[e]!] = matrix.values[e]!;
  return numbers;
}

function dot(a: Matrix, rowA: number, b: Matrix, rowB: number): number {
  let sum = 0;
  for (let x = 0; x < a.cols; x++) sum += a.data[rowA * a.cols + x]! * b.data[rowB * b.cols + x]!;
  return sum;
}

function unitRows(matrix: Matrix): Matrix {
  const data = new Float32Array(matrix.data.length);
  for (let r = 0; r < matrix.rows; r++) {
    const norm = Math.sqrt(dot(matrix, r, matrix, r));
    if (norm === 0) continue;
    for (let x = r * matrix.cols; x < (r + 1) * matrix.cols; x++) data[x] = matrix.data[x]! / norm;
  }
  return { ...matrix, data };
}
