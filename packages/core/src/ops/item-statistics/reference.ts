import { yieldToEventLoop } from "../../base/abort.js";
import type { CsrMatrix } from "../../base/matrix.js";
import { cooccurrenceRow, transpose } from "./counts.js";
import type { CooccurrenceOptions, ItemNeighboursOptions, PpmiOptions, TruncatedSvd } from "./types.js";

/** X' W X with W the weight of each row; rows ascending, the diagonal included. */
export function cooccurrenceReference(rows: CsrMatrix, options: CooccurrenceOptions = {}): CsrMatrix {
  const columns = Array.from({ length: rows.cols }, () => new Map<number, number>());
  for (let r = 0; r < rows.rows; r++) {
    const from = rows.indptr[r]!;
    const to = rows.indptr[r + 1]!;
    const weight = options.pairWeight === "inverse-length" ? 1 / Math.max(1, to - from) : 1;
    for (let a = from; a < to; a++) {
      const counts = columns[rows.indices[a]!]!;
      for (let b = from; b < to; b++) {
        const other = rows.indices[b]!;
        counts.set(other, (counts.get(other) ?? 0) + weight);
      }
    }
  }
  return fromMaps(columns, rows.cols);
}

/** The largest c(i, j) / sqrt(n(i) n(j)) of each row, best first, equal ones by index. */
export async function itemNeighboursReference(
  rows: CsrMatrix,
  { neighbours, squaredNorms }: ItemNeighboursOptions,
  signal?: AbortSignal,
): Promise<CsrMatrix> {
  const columns = transpose(rows);
  const counts = new Float64Array(rows.cols);
  const touched = new Uint32Array(rows.cols);
  const indptr = new Uint32Array(rows.cols + 1);
  const indices: number[] = [];
  const values: number[] = [];
  for (let item = 0; item < rows.cols; item++) {
    if (item % 256 === 0) await yieldToEventLoop(signal);
    const row = cooccurrenceRow(rows, columns, item, counts, touched);
    const scored = Array.from(row, (other) => ({
      other,
      similarity: counts[other]! / Math.sqrt(squaredNorms[item]! * squaredNorms[other]!),
    })).filter(({ other }) => other !== item);
    scored.sort((a, b) => b.similarity - a.similarity || a.other - b.other);
    for (const { other, similarity } of scored.slice(0, neighbours)) {
      indices.push(other);
      values.push(similarity);
    }
    indptr[item + 1] = indices.length;
    for (const other of row) counts[other] = 0;
  }
  return {
    indptr,
    indices: Uint32Array.from(indices),
    values: Float32Array.from(values),
    rows: rows.cols,
    cols: rows.cols,
  };
}

/**
 * max(0, log(p(i, j) / (p(i) p_alpha(j)))) of the off-diagonal counts, p_alpha proportional to the counts to the power
 * `contextSmoothing`.
 */
export function ppmiReference(counts: CsrMatrix, options: PpmiOptions = {}): CsrMatrix {
  const smoothing = options.contextSmoothing ?? 0.75;
  const marginal = new Float64Array(counts.rows).fill(1e-9);
  forEachPair(counts, (i, _j, value) => {
    marginal[i]! += value;
  });
  let smoothed = 0;
  for (const value of marginal) smoothed += value ** smoothing;
  const rows = Array.from({ length: counts.rows }, () => new Map<number, number>());
  forEachPair(counts, (i, j, value) => {
    const information = Math.log((value * smoothed) / (marginal[i]! * marginal[j]! ** smoothing));
    if (information > 0) rows[i]!.set(j, information);
  });
  return fromMaps(rows, counts.cols);
}

/**
 * Randomised block Krylov iteration (Musco and Musco 2015) in double precision.
 *
 * @param start [cols, blockWidth], random
 */
export function truncatedSvdReference(
  matrix: CsrMatrix,
  rank: number,
  start: Float32Array,
  blockWidth: number,
  blocks: number,
): TruncatedSvd {
  const { rows, cols } = matrix;
  const width = blockWidth * blocks;
  const left = new Float64Array(rows * width);
  let block = multiply(matrix, Float64Array.from(start), blockWidth);
  for (let from = 0; from < width; from += blockWidth) {
    for (let i = 0; i < rows; i++) {
      left.set(block.subarray(i * blockWidth, (i + 1) * blockWidth), i * width + from);
    }
    orthonormalise(left, rows, width, from, from + blockWidth);
    for (let i = 0; i < rows; i++) {
      block.set(left.subarray(i * width + from, i * width + from + blockWidth), i * blockWidth);
    }
    if (from + blockWidth < width) {
      block = multiply(matrix, multiplyTransposed(matrix, block, blockWidth), blockWidth);
    }
  }
  const right = multiplyTransposed(matrix, left, width);
  // right' right = V diag(s^2) V'; the left singular vectors are left V.
  const gram = new Float64Array(width * width);
  for (let i = 0; i < cols; i++) {
    for (let a = 0; a < width; a++) {
      const value = right[i * width + a]!;
      for (let b = 0; b < width; b++) gram[a * width + b]! += value * right[i * width + b]!;
    }
  }
  const { values, vectors } = symmetricEigen(gram, width);
  const order = Array.from(values.keys()).sort((a, b) => values[b]! - values[a]!);
  const kept = Math.min(rank, width);
  const u = new Float32Array(rows * kept);
  const singularValues = new Float32Array(kept);
  for (let c = 0; c < kept; c++) {
    const source = order[c]!;
    singularValues[c] = Math.sqrt(Math.max(0, values[source]!));
    let largest = 0;
    const column = new Float64Array(rows);
    for (let i = 0; i < rows; i++) {
      let sum = 0;
      for (let a = 0; a < width; a++) sum += left[i * width + a]! * vectors[a * width + source]!;
      column[i] = sum;
      if (Math.abs(sum) > Math.abs(largest)) largest = sum;
    }
    const sign = largest < 0 ? -1 : 1;
    for (let i = 0; i < rows; i++) u[i * kept + c] = column[i]! * sign;
  }
  return { u: { data: u, rows, cols: kept }, singularValues };
}

