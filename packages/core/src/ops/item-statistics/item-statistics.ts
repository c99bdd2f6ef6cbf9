import { yieldToEventLoop } from "../../base/abort.js";
import { checkCsr, checkMatrix } from "../../base/check-matrix.js";
import { PrismrecError } from "../../base/errors.js";
import type { CsrMatrix, Matrix } from "../../base/matrix.js";
import { createRandom } from "../../base/random.js";
import type { RunOptions } from "../../base/run-options.js";
import { callNative, native, runNative } from "../native.js";
import { choleskyInverseReference } from "./cholesky.js";
import { cooccurrenceRow, transpose } from "./counts.js";
import { cooccurrenceReference, itemNeighboursReference, ppmiReference, truncatedSvdReference } from "./reference.js";
import type {
  CooccurrenceOptions,
  GramOptions,
  ItemNeighboursOptions,
  PpmiOptions,
  SvdOptions,
  TruncatedSvd,
} from "./types.js";

const BLOCK_WIDTH = 16;
/** Blocks beyond twice the rank: the depth that separates values close to each other. */
const DEPTH = 8;

/** Largest order that `choleskyInverse` takes: 4 bytes for each of its n * n entries are 4 GiB then. */
export const CHOLESKY_MAX_ORDER = 32_768;

/**
 * How often two columns stand in one row: [cols, cols], symmetric, the diagonal included; within a row the indices
 * ascend. Each entry of `rows` counts 1, whatever its value.
 *
 * @throws PrismrecError SHAPE_MISMATCH, INVALID_ARGUMENT (an index out of range), OUT_OF_MEMORY
 */
export function cooccurrence(rows: CsrMatrix, options: CooccurrenceOptions = {}): CsrMatrix {
  checkCsr("rows", rows, rows.rows, rows.cols);
  const binding = native();
  if (binding === undefined) return cooccurrenceReference(rows, options);
  const weights = options.pairWeight === "inverse-length" ? inverseLengths(rows) : undefined;
  const made = callNative(() =>
    binding.cooccurrenceSync({ ...structure(rows), ...(weights === undefined ? {} : { weights }) }),
  );
  return { ...made, rows: rows.cols, cols: rows.cols };
}

/**
 * The nearest other columns of each column by c(i, j) / sqrt(n(i) n(j)), where c counts the rows that hold both and n are
 * the squared norms: [cols, cols], each row best first, equal ones by index.
 *
 * @throws PrismrecError SHAPE_MISMATCH, INVALID_ARGUMENT, NON_FINITE, OUT_OF_MEMORY. An aborted signal rejects with its
 *   reason.
 */
export async function itemNeighbours(
  rows: CsrMatrix,
  options: ItemNeighboursOptions,
  run: RunOptions = {},
): Promise<CsrMatrix> {
  checkCsr("rows", rows, rows.rows, rows.cols);
  const binding = native();
  if (binding === undefined) return itemNeighboursReference(rows, options, run.signal);
  const { neighbours, squaredNorms } = options;
  const made = await runNative(run.signal, (cancel) =>
    binding.itemNeighbours({
      ...structure(rows),
      neighbours,
      squaredNorms,
      ...(cancel === undefined ? {} : { cancel }),
    }),
  );
  return { ...made, rows: rows.cols, cols: rows.cols };
}

/**
 * Positive pointwise mutual information of co-occurrence counts, max(0, log(p(i, j) / (p(i) q(j)))), where q is the
 * distribution of contexts with counts to the power `contextSmoothing`. The diagonal is not read and stays empty.
 *
 * @param counts [n, n], values >= 0
 * @throws PrismrecError SHAPE_MISMATCH, INVALID_ARGUMENT, NON_FINITE
 */
export function ppmi(counts: CsrMatrix, options: PpmiOptions = {}): CsrMatrix {
  checkCsr("counts", counts, counts.cols, counts.cols);
  const binding = native();
  if (binding === undefined) return ppmiReference(counts, options);
  const contextSmoothing = options.contextSmoothing ?? 0.75;
  const made = callNative(() => binding.ppmiSync({ ...structure(counts), ...valuesOf(counts), contextSmoothing }));
  return { ...made, rows: counts.rows, cols: counts.cols };
}

/**
 * The `rank` leading left singular vectors and singular values of a sparse matrix, by randomised block Krylov iteration
 * (Musco and Musco 2015). The same seed gives the same bits on the same machine.
 *
 * @throws PrismrecError INVALID_ARGUMENT for a rank that is not within the matrix, SHAPE_MISMATCH, NON_FINITE
 */
