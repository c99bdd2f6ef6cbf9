import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isPrismrecError } from "../../base/errors.js";
import { type CsrMatrix, isSparse, type Matrix, type SparseMatrix } from "../../base/matrix.js";
import { createRandom } from "../../base/random.js";
import { native } from "../native.js";
import { ExactIndex } from "./exact-index.js";
import { type ExactIndexOptions, NO_ITEM, type SimilarityQuery } from "./types.js";

function matrix(rows: readonly (readonly number[])[], cols = rows[0]?.length ?? 0): Matrix {
  return { data: Float32Array.from(rows.flat()), rows: rows.length, cols };
}

function csr(rows: readonly (readonly number[])[], cols: number): CsrMatrix {
  const indptr = new Uint32Array(rows.length + 1);
  rows.forEach((row, r) => {
    indptr[r + 1] = indptr[r]! + row.length;
  });
  return { indptr, indices: Uint32Array.from(rows.flat()), rows: rows.length, cols };
}

/** Small whole numbers: inner products are exact in float32, so that every backing must agree bit for bit. */
function wholeNumbers(seed: number, rows: number, cols: number): Matrix {
  const random = createRandom(seed, "exact-index-test");
  return { data: Float32Array.from({ length: rows * cols }, () => random.integer(-4, 5)), rows, cols };
}

/** Distinct columns of every row in an order of their own, with whole numbers of both signs; rows of 0 to `most` entries. */
function sparse(seed: number, rows: number, cols: number, most: number): SparseMatrix {
  const random = createRandom(seed, "sparse");
  const columns = Array.from({ length: rows }, () => {
    const count = random.integer(0, Math.min(cols, most) + 1);
    return random.shuffle(Array.from({ length: cols }, (_, i) => i)).slice(0, count);
  });
  const matrix = csr(columns, cols);
  return { ...matrix, values: Float32Array.from(matrix.indices, () => random.integer(-20, 21)) };
}

function dense({ indptr, indices, values, rows, cols }: SparseMatrix): Matrix {
  const data = new Float32Array(rows * cols);
  for (let r = 0; r < rows; r++) {
    for (let e = indptr[r]!; e < indptr[r + 1]!; e++) data[r * cols + indices[e]!] = values[e]!;
  }
  return { data, rows, cols };
}

/** Every score by the formula, item by item in double precision; undefined where the query must not return the item. */
function naiveScores(items: Matrix, query: SimilarityQuery, bias?: Float32Array): (number | undefined)[][] {
  const { queries, interestsPerQuery: count = 1, offsets, readout = "max", exclude, filter, additive } = query;
  return Array.from({ length: queries.rows / count }, (_, q) => {
    const excluded = new Set(exclude?.indices.subarray(exclude.indptr[q], exclude.indptr[q + 1]));
    return Array.from({ length: items.rows }, (_, i) => {
      const terms = Array.from({ length: count }, (_, j) => {
        let term = offsets?.[q * count + j] ?? 0;
        if (term === Number.NEGATIVE_INFINITY) return term;
        for (let x = 0; x < items.cols; x++) {
          term += queries.data[(q * count + j) * items.cols + x]! * items.data[i * items.cols + x]!;
        }
        return term;
      }).filter((term) => term !== Number.NEGATIVE_INFINITY);
      const allowed = filter === undefined || ((filter[i >> 5]! >>> (i & 31)) & 1) === 1;
      if (terms.length === 0 || excluded.has(i) || !allowed) return undefined;
      const best = Math.max(...terms);
      const spread = terms.reduce((sum, term) => sum + Math.exp(term - best), 0);
      let score = (readout === "max" ? best : best + Math.log(spread)) + (bias?.[i] ?? 0);
      if (additive !== undefined && isSparse(additive)) {
        for (let e = additive.indptr[q]!; e < additive.indptr[q + 1]!; e++) {
          if (additive.indices[e] === i) score += additive.values[e]!;
        }
      } else if (additive !== undefined) {
        score += additive.data[q * items.rows + i]!;
      }
      return score;
    });
  });
}

