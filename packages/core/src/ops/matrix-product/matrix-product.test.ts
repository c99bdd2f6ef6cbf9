import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Matrix } from "../../base/matrix.js";
import { createRandom } from "../../base/random.js";
import { matrixProduct, matrixProductSync } from "./matrix-product.js";
import { matrixProductReference } from "./reference.js";

function drawn(rows: number, cols: number, stream: string): Matrix {
  const random = createRandom(1, stream);
  return { data: Float32Array.from({ length: rows * cols }, () => random.normal()), rows, cols };
}

describe("matrixProduct", () => {
  it("multiplies, by hand", async () => {
    const a = { data: Float32Array.of(1, 2, 3, 4, 5, 6), rows: 2, cols: 3 };
    const b = { data: Float32Array.of(1, 0, 0, 1, 2, -1), rows: 3, cols: 2 };
    const product = { data: Float32Array.of(7, -1, 16, -1), rows: 2, cols: 2 };
    expect(await matrixProduct(a, b)).toEqual(product);
    expect(await matrixProductReference(a, b, {}, {})).toEqual(product);
  });

  it("is the reference's product for any shapes, transposed or not", async () => {
    const size = fc.integer({ min: 0, max: 40 });
    await fc.assert(
      fc.asyncProperty(size, size, size, fc.boolean(), async (m, n, k, transposeB) => {
        const a = drawn(m, k, "a");
        const b = transposeB ? drawn(n, k, "b") : drawn(k, n, "b");
        const made = await matrixProduct(a, b, { transposeB });
        const expected = await matrixProductReference(a, b, { transposeB }, {});
        expect([made.rows, made.cols]).toEqual([m, n]);
        const into = new Float32Array(m * n).fill(7);
        const written = await matrixProduct(a, b, { transposeB, into });
        expect(written.data).toBe(into);
        expect(written).toEqual(made);
        for (const [i, value] of made.data.entries()) expect(value).toBeCloseTo(expected.data[i]!, 4);
        expect(matrixProductSync(a, b, { transposeB })).toEqual(made);
      }),
    );
  });

  it("multiplies more rows than one call of the addon takes", async () => {
    const [a, b] = [drawn(2100, 3, "a"), drawn(3, 5, "b")];
    const [made, expected] = [await matrixProduct(a, b), await matrixProductReference(a, b, {}, {})];
    for (const [i, value] of made.data.entries()) expect(value).toBeCloseTo(expected.data[i]!, 4);
  });

  it("refuses matrices that do not fit, and rejects with the signal's own reason", async () => {
    await expect(matrixProduct(drawn(2, 3, "a"), drawn(2, 3, "b"))).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
    await expect(matrixProduct({ ...drawn(2, 3, "a"), rows: 3 }, drawn(3, 3, "b"))).rejects.toMatchObject({
      code: "SHAPE_MISMATCH",
    });
    const into = new Float32Array(3);
    await expect(matrixProduct(drawn(2, 3, "a"), drawn(3, 2, "b"), { into })).rejects.toMatchObject({
      code: "SHAPE_MISMATCH",
    });
    const reason = new Error("enough");
    const run = { signal: AbortSignal.abort(reason) };
    await expect(matrixProduct(drawn(2, 3, "a"), drawn(3, 2, "b"), {}, run)).rejects.toBe(reason);
    await expect(matrixProductReference(drawn(2, 3, "a"), drawn(3, 2, "b"), {}, run)).rejects.toBe(reason);
  });
});
