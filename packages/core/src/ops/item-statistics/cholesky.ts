import { PrismrecError } from "../../base/errors.js";

/**
 * Inverse of a symmetric positive definite [n, n] row-major matrix through its Cholesky factor: A = L L', M = L^-1,
 * A^-1 = M' M. Reads the lower triangle, overwrites `a` and returns it. `onRow` is called after each of the 3 n row
 * steps. NON_FINITE when the matrix is not positive definite.
 */
export async function choleskyInverseReference(
  a: Float64Array,
  n: number,
  onRow: (done: number) => Promise<void> | undefined = () => undefined,
): Promise<Float64Array> {
  if (a.length !== n * n) {
    throw new PrismrecError("SHAPE_MISMATCH", "a square matrix has n * n values", {
      expected: `${n} * ${n} = ${n * n}`,
      received: String(a.length),
    });
  }
  const dots = new Float64Array(4);
  for (let i = 0; i < n; i++) {
    // Entry (i, j) needs the finished rows above and the entries left of it, so four columns are begun together and
    // finished one after the other.
    for (let j = 0; j < i; j += 4) {
      dot4(a, i * n, a, j * n, n, j, Math.min(4, i - j), dots);
      for (let c = 0; c < 4 && j + c < i; c++) {
        let rest = a[i * n + j + c]! - dots[c]!;
        for (let s = j; s < j + c; s++) rest -= a[i * n + s]! * a[(j + c) * n + s]!;
        a[i * n + j + c] = rest / a[(j + c) * n + j + c]!;
      }
    }
    let pivot = a[i * n + i]!;
    for (let s = i * n; s < i * n + i; s++) pivot -= a[s]! * a[s]!;
    if (!(pivot > 0 && Number.isFinite(pivot))) {
      throw new PrismrecError("NON_FINITE", "the matrix is not positive definite", {
        expected: "a positive pivot in every row",
        received: `${pivot} in row ${i}`,
      });
    }
    a[i * n + i] = Math.sqrt(pivot);
    await onRow(i + 1);
  }
  // Row j of m is column j of L^-1, so that every sum below runs over adjacent values.
  const m = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    const diagonal = a[i * n + i]!;
    m[i * n + i] = 1 / diagonal;
    for (let j = 0; j < i; j += 4) {
      dot4(a, i * n + j, m, j * n + j, n, i - j, Math.min(4, i - j), dots);
      for (let c = 0; c < 4 && j + c < i; c++) m[(j + c) * n + i] = -dots[c]! / diagonal;
    }
    await onRow(n + i + 1);
  }
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j += 4) {
      dot4(m, i * n + i, m, j * n + i, n, n - i, Math.min(4, i + 1 - j), dots);
      for (let c = 0; c < 4 && j + c <= i; c++) {
        a[i * n + j + c] = dots[c]!;
        a[(j + c) * n + i] = dots[c]!;
      }
    }
    await onRow(2 * n + i + 1);
  }
  return a;
}

/** dots[c] = sum over s < length of left[leftStart + s] * right[rightStart + c * stride + s], for c < count <= 4. */
function dot4(
  left: Float64Array,
  leftStart: number,
  right: Float64Array,
  rightStart: number,
  stride: number,
  length: number,
  count: number,
  dots: Float64Array,
): void {
  const r0 = rightStart;
  const r1 = count > 1 ? r0 + stride : r0;
  const r2 = count > 2 ? r1 + stride : r0;
  const r3 = count > 3 ? r2 + stride : r0;
  let d0 = 0;
  let d1 = 0;
  let d2 = 0;
  let d3 = 0;
  for (let s = 0; s < length; s++) {
    const x = left[leftStart + s]!;
    d0 += x * right[r0 + s]!;
    d1 += x * right[r1 + s]!;
    d2 += x * right[r2 + s]!;
    d3 += x * right[r3 + s]!;
  }
  dots[0] = d0;
  dots[1] = d1;
  dots[2] = d2;
  dots[3] = d3;
}
