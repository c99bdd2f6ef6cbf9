import type { Matrix } from "@prismrec/core";

/** A facet's power of the evidence: between 1 (as the model says it) and 2 (only the strongest facet counts). */
const SHARPNESS = 1.5;

/** Log-probabilities minus each facet's mean over the catalog, which takes the facet's own prior out. [N, f] */
export function centred(logProbs: readonly Float32Array[]): Matrix {
  const rows = logProbs.length;
  const cols = logProbs[0]?.length ?? 0;
  const data = new Float32Array(rows * cols);
  for (let f = 0; f < cols; f++) {
    let sum = 0;
    for (const row of logProbs) sum += row[f]!;
    logProbs.forEach((row, i) => {
      data[i * cols + f] = row[f]! - sum / rows;
    });
  }
  return { data, rows, cols };
}

/** Standard deviation of each column of a centred matrix. */
export function columnDeviations({ data, rows, cols }: Matrix): Float64Array {
  const squares = new Float64Array(cols);
  for (let i = 0; i < data.length; i++) squares[i % cols] = squares[i % cols]! + data[i]! ** 2;
  return squares.map((sum) => Math.sqrt(sum / Math.max(1, rows)));
}

/**
 * Item signatures from centred log-probabilities: only what speaks for a facet counts (what an item is not about is
 * shared by unrelated items and makes them look alike), sharpened, rows of unit length (zero where nothing speaks).
 */
export function facetSignatures(z: Matrix): Matrix {
  const data = z.data.map((value) => (value > 0 ? value ** SHARPNESS : 0));
  for (let i = 0; i < z.rows; i++) {
    const row = data.subarray(i * z.cols, (i + 1) * z.cols);
    const norm = Math.hypot(...row);
    if (norm > 0)
      row.forEach((value, f) => {
        row[f] = value / norm;
      });
  }
  return { data, rows: z.rows, cols: z.cols };
}

/** The columns of a matrix named by `columns`, in that order. */
export function selectColumns(matrix: Matrix, columns: readonly number[]): Matrix {
  const data = new Float32Array(matrix.rows * columns.length);
  for (let i = 0; i < matrix.rows; i++) {
    columns.forEach((from, to) => {
      data[i * columns.length + to] = matrix.data[i * matrix.cols + from]!;
    });
  }
  return { data, rows: matrix.rows, cols: columns.length };
}
