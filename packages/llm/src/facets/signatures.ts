import type { Matrix } from "@prismrec/core/base";

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

/**
 * What each facet contributes to the mutual information of item and next word, in nats: mean of p·log(p / mean p).
 * A word that a model says of some items and not of others counts; one that is improbable everywhere does not, however
 * much its logarithm varies.
 */
export function informationOf(logProbs: readonly Float32Array[]): Float64Array {
  const cols = logProbs[0]?.length ?? 0;
  const information = new Float64Array(cols);
  for (let f = 0; f < cols; f++) {
    let mean = 0;
    for (const row of logProbs) mean += Math.exp(row[f]!) / logProbs.length;
    let sum = 0;
    for (const row of logProbs) sum += Math.exp(row[f]!) * (row[f]! - Math.log(mean));
    information[f] = sum / logProbs.length;
  }
  return information;
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
