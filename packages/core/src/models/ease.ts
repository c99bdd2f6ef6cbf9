import { trainingMatrix } from "../dataset/training-matrix.js";
import type { Dataset } from "../dataset/types.js";
import { PrismrecError } from "../errors/errors.js";
import { choleskyInverseReference } from "../item-statistics/cholesky.js";
import { cooccurrenceRow, transpose } from "../item-statistics/counts.js";
import type { CsrMatrix, Matrix } from "../matrix/matrix.js";
import { yieldToEventLoop } from "../runtime/abort.js";
import type { RunOptions } from "../runtime/run-options.js";
import type { History, Model, Ranking, RankOptions } from "./model.js";
import { rankScores } from "./rank-scores.js";

/** Above this the [N, N] matrices would not fit an ordinary machine. */
export const EASE_MAX_ITEMS = 20_000;

/**
 * EASE^R (Steck, 2019): the closed-form item-to-item regression without self-similarity. With P = (X'X + lambda I)^-1,
 * B[i, j] = -P[i, j] / P[j, j] and B[j, j] = 0; a history's scores are the sum of its items' rows of B.
 */
export class Ease implements Model {
  readonly name = "ease";
  readonly itemCount: number;

  /** @param weights [N, N], row i belongs to dense id i + 1 */
  constructor(readonly weights: Matrix) {
    this.itemCount = weights.rows;
  }

  rank(histories: readonly History[], options: RankOptions): Promise<Ranking> {
    const { data, cols } = this.weights;
    return rankScores(this.itemCount, histories, options, (history, scores) => {
      for (const id of history.items) {
        const start = (id - 1) * cols;
        for (let j = 0; j < cols; j++) scores[j]! += data[start + j]!;
      }
    });
  }
}

export interface EaseOptions extends RunOptions {
  /** Weight of the ridge penalty, in events (a few hundred for catalogs of a few thousand items). */
  readonly lambda: number;
}

/**
 * Time grows with N * min(N, U)^2 for U training users: (X'X + lambda I)^-1 itself, or, with fewer users than items,
 * (I - X' (XX' + lambda I)^-1 X) / lambda, which is the same by Woodbury's identity. Memory: 8 N^2 bytes twice while
 * fitting, 4 N^2 after.
 */
export async function fitEase(dataset: Dataset, { lambda, signal, onProgress }: EaseOptions): Promise<Ease> {
  const n = dataset.catalog.size;
  if (!(lambda > 0 && Number.isFinite(lambda))) {
    throw new PrismrecError("CONFIG_INVALID", "ease needs a positive penalty", {
      expected: "lambda > 0",
      received: String(lambda),
    });
  }
  if (n > EASE_MAX_ITEMS) {
    throw new PrismrecError("INVALID_ARGUMENT", "the catalog is too large for ease", {
      expected: `at most ${EASE_MAX_ITEMS} items`,
      received: `${n} items, that is ${Math.round((16 * n * n) / 2 ** 30)} GiB while fitting`,
      hint: "Leave ease out, or raise the core so that fewer items stay.",
    });
  }
  const users = trainingMatrix(dataset);
  const usersOfItem = transpose(users);
  const ridge = async (rows: CsrMatrix, columns: CsrMatrix): Promise<Float64Array> => {
    const gram = await gramMatrix(rows, columns, signal);
    for (let i = 0; i < rows.cols; i++) gram[i * rows.cols + i]! += lambda;
    return await choleskyInverseReference(gram, rows.cols, (done) => {
      if (done % 16 !== 0) return undefined;
      onProgress?.({ stage: "ease", done, total: 3 * rows.cols, unit: "rows" });
      return yieldToEventLoop(signal);
    });
  };
  const inverse =
    users.rows < n
      ? await itemInverse(users, usersOfItem, await ridge(usersOfItem, users), lambda, signal)
      : await ridge(users, usersOfItem);
  const data = new Float32Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) data[i * n + j] = i === j ? 0 : -inverse[i * n + j]! / inverse[j * n + j]!;
  }
  return new Ease({ data, rows: n, cols: n });
}

/** X'X of a sparse X, dense: [cols, cols]. `columns` is X transposed. */
async function gramMatrix(rows: CsrMatrix, columns: CsrMatrix, signal?: AbortSignal): Promise<Float64Array> {
  const n = rows.cols;
  const gram = new Float64Array(n * n);
  const touched = new Uint32Array(n);
  for (let i = 0; i < n; i++) {
    if (i % 256 === 0) await yieldToEventLoop(signal);
    cooccurrenceRow(rows, columns, i, gram.subarray(i * n, (i + 1) * n), touched);
  }
  return gram;
}

/** (I - X' M X) / lambda for M = (XX' + lambda I)^-1: [N, N]. */
async function itemInverse(
  users: CsrMatrix,
  usersOfItem: CsrMatrix,
  m: Float64Array,
  lambda: number,
  signal?: AbortSignal,
): Promise<Float64Array> {
  const { rows, cols } = users;
  const mx = new Float64Array(rows * cols);
  for (let u = 0; u < rows; u++) {
    if (u % 64 === 0) await yieldToEventLoop(signal);
    for (let v = 0; v < rows; v++) {
      const weight = m[u * rows + v]!;
      for (let at = users.indptr[v]!; at < users.indptr[v + 1]!; at++) mx[u * cols + users.indices[at]!]! += weight;
    }
  }
  const inverse = new Float64Array(cols * cols);
  for (let i = 0; i < cols; i++) {
    if (i % 64 === 0) await yieldToEventLoop(signal);
    const row = inverse.subarray(i * cols, (i + 1) * cols);
    for (let at = usersOfItem.indptr[i]!; at < usersOfItem.indptr[i + 1]!; at++) {
      const start = usersOfItem.indices[at]! * cols;
      for (let j = 0; j < cols; j++) row[j]! -= mx[start + j]! / lambda;
    }
    row[i]! += 1 / lambda;
  }
  return inverse;
}
