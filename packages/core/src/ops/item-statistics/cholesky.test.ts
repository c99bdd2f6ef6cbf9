import { describe, expect, it } from "vitest";
import { createRandom } from "../../base/random.js";
import { choleskyInverseReference } from "./cholesky.js";
import { cooccurrenceRow, transpose } from "./counts.js";

/** A well-conditioned symmetric positive definite matrix: G G' / n + I. */
function definite(n: number, seed: number): Float64Array {
  const random = createRandom(seed);
  const g = Float64Array.from({ length: n * n }, () => random.normal());
  return Float64Array.from({ length: n * n }, (_, at) => {
    const [i, j] = [Math.floor(at / n), at % n];
    let sum = i === j ? n : 0;
    for (let k = 0; k < n; k++) sum += g[i * n + k]! * g[j * n + k]!;
    return sum / n;
  });
}

describe("choleskyInverseReference", () => {
  it.each([1, 2, 3, 4, 5, 7, 8, 9, 33])("inverts a matrix of order %i", async (n) => {
    const a = definite(n, n);
    const inverse = await choleskyInverseReference(a.slice(), n);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) {
        let product = 0;
        for (let k = 0; k < n; k++) product += a[i * n + k]! * inverse[k * n + j]!;
        expect(product).toBeCloseTo(i === j ? 1 : 0, 10);
        expect(inverse[i * n + j]).toBe(inverse[j * n + i]);
      }
    }
  });

  it("reads the lower triangle only and reports each of its 3 n row steps", async () => {
    const lower = definite(6, 1);
    for (let i = 0; i < 6; i++) lower.fill(Number.NaN, i * 6 + i + 1, i * 6 + 6);
    const steps: number[] = [];
    const inverse = await choleskyInverseReference(lower, 6, (done) => {
      steps.push(done);
      return undefined;
    });
    expect(inverse).toEqual(await choleskyInverseReference(definite(6, 1), 6));
    expect(steps).toEqual(Array.from({ length: 18 }, (_, i) => i + 1));
  });

  it("refuses what is not positive definite, not finite or not square", async () => {
    const bad = [Float64Array.of(1, 2, 2, 1), Float64Array.of(-1, 0, 0, 1), Float64Array.of(1, 0, Number.NaN, 1)];
    for (const matrix of bad) {
      await expect(choleskyInverseReference(matrix, 2)).rejects.toMatchObject({ code: "NON_FINITE" });
    }
    await expect(choleskyInverseReference(new Float64Array(3), 2)).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
  });
});

describe("transpose and cooccurrenceRow", () => {
  const users = { indptr: Uint32Array.of(0, 2, 2, 5), indices: Uint32Array.of(2, 0, 0, 1, 2), rows: 3, cols: 4 };

  it("transpose twice gives the same matrix with ascending rows", () => {
    const twice = transpose(transpose(users));
    expect(twice.indptr).toEqual(users.indptr);
    expect([...twice.indices]).toEqual([0, 2, 0, 1, 2]);
  });

  it("count the users that hold both items, each by its weight", () => {
    const counts = new Float64Array(4);
    const touched = cooccurrenceRow(users, transpose(users), 0, counts, new Uint32Array(4), (user) => 1 / (user + 1));
    expect([...counts]).toEqual([1 + 1 / 3, 1 / 3, 1 + 1 / 3, 0]);
    expect([...touched].sort()).toEqual([0, 1, 2]);
  });
});