// One item per corner of a square; item 3 repeats item 0.
const corners = matrix([
  [1, 0],
  [0, 1],
  [-1, 0],
  [1, 0],
  [3, 4],
]);

const backings: readonly { readonly name: string; readonly options: ExactIndexOptions }[] = [
  { name: "the TypeScript reference", options: { variant: "typescript" } },
  ...(native() === undefined ? [] : [{ name: "the addon", options: {} }]),
];

async function search(options: ExactIndexOptions, items: Matrix, query: SimilarityQuery) {
  using index = await ExactIndex.build(items, options);
  return index.search(query);
}

async function failure(run: () => Promise<unknown>): Promise<unknown> {
  try {
    await run();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe.each(backings)("exact search by $name", ({ options }) => {
  it("lists items by inner product, equal ones by ascending id", async () => {
    const found = await search(options, corners, { queries: matrix([[1, 0.5]]), k: 5 });
    expect([...found.ids]).toEqual([4, 0, 3, 1, 2]);
    expect([...found.scores]).toEqual([5, 1, 1, 0.5, -1]);
    expect([...found.counts]).toEqual([5]);
    expect([...found.interests]).toEqual([0, 0, 0, 0, 0]);
  });

  it("ranks by angle under cosine, whatever the lengths", async () => {
    const found = await search({ ...options, metric: "cosine" }, corners, { queries: matrix([[10, 0]]), k: 3 });
    expect([...found.ids]).toEqual([0, 3, 4]);
    expect(found.scores[0]).toBeCloseTo(1, 6);
    expect(found.scores[2]).toBeCloseTo(0.6, 6);
  });

  it("scores a zero vector 0 under cosine", async () => {
    const items = matrix([
      [0, 0],
      [-2, 0],
    ]);
    const found = await search({ ...options, metric: "cosine" }, items, { queries: matrix([[1, 0]]), k: 2 });
    expect([...found.ids]).toEqual([0, 1]);
    expect([...found.scores]).toEqual([0, -1]);
  });

  it("reduces a query's interests by their maximum and names the winner", async () => {
    const queries = matrix([
      [1, 0],
      [0, 2],
    ]);
    const found = await search(options, corners, { queries, k: 3, interestsPerQuery: 2 });
    expect([...found.ids]).toEqual([4, 1, 0]);
    expect([...found.scores]).toEqual([8, 2, 1]);
    expect([...found.interests]).toEqual([1, 1, 0]);
  });

  it("gives a tie between interests to the first of them", async () => {
    const queries = matrix([
      [1, 0],
      [1, 0],
    ]);
    const found = await search(options, corners, { queries, k: 1, interestsPerQuery: 2 });
    expect([...found.interests]).toEqual([0]);
  });

  it("reduces a query's interests by log-sum-exp with offsets and item bias", async () => {
    const queries = matrix([
      [1, 0],
      [0, 1],
    ]);
    const offsets = Float32Array.of(Math.log(0.25), Math.log(0.75));
    const bias = Float32Array.of(0, 0.5, 0, 0, -10);
    const found = await search({ ...options, bias }, corners, {
      queries,
      offsets,
      k: 2,
      interestsPerQuery: 2,
      readout: "log-sum-exp",
    });
    // Item 1: ln(.25 e^0 + .75 e^1) + .5; item 0: ln(.25 e^1 + .75 e^0).
    expect([...found.ids]).toEqual([1, 0]);
    expect(found.scores[0]).toBeCloseTo(Math.log(0.25 + 0.75 * Math.E) + 0.5, 5);
    expect(found.scores[1]).toBeCloseTo(Math.log(0.25 * Math.E + 0.75), 5);
    // Item 0's terms are 1 + ln .25 = -.39 and ln .75 = -.29: the prior outweighs the better inner product.
    expect([...found.interests]).toEqual([1, 1]);
  });

  it("does not read an interest whose offset is -Infinity", async () => {
    const queries = matrix([
      [Number.NaN, Number.NaN],
      [1, 0],
    ]);
    for (const readout of ["max", "log-sum-exp"] as const) {
      const offsets = Float32Array.of(Number.NEGATIVE_INFINITY, 0);
      const found = await search(options, corners, { queries, offsets, k: 1, interestsPerQuery: 2, readout });
      expect([found.ids[0], found.scores[0], found.interests[0]]).toEqual([4, 3, 1]);
    }
  });

  it("gives a query without any present interest an empty list", async () => {
    const found = await search(options, corners, {
      queries: matrix([
        [1, 0],
        [1, 0],
      ]),
      offsets: Float32Array.of(Number.NEGATIVE_INFINITY, 0),
      k: 2,
    });
    expect([...found.counts]).toEqual([0, 2]);
    expect([...found.ids]).toEqual([NO_ITEM, NO_ITEM, 4, 0]);
    expect([...found.scores.subarray(0, 2)]).toEqual([Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY]);
  });

  it("leaves excluded rows out, query by query, and shortens a list that runs out of items", async () => {
    const queries = matrix([
      [1, 0],
      [1, 0],
    ]);
    const found = await search(options, corners, { queries, k: 4, exclude: csr([[4, 0, 4], []], 5) });
    expect([...found.counts]).toEqual([3, 4]);
    expect([...found.row(0).ids]).toEqual([3, 1, 2]);
    expect([...found.row(1).ids]).toEqual([4, 0, 3, 1]);
    expect(found.ids[3]).toBe(NO_ITEM);
  });

  it("returns only what a filter allows, given as words or as bytes", async () => {
    const items = wholeNumbers(11, 70, 4);
    const query = { queries: wholeNumbers(12, 2, 4), k: 70 };
    const words = new Uint32Array(3);
    for (const item of [0, 7, 31, 32, 63, 69]) words[item >> 5]! |= 1 << (item & 31);
    const bytes = new Uint8Array(words.buffer).slice(0, 9);
    const found = await search(options, items, { ...query, filter: words });
    expect([...found.counts]).toEqual([6, 6]);
    expect([...found.row(1).ids].sort((a, b) => a - b)).toEqual([0, 7, 31, 32, 63, 69]);
    expect((await search(options, items, { ...query, filter: bytes })).ids).toEqual(found.ids);
    expect((await search(options, items, { ...query, filter: new Uint32Array(3) })).counts).toEqual(new Uint32Array(2));
  });

  it("adds a query's own scores of the items, dense or sparse", async () => {
    const queries = matrix([
      [1, 0.5],
      [1, 0.5],
    ]);
    const additive = matrix([
      [0, 0, 5.5, 0, -5],
      [0, 0, 0, 0, 0],
    ]);
    const entries = { ...csr([[4, 2], []], 5), values: Float32Array.of(-5, 5.5) };
    for (const given of [additive, entries]) {
      const found = await search(options, corners, { queries, k: 4, additive: given });
      expect([...found.row(0).ids]).toEqual([2, 0, 3, 1]);
      expect([...found.row(0).scores]).toEqual([4.5, 1, 1, 0.5]);
      expect([...found.row(1).ids]).toEqual([4, 0, 3, 1]);
      expect([...found.row(1).scores]).toEqual([5, 1, 1, 0.5]);
    }
  });

  it("adds after the readout, so that the interest stays the one with the largest term", async () => {
    const queries = matrix([
      [1, 0],
      [0, 2],
    ]);
    const additive = matrix([[10, 0, 20, 0, 0]]);
    const found = await search(options, corners, { queries, k: 3, interestsPerQuery: 2, additive });
    expect([...found.ids]).toEqual([2, 0, 4]);
    expect([...found.scores]).toEqual([20, 11, 8]);
    expect([...found.interests]).toEqual([1, 0, 1]);
  });

  it("gives a query without a present interest an empty list, whatever is added", async () => {
    const query = { queries: matrix([[1, 0]]), offsets: Float32Array.of(Number.NEGATIVE_INFINITY), k: 2 };
    const found = await search(options, corners, { ...query, additive: matrix([[1, 2, 3, 4, 5]]) });
    expect([...found.counts]).toEqual([0]);
    expect([...found.ids]).toEqual([NO_ITEM, NO_ITEM]);
  });

  it("finds the best k by the formula, with everything at once", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          seed: fc.integer(),
          items: fc.integer({ min: 1, max: 300 }),
          users: fc.integer({ min: 1, max: 5 }),
          interests: fc.integer({ min: 1, max: 4 }),
          share: fc.double({ min: 0.01, max: 1, noNaN: true }),
          readout: fc.constantFrom("max" as const, "log-sum-exp" as const),
          form: fc.constantFrom("dense" as const, "sparse" as const),
          biased: fc.boolean(),
        }),
        async ({ seed, items: rows, users, interests, share, readout, form, biased }) => {
          const random = createRandom(seed, "formula");
          const items = wholeNumbers(seed, rows, 6);
          const entries = sparse(seed, users, rows, 40);
          const query: SimilarityQuery = {
            queries: wholeNumbers(seed + 1, users * interests, 6),
            k: Math.max(1, Math.floor(share * rows)),
            interestsPerQuery: interests,
            offsets: Float32Array.from({ length: users * interests }, () =>
              random.uniform() < 0.2 ? Number.NEGATIVE_INFINITY : random.integer(-2, 3),
            ),
            readout,
            exclude: csr(
              Array.from({ length: users }, () => Array.from({ length: 9 }, () => random.integer(0, rows))),
              rows,
            ),
            filter: Uint32Array.from({ length: Math.ceil(rows / 32) }, () => random.integer(0, 2 ** 32)),
            additive: form === "dense" ? wholeNumbers(seed + 3, users, rows) : entries,
          };
          const bias = biased ? wholeNumbers(seed + 2, rows, 1).data : undefined;
          const found = await search({ ...options, ...(bias === undefined ? {} : { bias }) }, items, query);
          for (const [q, naive] of naiveScores(items, query, bias).entries()) {
            const { ids, scores } = found.row(q);
            const wanted = naive.filter((score) => score !== undefined).sort((a, b) => b - a);
            expect(new Set(ids).size).toBe(Math.min(query.k, wanted.length));
            // Whole numbers leave nothing to round but the sum of exponentials.
            for (const [n, id] of ids.entries()) {
              expect(Math.abs(scores[n]! - naive[id]!)).toBeLessThan(readout === "max" ? 1e-30 : 1e-4);
              expect(Math.abs(scores[n]! - wanted[n]!)).toBeLessThan(readout === "max" ? 1e-30 : 1e-4);
            }
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it("takes sparse additive scores for their dense form", async () => {
    const items = wholeNumbers(21, 500, 8);
    const entries = sparse(22, 7, 500, 60);
    for (const readout of ["max", "log-sum-exp"] as const) {
      const query = { queries: wholeNumbers(23, 21, 8), k: 90, interestsPerQuery: 3, readout };
      const few = await search(options, items, { ...query, additive: entries });
      const all = await search(options, items, { ...query, additive: dense(entries) });
      expect([few.ids, few.scores, few.interests, few.counts]).toEqual([
        all.ids,
        all.scores,
        all.interests,
        all.counts,
      ]);
    }
  });

  it("refuses additive scores that are not finite or could overflow, or two of one query and item", async () => {
    const query = { queries: matrix([[1, 0]]), k: 1 };
    const entries = (indices: number[], ...values: number[]) => ({
      ...csr([indices], 5),
      values: Float32Array.from(values),
    });
    const wrong: readonly [Matrix | SparseMatrix, "INVALID_ARGUMENT" | "SHAPE_MISMATCH" | "NON_FINITE"][] = [
      [matrix([[0, 0, Number.NaN, 0, 0]]), "NON_FINITE"],
      [matrix([[0, 0, 0, 0, Number.NEGATIVE_INFINITY]]), "NON_FINITE"],
      [matrix([[0, 0, 0, 0, -3.2e38]]), "NON_FINITE"],
      [matrix([[0, 0, 0, 0]]), "SHAPE_MISMATCH"],
      [matrix([[], []], 5), "SHAPE_MISMATCH"],
      [entries([1, 3], 1, Number.POSITIVE_INFINITY), "NON_FINITE"],
      [entries([1, 3], 3.2e38, 1), "NON_FINITE"],
      [entries([1, 3], 1), "SHAPE_MISMATCH"],
      [entries([5], 1), "INVALID_ARGUMENT"],
      [entries([1, 3, 1], 1, 1, 1), "INVALID_ARGUMENT"],
      [{ ...entries([1, 3], 1, 1), cols: 6 }, "SHAPE_MISMATCH"],
      [{ ...entries([1], 1), values: undefined as never }, "INVALID_ARGUMENT"],
    ];
    for (const [additive, code] of wrong) {
      expect(isPrismrecError(await failure(() => search(options, corners, { ...query, additive })), code)).toBe(true);
    }
    using index = ExactIndex.buildSync(corners, options);
    expect(() => index.searchSync({ ...query, additive: entries([2, 2], 1, 1) })).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT" }),
    );
  });

  it("does not add on a GPU, and takes the processor where it may choose", async () => {
    const query = { queries: matrix([[1, 0]]), k: 1, additive: matrix([[0, 9, 0, 0, 0]]) };
    for (const where of [{ device: "cuda" }, { variant: "cuda" }] as const) {
      const error = await failure(() => search(options, corners, { ...query, ...where }));
      expect(isPrismrecError(error, "INVALID_ARGUMENT")).toBe(true);
    }
    expect((await search(options, corners, { ...query, device: "auto" })).ids[0]).toBe(1);
  });

  it("says how many pairs of an interest and an item it read and scored", async () => {
    const { touched } = await search(options, corners, { queries: matrix([[1, 0]]), k: 1 });
    expect(touched).toEqual({ read: 5, scored: 5 });
  });

  it("returns the whole index in order when k is its size", async () => {
    const items = wholeNumbers(1, 1500, 9);
    const found = await search(options, items, { queries: wholeNumbers(2, 2, 9), k: 1500 });
    expect([...found.counts]).toEqual([1500, 1500]);
    for (const q of [0, 1]) expect(new Set(found.row(q).ids).size).toBe(1500);
    for (let n = 1; n < 1500; n++) {
      const [before, here] = [found.scores[n - 1]!, found.scores[n]!];
      expect(before > here || (before === here && found.ids[n - 1]! < found.ids[n]!)).toBe(true);
    }
  });

  it("answers no queries with no lists", async () => {
    const found = await search(options, corners, { queries: matrix([], 2), k: 2 });
    expect(found.counts).toHaveLength(0);
    expect(found.ids).toHaveLength(0);
  });

  it("keeps its own copy of the items and their bias", async () => {
    const items = matrix([[1], [2]]);
    const bias = Float32Array.of(0, 0);
    using index = await ExactIndex.build(items, { ...options, bias });
    items.data.fill(0);
    bias[0] = 100;
    const found = await index.search({ queries: matrix([[1]]), k: 2 });
    expect([...found.ids]).toEqual([1, 0]);
    expect([...found.scores]).toEqual([2, 1]);
  });

  it("gives the same lists on the calling thread", async () => {
    const items = wholeNumbers(3, 700, 12);
    const query = { queries: wholeNumbers(4, 6, 12), k: 20, interestsPerQuery: 3 };
    using index = ExactIndex.buildSync(items, options);
    const [now, later] = [index.searchSync(query), await index.search(query)];
    expect(now.ids).toEqual(later.ids);
    expect(now.scores).toEqual(later.scores);
    expect(now.interests).toEqual(later.interests);
  });

  it("refuses numbers that are not finite, in items, bias, queries and offsets", async () => {
    const bad = matrix([[Number.NaN, 0]]);
    const query = { queries: matrix([[1, 0]]), k: 1 };
    const infinite = Float32Array.of(Number.POSITIVE_INFINITY, 0, 0, 0, 0);
    const errors = [
      await failure(() => search(options, bad, query)),
      await failure(() => search({ ...options, bias: infinite }, corners, query)),
      await failure(() => search(options, corners, { ...query, queries: bad })),
      await failure(() => search(options, corners, { ...query, offsets: Float32Array.of(Number.NaN) })),
      await failure(() => search(options, corners, { ...query, offsets: Float32Array.of(Number.POSITIVE_INFINITY) })),
    ];
    for (const error of errors) expect(isPrismrecError(error, "NON_FINITE")).toBe(true);
  });

  it("refuses vectors whose inner products would overflow", async () => {
    const large = matrix([[2e30]]);
    expect(isPrismrecError(await failure(() => search(options, large, { queries: large, k: 1 })), "NON_FINITE")).toBe(
      true,
    );
  });

  it("rejects with the signal's own reason", async () => {
    using index = await ExactIndex.build(corners, options);
    const reason = new Error("enough");
    const signal = AbortSignal.abort(reason);
    expect(await failure(() => index.search({ queries: matrix([[1, 0]]), k: 1 }, { signal }))).toBe(reason);
    expect(await failure(() => ExactIndex.build(corners, { ...options, signal }))).toBe(reason);
  });

  it("names what is wrong with an argument", async () => {
    using index = await ExactIndex.build(corners, options);
    const query = { queries: matrix([[1, 0]]), k: 1 };
    const wrong: readonly [SimilarityQuery, "INVALID_ARGUMENT" | "SHAPE_MISMATCH", string][] = [
      [{ ...query, k: 0 }, "INVALID_ARGUMENT", "1 to 5"],
      [{ ...query, k: 6 }, "INVALID_ARGUMENT", "1 to 5"],
      [{ ...query, k: 1.5 }, "INVALID_ARGUMENT", "1 to 5"],
      [{ ...query, queries: matrix([[1]]) }, "SHAPE_MISMATCH", "2 columns"],
      [{ ...query, interestsPerQuery: 2 }, "SHAPE_MISMATCH", "a multiple of 2 rows"],
      [{ ...query, interestsPerQuery: 0 }, "INVALID_ARGUMENT", "1 to 65535"],
      [{ ...query, offsets: new Float32Array(2) }, "SHAPE_MISMATCH", "1"],
      [{ ...query, filter: new Uint32Array(2) }, "SHAPE_MISMATCH", "1"],
      [{ ...query, filter: new Uint8Array(2) }, "SHAPE_MISMATCH", "1"],
      [{ ...query, exclude: csr([[5]], 5) }, "INVALID_ARGUMENT", "0 to 4"],
      [{ ...query, exclude: csr([[0], [0]], 5) }, "SHAPE_MISMATCH", "1 x 5"],
    ];
    for (const [bad, code, expected] of wrong) {
      const error = await failure(() => index.search(bad));
      expect(isPrismrecError(error, code) && error.expected).toBe(expected);
    }
    for (const bad of [matrix([], 3), { data: new Float32Array(0), rows: 1, cols: 0 }]) {
      expect(isPrismrecError(await failure(() => ExactIndex.build(bad, options)), "INVALID_ARGUMENT")).toBe(true);
    }
    const short = { data: new Float32Array(3), rows: 2, cols: 2 };
    expect(isPrismrecError(await failure(() => ExactIndex.build(short, options)), "SHAPE_MISMATCH")).toBe(true);
  });

  it("finds the same list whatever order the items are stored in", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.integer({ min: 1, max: 40 }), async (seed, rows) => {
        const cols = 5;
        const random = createRandom(seed, "permutation");
        // Distinct by construction (the first column), so that no tie depends on the order.
        const items = wholeNumbers(seed, rows, cols);
        for (let i = 0; i < rows; i++) items.data[i * cols] = i * 100;
        const order = random.shuffle(Array.from({ length: rows }, (_, i) => i));
        const moved = {
          ...items,
          data: Float32Array.from(order.flatMap((i) => [...items.data.subarray(i * cols, (i + 1) * cols)])),
        };
        const queries = matrix([[1, 1, -2, 3, 1]]);
        const straight = await search(options, items, { queries, k: rows });
        const permuted = await search(options, moved, { queries, k: rows });
        expect(Array.from(permuted.ids, (id) => order[id])).toEqual([...straight.ids]);
        expect(permuted.scores).toEqual(straight.scores);
      }),
      { numRuns: 30 },
    );
  });
});