export function truncatedSvd(matrix: CsrMatrix, rank: number, options: SvdOptions): TruncatedSvd {
  checkCsr("matrix", matrix, matrix.rows, matrix.cols);
  const least = Math.min(matrix.rows, matrix.cols);
  if (!Number.isInteger(rank) || rank < 1 || rank > least) {
    throw new PrismrecError("INVALID_ARGUMENT", "the rank of a truncated SVD must lie within the matrix", {
      expected: `1 to ${least}`,
      received: String(rank),
    });
  }
  const width = Math.min(least, BLOCK_WIDTH);
  const wanted = options.blocks ?? Math.ceil((2 * rank) / width) + DEPTH;
  const blocks = Math.min(Math.max(wanted, Math.ceil(rank / width)), Math.ceil(least / width));
  const random = createRandom(options.seed, "truncated-svd");
  const start = Float32Array.from({ length: matrix.cols * width }, () => random.normal());
  const binding = native();
  if (binding === undefined) return truncatedSvdReference(matrix, rank, start, width, blocks);
  const { u, singularValues } = callNative(() =>
    binding.truncatedSvdSync({ ...structure(matrix), ...valuesOf(matrix), rank, width, blocks, start }),
  );
  return { u: { data: u, rows: matrix.rows, cols: rank }, singularValues };
}

/**
 * X'X + ridge I as a dense matrix [cols, cols], every entry of X counting 1.
 *
 * @throws PrismrecError SHAPE_MISMATCH, INVALID_ARGUMENT, OUT_OF_MEMORY. An aborted signal rejects with its reason.
 */
export async function gramMatrix(rows: CsrMatrix, options: GramOptions = {}, run: RunOptions = {}): Promise<Matrix> {
  checkCsr("rows", rows, rows.rows, rows.cols);
  const n = rows.cols;
  const ridge = options.ridge ?? 0;
  const binding = native();
  if (binding !== undefined) {
    const { gram } = await runNative(run.signal, (cancel) =>
      binding.gram({ ...structure(rows), ridge, ...(cancel === undefined ? {} : { cancel }) }),
    );
    return { data: gram, rows: n, cols: n };
  }
  const data = new Float32Array(n * n);
  const columns = transpose(rows);
  const touched = new Uint32Array(n);
  for (let i = 0; i < n; i++) {
    if (i % 256 === 0) await yieldToEventLoop(run.signal);
    const row = new Float64Array(n);
    cooccurrenceRow(rows, columns, i, row, touched);
    row[i]! += ridge;
    data.set(row, i * n);
  }
  return { data, rows: n, cols: n };
}

/**
 * The inverse of a symmetric positive definite matrix, written over `matrix` itself and returned; only the lower
 * triangle is read. n^3 floating-point operations, beside a copy of the matrix. After a failure or an abort the content of
 * `matrix` is undefined.
 *
 * @param matrix [n, n], n <= CHOLESKY_MAX_ORDER
 * @throws PrismrecError NON_FINITE where a pivot is not above rounding error (not positive definite, not finite),
 *   OUT_OF_MEMORY, SHAPE_MISMATCH. An aborted signal rejects with its reason.
 */
export async function choleskyInverse(matrix: Matrix, run: RunOptions = {}): Promise<Matrix> {
  const n = matrix.rows;
  if (n > CHOLESKY_MAX_ORDER) {
    throw new PrismrecError("OUT_OF_MEMORY", "the matrix is too large to be inverted", {
      expected: `an order of at most ${CHOLESKY_MAX_ORDER}, 4 GiB`,
      received: `${n}, ${((4 * n * n) / 2 ** 30).toFixed(1)} GiB`,
      hint: "Leave out rare items, or choose a model whose cost grows with the events instead.",
    });
  }
  checkMatrix("matrix", matrix);
  if (matrix.cols !== n) {
    throw new PrismrecError("SHAPE_MISMATCH", "only a square matrix has an inverse", {
      expected: `${n} x ${n}`,
      received: `${n} x ${matrix.cols}`,
    });
  }
  const binding = native();
  if (binding !== undefined) {
    await runNative(run.signal, (cancel) =>
      binding.choleskyInverse({ n, a: matrix.data, ...(cancel === undefined ? {} : { cancel }) }),
    );
    return matrix;
  }
  const inverse = await choleskyInverseReference(Float64Array.from(matrix.data), n, (done) => {
    if (done % 16 !== 0) return undefined;
    run.onProgress?.({ stage: "cholesky-inverse", done, total: 3 * n, unit: "rows" });
    return yieldToEventLoop(run.signal);
  });
  matrix.data.set(inverse);
  return matrix;
}

function structure({ indptr, indices, rows, cols }: CsrMatrix) {
  return { indptr, indices, rows, cols };
}

function valuesOf({ values }: CsrMatrix) {
  return values === undefined ? {} : { values };
}

function inverseLengths({ indptr, rows }: CsrMatrix): Float32Array {
  return Float32Array.from({ length: rows }, (_, r) => 1 / Math.max(1, indptr[r + 1]! - indptr[r]!));
}
