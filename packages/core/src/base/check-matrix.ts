import { PrismrecError } from "./errors.js";
import type { CsrMatrix, Matrix } from "./matrix.js";

/** Throws SHAPE_MISMATCH unless a named argument has the length that its place asks for. */
export function checkLength(name: string, received: number, expected: number): void {
  if (received === expected) return;
  throw new PrismrecError("SHAPE_MISMATCH", `${name} has the wrong length`, {
    expected: String(expected),
    received: String(received),
  });
}

/** Throws SHAPE_MISMATCH unless `data` fills `rows` x `cols`. */
export function checkMatrix(name: string, { data, rows, cols }: Matrix): void {
  if (!Number.isSafeInteger(rows) || !Number.isSafeInteger(cols) || rows < 0 || cols < 0) {
    throw new PrismrecError("SHAPE_MISMATCH", `${name} has no valid shape`, {
      expected: "whole numbers of rows and columns",
      received: `[${rows}, ${cols}]`,
    });
  }
  checkLength(`${name}.data`, data.length, rows * cols);
}

/**
 * Checks compressed sparse rows of a wanted shape: SHAPE_MISMATCH for the shape and the lengths, INVALID_ARGUMENT for a
 * decreasing `indptr` or an index outside the columns. Sorted or distinct indices are not asked for.
 */
export function checkCsr(name: string, matrix: CsrMatrix, rows: number, cols: number): void {
  if (matrix.rows !== rows || matrix.cols !== cols) {
    throw new PrismrecError("SHAPE_MISMATCH", `${name} has the wrong shape`, {
      expected: `${rows} x ${cols}`,
      received: `${matrix.rows} x ${matrix.cols}`,
    });
  }
  checkLength(`${name}.indptr`, matrix.indptr.length, rows + 1);
  if (matrix.indptr[0] !== 0) {
    throw new PrismrecError("INVALID_ARGUMENT", `${name}.indptr must start at 0`, {
      expected: "0",
      received: String(matrix.indptr[0]),
    });
  }
  for (let row = 0; row < rows; row++) {
    if (matrix.indptr[row + 1]! >= matrix.indptr[row]!) continue;
    throw new PrismrecError("INVALID_ARGUMENT", `${name}.indptr decreases after row ${row}`, {
      expected: `at least ${matrix.indptr[row]}`,
      received: String(matrix.indptr[row + 1]),
    });
  }
  checkLength(`${name}.indices`, matrix.indices.length, matrix.indptr[rows]!);
  for (let i = 0; i < matrix.indices.length; i++) {
    if (matrix.indices[i]! < cols) continue;
    throw new PrismrecError("INVALID_ARGUMENT", `${name}.indices[${i}] is outside the columns`, {
      expected: `0 to ${cols - 1}`,
      received: String(matrix.indices[i]),
    });
  }
  if (matrix.values !== undefined) checkLength(`${name}.values`, matrix.values.length, matrix.indices.length);
}
