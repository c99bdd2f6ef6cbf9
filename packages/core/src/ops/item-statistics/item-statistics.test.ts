import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import type { CsrMatrix } from "../../base/matrix.js";
import { createRandom } from "../../base/random.js";
import { choleskyInverse, cooccurrence, gramMatrix, itemNeighbours, ppmi, truncatedSvd } from "./item-statistics.js";

const nativeModule = vi.hoisted(() => ({ off: false }));
vi.mock("../native.js", async (original) => {
  const actual = await original<typeof import("../native.js")>();
  return { ...actual, native: () => (nativeModule.off ? undefined : actual.native()) };
});

/** Runs a call on the TypeScript references. */
async function withoutAddon<T>(call: () => T | Promise<T>): Promise<T> {
  nativeModule.off = true;
  try {
    return await call();
  } finally {
    nativeModule.off = false;
  }
}

/** Users who hold the items of `lists`. */
function matrixOf(lists: readonly (readonly number[])[], cols: number): CsrMatrix {
  const indptr = Uint32Array.from({ length: lists.length + 1 }, (_, r) => lists.slice(0, r).flat().length);
  return { indptr, indices: Uint32Array.from(lists.flat()), rows: lists.length, cols };
}

function dense(matrix: CsrMatrix): number[][] {
  return Array.from({ length: matrix.rows }, (_, r) => {
    const row = new Array<number>(matrix.cols).fill(0);
    for (let e = matrix.indptr[r]!; e < matrix.indptr[r + 1]!; e++) row[matrix.indices[e]!]! += matrix.values?.[e] ?? 1;
    return row;
  });
}

const lists = fc.array(fc.uniqueArray(fc.integer({ min: 0, max: 11 }), { maxLength: 6 }), { maxLength: 30 });

describe("cooccurrence", () => {
  it("counts each pair of a row, by hand", () => {
    const rows = matrixOf([[0, 2], [2], [0, 1, 2]], 3);
    expect(dense(cooccurrence(rows))).toEqual([
      [2, 1, 2],
      [1, 1, 1],
      [2, 1, 3],
    ]);
    const third = Math.fround(1 / 3);
    expect(dense(cooccurrence(rows, { pairWeight: "inverse-length" }))[1]).toEqual([third, third, third]);
  });

  it("gives the same natively and in TypeScript, for any rows", async () => {
    await fc.assert(
      fc.asyncProperty(lists, fc.constantFrom("one" as const, "inverse-length" as const), async (users, pairWeight) => {
        const rows = matrixOf(users, 12);
        const made = cooccurrence(rows, { pairWeight });
        const expected = await withoutAddon(() => cooccurrence(rows, { pairWeight }));
        expect([made.indptr, made.indices]).toEqual([expected.indptr, expected.indices]);
        for (const [e, value] of made.values!.entries()) expect(value).toBeCloseTo(expected.values![e]!, 5);
      }),
    );
  });

  it("refuses an item outside of the matrix", () => {
    expect(() => cooccurrence(matrixOf([[3]], 3))).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });
});