function forEachPair(matrix: CsrMatrix, visit: (i: number, j: number, value: number) => void): void {
  for (let i = 0; i < matrix.rows; i++) {
    for (let e = matrix.indptr[i]!; e < matrix.indptr[i + 1]!; e++) {
      const j = matrix.indices[e]!;
      if (i !== j) visit(i, j, matrix.values?.[e] ?? 1);
    }
  }
}

function fromMaps(rows: readonly Map<number, number>[], cols: number): CsrMatrix {
  const indptr = new Uint32Array(rows.length + 1);
  for (const [i, row] of rows.entries()) indptr[i + 1] = indptr[i]! + row.size;
  const indices = new Uint32Array(indptr[rows.length]!);
  const values = new Float32Array(indices.length);
  for (const [i, row] of rows.entries()) {
    const sorted = Uint32Array.from(row.keys()).sort();
    indices.set(sorted, indptr[i]!);
    sorted.forEach((column, n) => {
      values[indptr[i]! + n] = row.get(column)!;
    });
  }
  return { indptr, indices, values, rows: rows.length, cols };
}

function multiply(matrix: CsrMatrix, right: Float64Array, width: number): Float64Array<ArrayBuffer> {
  const result = new Float64Array(matrix.rows * width);
  for (let i = 0; i < matrix.rows; i++) {
    for (let e = matrix.indptr[i]!; e < matrix.indptr[i + 1]!; e++) {
      const value = matrix.values?.[e] ?? 1;
      const from = matrix.indices[e]! * width;
      for (let c = 0; c < width; c++) result[i * width + c]! += value * right[from + c]!;
    }
  }
  return result;
}

function multiplyTransposed(matrix: CsrMatrix, left: Float64Array, width: number): Float64Array<ArrayBuffer> {
  const result = new Float64Array(matrix.cols * width);
  for (let i = 0; i < matrix.rows; i++) {
    for (let e = matrix.indptr[i]!; e < matrix.indptr[i + 1]!; e++) {
      const value = matrix.values?.[e] ?? 1;
      const to = matrix.indices[e]! * width;
      for (let c = 0; c < width; c++) result[to + c]! += value * left[i * width + c]!;
    }
  }
  return result;
}

/**
 * Gram-Schmidt over the columns from `from` to `to` against all before, twice for orthogonality to machine precision. A
 * column that depends on those before it becomes 0.
 */
function orthonormalise(matrix: Float64Array, rows: number, width: number, from: number, to: number): void {
  for (let c = from; c < to; c++) {
    const length = squaredLength(matrix, rows, width, c);
    for (let pass = 0; pass < 2; pass++) {
      const products = new Float64Array(c);
      for (let i = 0; i < rows; i++) {
        const value = matrix[i * width + c]!;
        for (let b = 0; b < c; b++) products[b]! += value * matrix[i * width + b]!;
      }
      for (let i = 0; i < rows; i++) {
        let value = matrix[i * width + c]!;
        for (let b = 0; b < c; b++) value -= products[b]! * matrix[i * width + b]!;
        matrix[i * width + c] = value;
      }
    }
    const squared = squaredLength(matrix, rows, width, c);
    const scale = squared > 1e-20 * length && squared > 1e-280 ? 1 / Math.sqrt(squared) : 0;
    for (let i = 0; i < rows; i++) matrix[i * width + c]! *= scale;
  }
}

function squaredLength(matrix: Float64Array, rows: number, width: number, column: number): number {
  let squared = 0;
  for (let i = 0; i < rows; i++) squared += matrix[i * width + column]! ** 2;
  return squared;
}

/** Eigen-decomposition of a small symmetric matrix by cyclic Jacobi rotations; column c of `vectors` belongs to value c. */
function symmetricEigen(input: Float64Array, n: number): { values: Float64Array; vectors: Float64Array } {
  const a = input.slice();
  const vectors = new Float64Array(n * n);
  for (let i = 0; i < n; i++) vectors[i * n + i] = 1;
  for (let sweep = 0; sweep < 60; sweep++) {
    let off = 0;
    let diagonal = 0;
    for (let i = 0; i < n; i++) {
      diagonal += a[i * n + i]! ** 2;
      for (let j = i + 1; j < n; j++) off += a[i * n + j]! ** 2;
    }
    if (off <= 1e-26 * diagonal) break;
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) {
        const apq = a[p * n + q]!;
        if (apq === 0) continue;
        const theta = (a[q * n + q]! - a[p * n + p]!) / (2 * apq);
        const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
        const c = 1 / Math.sqrt(t * t + 1);
        const s = t * c;
        for (let k = 0; k < n; k++) rotate(a, k * n + p, k * n + q, c, s);
        for (let k = 0; k < n; k++) rotate(a, p * n + k, q * n + k, c, s);
        for (let k = 0; k < n; k++) rotate(vectors, k * n + p, k * n + q, c, s);
      }
    }
  }
  return { values: Float64Array.from({ length: n }, (_, i) => a[i * n + i]!), vectors };
}

function rotate(values: Float64Array, i: number, j: number, c: number, s: number): void {
  const x = values[i]!;
  const y = values[j]!;
  values[i] = c * x - s * y;
  values[j] = s * x + c * y;
}