describe("an exact index", () => {
  it("refuses every use after it has been disposed of, and may be disposed of twice", async () => {
    const index = await ExactIndex.build(corners);
    expect(index.disposed).toBe(false);
    index.dispose();
    index[Symbol.dispose]();
    expect(index.disposed).toBe(true);
    const query = { queries: matrix([[1, 0]]), k: 1 };
    expect(isPrismrecError(await failure(() => index.search(query)), "DISPOSED")).toBe(true);
    expect(() => index.searchSync(query)).toThrow(expect.objectContaining({ code: "DISPOSED" }));
  });

  it("lets a search under way end when it is disposed of meanwhile", async () => {
    const index = await ExactIndex.build(wholeNumbers(5, 3000, 16));
    const pending = index.search({ queries: wholeNumbers(6, 40, 16), k: 10 });
    index.dispose();
    expect((await pending).counts[0]).toBe(10);
  });

  describe.skipIf(native() === undefined)("in a file", () => {
    let folder: string;
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), "prismrec-index-"));
    });
    afterAll(() => rm(folder, { recursive: true, force: true }));

    it("answers as the one that was saved", async () => {
      const path = join(folder, "items.index");
      const query = { queries: wholeNumbers(13, 3, 12), k: 40 };
      using index = await ExactIndex.build(wholeNumbers(14, 900, 12), { metric: "cosine" });
      await index.save(path);
      using opened = await ExactIndex.open(path);
      expect([opened.size, opened.dim, opened.metric, opened.bytes]).toEqual([900, 12, "cosine", index.bytes]);
      expect((await stat(path)).size).toBe(index.bytes);
      using mapped = await ExactIndex.open(path, { mapped: true });
      const expected = await index.search(query);
      for (const found of [await opened.search(query), await mapped.search(query)]) {
        expect(found.ids).toEqual(expected.ids);
        expect(found.scores).toEqual(expected.scores);
      }
    });

    it("is replaced under those who have opened it, and what an aborted save leaves is the old one", async () => {
      const path = join(folder, "replaced.index");
      const query = { queries: wholeNumbers(13, 3, 12), k: 5 };
      using first = await ExactIndex.build(wholeNumbers(14, 900, 12));
      using second = await ExactIndex.build(wholeNumbers(15, 400, 12));
      await first.save(path);
      using read = await ExactIndex.open(path);
      using mapped = await ExactIndex.open(path, { mapped: true });
      await second.save(path);
      const expected = (await first.search(query)).ids;
      expect((await read.search(query)).ids).toEqual(expected);
      expect((await mapped.search(query)).ids).toEqual(expected);
      const reason = new Error("enough");
      expect(await failure(() => first.save(path, { signal: AbortSignal.abort(reason) }))).toBe(reason);
      expect(await failure(() => ExactIndex.open(path, { signal: AbortSignal.abort(reason) }))).toBe(reason);
      using now = await ExactIndex.open(path);
      expect(now.size).toBe(400);
      expect((await readdir(folder)).filter((name) => name.startsWith("replaced"))).toEqual(["replaced.index"]);
    });

    it("keeps every item, however it is damaged, or is refused", async () => {
      const path = join(folder, "flipped.index");
      const query = { queries: wholeNumbers(13, 3, 12), k: 40 };
      using index = await ExactIndex.build(wholeNumbers(14, 900, 12), { bias: wholeNumbers(16, 900, 1).data });
      await index.save(path);
      const [bytes, expected] = [await readFile(path), await index.search(query)];
      const random = createRandom(1, "damage");
      for (let round = 0; round < 60; round++) {
        const damaged = Buffer.from(bytes);
        damaged[random.integer(0, damaged.length)]! ^= 1 << random.integer(0, 8);
        await writeFile(path, damaged);
        const opened = await ExactIndex.open(path).catch((error: unknown) => {
          expect(isPrismrecError(error, "DATA_FORMAT")).toBe(true);
        });
        if (opened) expect((await opened.search(query)).scores).toEqual(expected.scores);
        opened?.dispose();
      }
    });

    it("is refused where it is missing, foreign or cut short", async () => {
      const path = join(folder, "damaged.index");
      using index = await ExactIndex.build(corners);
      await index.save(path);
      const bytes = await readFile(path);
      expect(isPrismrecError(await failure(() => ExactIndex.open(join(folder, "none"))), "FILE_NOT_FOUND")).toBe(true);
      for (const content of [bytes.subarray(0, -64), Buffer.alloc(0), Buffer.alloc(300, "some other file")]) {
        await writeFile(path, content);
        expect(isPrismrecError(await failure(() => ExactIndex.open(path)), "DATA_FORMAT")).toBe(true);
      }
      expect(isPrismrecError(await failure(() => index.save(join(path, "below"))), "IO")).toBe(true);
    });
  });

  it.skipIf(native() === undefined)("adds what it was given when it was called, given away since or not", async () => {
    const entries = sparse(26, 40, 3000, 60);
    using index = await ExactIndex.build(wholeNumbers(24, 3000, 8));
    const query = { queries: wholeNumbers(25, 40, 8), k: 20 };
    for (const additive of [dense(entries), entries]) {
      const expected = await index.search({ ...query, additive });
      const pending = index.search({ ...query, additive });
      const arrays = isSparse(additive) ? [additive.indices, additive.indptr, additive.values] : [additive.data];
      for (const { buffer } of arrays) structuredClone(buffer, { transfer: [buffer as ArrayBuffer] });
      const found = await pending;
      expect([found.ids, found.scores]).toEqual([expected.ids, expected.scores]);
    }
  });

  it.skipIf(native() === undefined)("gives its native memory back when it is disposed of", () => {
    const items = wholeNumbers(7, 16_384, 64);
    const build = (times: number) => {
      for (let n = 0; n < times; n++) ExactIndex.buildSync(items).dispose();
      return process.memoryUsage.rss();
    };
    const before = build(20);
    // 4 MiB each: kept, they would take 800 MiB.
    expect(build(200) - before).toBeLessThan(200 * 2 ** 20);
  });

  it.skipIf(native() === undefined)("gives the same bits with and without the addon on whole numbers", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          seed: fc.integer(),
          items: fc.integer({ min: 1, max: 700 }),
          queries: fc.integer({ min: 1, max: 9 }),
          interests: fc.integer({ min: 1, max: 5 }),
          dim: fc.integer({ min: 1, max: 70 }),
          share: fc.double({ min: 0.01, max: 1, noNaN: true }),
        }),
        async ({ seed, items, queries, interests, dim, share }) => {
          const random = createRandom(seed, "both");
          const query: SimilarityQuery = {
            queries: wholeNumbers(seed + 1, queries * interests, dim),
            k: Math.max(1, Math.floor(share * items)),
            interestsPerQuery: interests,
            offsets: Float32Array.from({ length: queries * interests }, () =>
              random.uniform() < 0.2 ? Number.NEGATIVE_INFINITY : random.integer(-2, 3),
            ),
            exclude: csr(
              Array.from({ length: queries }, () =>
                Array.from({ length: random.integer(0, 20) }, () => random.integer(0, items)),
              ),
              items,
            ),
          };
          const table = wholeNumbers(seed, items, dim);
          const bias = wholeNumbers(seed + 2, items, 1).data;
          const ours = await search({ bias }, table, query);
          const reference = await search({ bias, variant: "typescript" }, table, query);
          expect(ours.counts).toEqual(reference.counts);
          expect(ours.ids).toEqual(reference.ids);
          expect(ours.scores).toEqual(reference.scores);
          expect(ours.interests).toEqual(reference.interests);
        },
      ),
      { numRuns: 40 },
    );
  });
});