describe("itemNeighbours", () => {
  it("keeps the most similar columns, equal ones by index, by hand", async () => {
    const rows = matrixOf(
      [
        [0, 1, 2],
        [0, 1],
        [2, 3],
      ],
      4,
    );
    const nearest = await itemNeighbours(rows, { neighbours: 1, squaredNorms: Float32Array.of(2, 2, 2, 1) });
    expect([...nearest.indptr]).toEqual([0, 1, 2, 3, 4]);
    expect([...nearest.indices]).toEqual([1, 0, 3, 2]);
    expect(nearest.values![0]).toBe(1);
    expect(nearest.values![2]).toBeCloseTo(Math.SQRT1_2, 6);
  });

  it("gives the same natively and in TypeScript, for any rows", async () => {
    const squaredNorms = Float32Array.from({ length: 12 }, (_, i) => 1 + (i % 5));
    await fc.assert(
      fc.asyncProperty(lists, fc.integer({ min: 1, max: 13 }), async (users, neighbours) => {
        const rows = matrixOf(users, 12);
        const made = await itemNeighbours(rows, { neighbours, squaredNorms });
        expect(made).toEqual(await withoutAddon(() => itemNeighbours(rows, { neighbours, squaredNorms })));
      }),
    );
  });

  it("refuses norms that are none, no neighbours, and an aborted signal", async () => {
    const rows = matrixOf([[0]], 1);
    const squaredNorms = Float32Array.of(1);
    await expect(itemNeighbours(rows, { neighbours: 0, squaredNorms })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    await expect(
      itemNeighbours(rows, { neighbours: 1, squaredNorms: Float32Array.of(Number.NaN) }),
    ).rejects.toMatchObject({ code: "NON_FINITE" });
    const reason = new Error("enough");
    await expect(
      itemNeighbours(rows, { neighbours: 1, squaredNorms }, { signal: AbortSignal.abort(reason) }),
    ).rejects.toBe(reason);
  });
});

describe("ppmi", () => {
  it("is the logarithm of how much more often a pair is seen than chance would have it", () => {
    // Two worlds of two items: inside of one, a pair is twice as likely as chance; smoothing does not matter here.
    const counts = cooccurrence(
      matrixOf(
        [
          [0, 1],
          [2, 3],
        ],
        4,
      ),
    );
    const rows = dense(ppmi(counts, { contextSmoothing: 1 }));
    expect(rows[0]![1]).toBeCloseTo(Math.log(4), 6);
    expect(rows[0]![0]).toBe(0);
    expect(rows[0]![2]).toBe(0);
  });

  it("gives the same natively and in TypeScript, for any rows", async () => {
    await fc.assert(
      fc.asyncProperty(lists, async (users) => {
        const counts = cooccurrence(matrixOf(users, 12), { pairWeight: "inverse-length" });
        const [made, expected] = [ppmi(counts), await withoutAddon(() => ppmi(counts))];
        const [a, b] = [dense(made).flat(), dense(expected).flat()];
        for (const [i, value] of a.entries()) expect(value).toBeCloseTo(b[i]!, 5);
      }),
    );
  });

  it("refuses counts that are none", () => {
    const counts = { ...matrixOf([[1], [0]], 2), values: Float32Array.of(1, Number.NaN) };
    expect(() => ppmi(counts)).toThrow(expect.objectContaining({ code: "NON_FINITE" }));
  });
});

describe("truncatedSvd", () => {
  const worlds = (seed: number) => {
    const random = createRandom(seed);
    // Items of one world of 5 are held together, so that five directions stand out.
    const users = Array.from({ length: 200 }, (_, u) =>
      Array.from({ length: 40 }, (_, i) => i).filter((i) => random.uniform() < (i % 5 === u % 5 ? 0.6 : 0.05)),
    );
    return matrixOf(users, 40);
  };

  it("agrees natively and in TypeScript on values and vectors", async () => {
    const rows = worlds(1);
    const made = truncatedSvd(rows, 5, { seed: 3 });
    const expected = await withoutAddon(() => truncatedSvd(rows, 5, { seed: 3 }));
    for (let c = 0; c < 5; c++) {
      expect(made.singularValues[c]).toBeCloseTo(expected.singularValues[c]!, 3);
      let dot = 0;
      for (let r = 0; r < 200; r++) dot += made.u.data[r * 5 + c]! * expected.u.data[r * 5 + c]!;
      expect(dot).toBeCloseTo(1, 3);
    }
  });

  it("is the same for the same seed, bit for bit", () => {
    expect(truncatedSvd(worlds(2), 4, { seed: 7 })).toEqual(truncatedSvd(worlds(2), 4, { seed: 7 }));
  });

  it("gives zero for what an empty matrix does not have", () => {
    const { singularValues, u } = truncatedSvd(matrixOf([[], [], []], 4), 2, { seed: 1 });
    expect([...singularValues]).toEqual([0, 0]);
    expect(u.data.every((value) => value === 0)).toBe(true);
  });

  it.each([0, 1.5, 41, Number.NaN])("refuses the rank %d", (rank) => {
    expect(() => truncatedSvd(worlds(1), rank, { seed: 1 })).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT" }),
    );
  });
});

describe("gramMatrix and choleskyInverse", () => {
  it("invert X'X + ridge I natively and in TypeScript, for any rows", async () => {
    await fc.assert(
      fc.asyncProperty(lists, fc.double({ min: 0.5, max: 50, noNaN: true }), async (users, ridge) => {
        const rows = matrixOf(users, 12);
        const gram = await gramMatrix(rows, { ridge });
        expect(gram).toEqual(await withoutAddon(() => gramMatrix(rows, { ridge })));
        const copy = { ...gram, data: gram.data.slice() };
        const inverse = await choleskyInverse(copy);
        expect(inverse).toBe(copy);
        const expected = await withoutAddon(() => choleskyInverse({ ...gram, data: gram.data.slice() }));
        for (const [i, value] of inverse.data.entries()) expect(value).toBeCloseTo(expected.data[i]!, 4);
        for (let i = 0; i < 12; i++) {
          for (let j = 0; j < 12; j++) {
            let product = 0;
            for (let k = 0; k < 12; k++) product += gram.data[i * 12 + k]! * inverse.data[k * 12 + j]!;
            expect(product).toBeCloseTo(i === j ? 1 : 0, 3);
          }
        }
      }),
      { numRuns: 30 },
    );
  });

  it("refuse what is not positive definite, not square or too large", async () => {
    const singular = { data: Float32Array.of(1, 2, 2, 4), rows: 2, cols: 2 };
    await expect(choleskyInverse(singular)).rejects.toMatchObject({ code: "NON_FINITE" });
    await expect(choleskyInverse({ data: new Float32Array(6), rows: 2, cols: 3 })).rejects.toMatchObject({
      code: "SHAPE_MISMATCH",
    });
    await expect(choleskyInverse({ data: new Float32Array(0), rows: 40_000, cols: 40_000 })).rejects.toMatchObject({
      code: "OUT_OF_MEMORY",
      received: expect.stringContaining("GiB"),
    });
  });

  it("reject with the signal's own reason", async () => {
    const reason = new Error("enough");
    const signal = AbortSignal.abort(reason);
    await expect(gramMatrix(matrixOf([[0]], 1), {}, { signal })).rejects.toBe(reason);
    await expect(choleskyInverse({ data: Float32Array.of(1), rows: 1, cols: 1 }, { signal })).rejects.toBe(reason);
  });
});
