import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CsrMatrix } from "../../base/matrix.js";
import { createRandom } from "../../base/random.js";
import { native } from "../native.js";
import { maxCover, maxCoverSync } from "./max-cover.js";
import type { MaxCoverOptions, MaxCoverProblem } from "./types.js";

const UNIT = 2 ** -16;

function problem(sets: readonly (readonly number[])[], elements: number): { sets: CsrMatrix } {
  const indptr = new Uint32Array(sets.length + 1);
  sets.forEach((set, s) => {
    indptr[s + 1] = indptr[s]! + set.length;
  });
  return { sets: { indptr, indices: Uint32Array.from(sets.flat()), rows: sets.length, cols: elements } };
}

function setOf({ sets }: MaxCoverProblem, s: number): Uint32Array {
  return sets.indices.subarray(sets.indptr[s]!, sets.indptr[s + 1]!);
}

/** The objective itself, on weights rounded as the operation rounds them. */
function coverValue(problem: MaxCoverProblem, chosen: Iterable<number>, repeats: number): number {
  const count = new Map<number, number>();
  for (const s of chosen) for (const element of setOf(problem, s)) count.set(element, (count.get(element) ?? 0) + 1);
  let value = 0;
  for (const [element, times] of count) {
    value += Math.round((problem.weights?.[element] ?? 1) / UNIT) * UNIT * Math.min(times, repeats);
  }
  return value;
}

/** Greedy as written in a textbook: every step evaluates the objective for every set anew. */
function naiveGreedy(problem: MaxCoverProblem, maxSets: number, repeats: number): number[] {
  const chosen: number[] = [];
  while (chosen.length < maxSets) {
    const base = coverValue(problem, chosen, repeats);
    let [best, bestGain] = [-1, 0];
    for (let s = 0; s < problem.sets.rows; s++) {
      if (chosen.includes(s)) continue;
      const gain = coverValue(problem, [...chosen, s], repeats) - base;
      if (gain > bestGain) [best, bestGain] = [s, gain];
    }
    if (best < 0) break;
    chosen.push(best);
  }
  return chosen;
}

/** The optimum by trying every selection within the budgets. */
function bruteForce(problem: MaxCoverProblem, options: MaxCoverOptions): number {
  const count = problem.sets.rows;
  let best = 0;
  for (let mask = 0; mask < 2 ** count; mask++) {
    const chosen = Array.from({ length: count }, (_, s) => s).filter((s) => (mask >> s) & 1);
    const cost = chosen.reduce((sum, s) => sum + (problem.costs?.[s] ?? 1), 0);
    if (chosen.length > (options.maxSets ?? count) || cost > (options.maxCost ?? Number.POSITIVE_INFINITY)) continue;
    best = Math.max(best, coverValue(problem, chosen, options.repeats ?? 1));
  }
  return best;
}

function randomProblem(seed: number, maxSets: number, maxElements: number): Required<MaxCoverProblem> {
  const random = createRandom(seed, "max-cover-test");
  const elements = random.integer(1, maxElements + 1);
  const sets = Array.from({ length: random.integer(1, maxSets + 1) }, () => {
    const density = random.uniform();
    return Array.from({ length: elements }, (_, e) => e).filter(() => random.uniform() < density);
  });
  return {
    ...problem(sets, elements),
    // Half of the problems have few distinct weights, so that ties are common.
    weights: Float32Array.from({ length: elements }, () =>
      seed % 2 === 0 ? random.integer(0, 3) : 3 * random.uniform(),
    ),
    costs: Float32Array.from(sets, () => random.integer(1, 8)),
  };
}

const variants = native() === undefined ? ["typescript"] : ["typescript", "reference", "scalar", undefined];

describe.each(variants)("max cover (%s)", (name) => {
  const variant = name === undefined ? {} : { variant: name };
  // Weights 1..5; set 0 = {0, 1}, 1 = {4}, 2 = {2, 3}, 3 = {3, 4}.
  const small = {
    ...problem([[0, 1], [4], [2, 3], [3, 4]], 5),
    weights: Float32Array.of(1, 2, 3, 4, 5),
  };

  it("picks the set that adds most weight, step by step", async () => {
    const found = await maxCover(small, { maxSets: 3, ...variant });
    expect([...found.selected]).toEqual([3, 0, 2]);
    expect([...found.gains]).toEqual([9, 3, 3]);
    expect(found).toMatchObject({ value: 15, attainable: 15, coverage: 1, upperBound: 15, cost: 3, rule: "gain" });
  });

  it("lets an element count as often as `repeats` says", async () => {
    const found = await maxCover(small, { repeats: 2, ...variant });
    // After {3, 4} every set still has its full gain: {2, 3} adds 7, {4} adds 5, {0, 1} adds 3.
    expect([...found.selected]).toEqual([3, 2, 1, 0]);
    expect([...found.gains]).toEqual([9, 7, 5, 3]);
    expect(found.attainable).toBe(24);
  });

  it("gives ties to the lowest set", async () => {
    const found = await maxCover(problem([[1], [0], [1], [0, 1]], 2), { maxSets: 1, ...variant });
    expect([...found.selected]).toEqual([3]);
    const tied = await maxCover(problem([[], [1], [0], [1]], 2), { ...variant });
    expect([...tied.selected]).toEqual([1, 2]);
  });

  it("stops when no set adds `minGain`", async () => {
    const found = await maxCover(small, { minGain: 3.5, ...variant });
    expect([...found.selected]).toEqual([3]);
    expect(found.upperBound).toBe(15);
  });

  it("bounds the optimum below the whole when the budget is small", async () => {
    const found = await maxCover(
      problem(
        [
          [0, 1],
          [2, 3],
          [4, 5],
        ],
        6,
      ),
      { maxSets: 2, ...variant },
    );
    expect(found).toMatchObject({ value: 4, attainable: 6, upperBound: 4 });
  });

  it("takes the better of the two greedies under a cost budget", async () => {
    // Ratio greedy buys set 1 (2 for 1) and can no longer pay for set 0 (9 for 10); gain greedy buys set 0.
    const large = { ...problem([[0], [1]], 2), weights: Float32Array.of(9, 2), costs: Float32Array.of(10, 1) };
    const gain = await maxCover(large, { maxCost: 10, ...variant });
    expect([...gain.selected]).toEqual([0]);
    expect(gain).toMatchObject({ value: 9, cost: 10, rule: "gain" });
    // Gain greedy buys set 0 (5 for 4) and has nothing left; ratio greedy buys sets 1 and 2 (4 for 2 each).
    const cheap = {
      ...problem([[0], [1], [2]], 3),
      weights: Float32Array.of(5, 4, 4),
      costs: Float32Array.of(4, 2, 2),
    };
    const ratio = await maxCover(cheap, { maxCost: 4, ...variant });
    expect([...ratio.selected]).toEqual([1, 2]);
    expect(ratio).toMatchObject({ value: 8, cost: 4, rule: "ratio", upperBound: 8 });
  });

  it("keeps both budgets at once", async () => {
    const both = { ...problem([[0], [1], [2]], 3), costs: Float32Array.of(1, 1, 1) };
    expect((await maxCover(both, { maxSets: 1, maxCost: 3, ...variant })).selected).toHaveLength(1);
    expect((await maxCover(both, { maxSets: 3, maxCost: 2, ...variant })).selected).toHaveLength(2);
    expect((await maxCover(both, { maxSets: 3, maxCost: 0.5, ...variant })).selected).toHaveLength(0);
  });

  it("selects nothing where nothing can be gained", async () => {
    for (const empty of [problem([], 0), problem([[], []], 3), { ...problem([[0]], 1), weights: Float32Array.of(0) }]) {
      const found = await maxCover(empty, { ...variant });
      expect(found.selected).toHaveLength(0);
      expect(found).toMatchObject({ value: 0, attainable: 0, coverage: 1, upperBound: 0 });
    }
    expect((await maxCover(small, { maxSets: 0, ...variant })).selected).toHaveLength(0);
  });

  it("picks what the textbook's greedy picks, on 200 random problems, lazily too", () => {
    for (let seed = 0; seed < 200; seed++) {
      const { costs: _, ...random } = randomProblem(seed, 14, 20);
      const [maxSets, repeats] = [1 + (seed % 9), 1 + (seed % 3)];
      const naive = naiveGreedy(random, maxSets, repeats);
      const found = maxCoverSync(random, { maxSets, repeats, ...variant });
      expect([...found.selected]).toEqual(naive);
      expect(found.value).toBe(coverValue(random, naive, repeats));
      const lazy = maxCoverSync(random, { maxSets, repeats, ...variant, solver: "lazy" });
      expect([...lazy.selected]).toEqual(naive);
      expect([...lazy.gains]).toEqual([...found.gains]);
    }
  });

  it("reaches (1 - 1/e) of the optimum and never bounds it from below", () => {
    for (let seed = 0; seed < 60; seed++) {
      const { costs: _, ...random } = randomProblem(seed, 8, 12);
      const options = { maxSets: 1 + (seed % 4), repeats: 1 + (seed % 2) };
      const optimum = bruteForce(random, options);
      for (const solver of ["exact", "lazy", "stochastic"] as const) {
        const found = maxCoverSync(random, { ...options, solver, ...variant });
        expect(found.upperBound).toBeGreaterThanOrEqual(optimum);
        if (solver !== "stochastic") expect(found.value).toBeGreaterThanOrEqual((1 - 1 / Math.E) * optimum);
      }
    }
  });

  it("reaches half of (1 - 1/e) under costs, within the budget and with a valid bound", () => {
    for (let seed = 0; seed < 60; seed++) {
      const random = randomProblem(seed, 8, 12);
      const options = { maxCost: 3 + (seed % 17), repeats: 1 + (seed % 2) };
      const optimum = bruteForce(random, options);
      for (const solver of ["exact", "lazy"] as const) {
        const found = maxCoverSync(random, { ...options, solver, ...variant });
        expect(found.cost).toBeLessThanOrEqual(options.maxCost);
        expect(found.value).toBeGreaterThanOrEqual(0.5 * (1 - 1 / Math.E) * optimum);
        expect(found.upperBound).toBeGreaterThanOrEqual(optimum);
      }
    }
  });

  it("adds ever less, and reports the value of what it selected", () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 4 }), (seed, repeats) => {
        const { costs: _, ...random } = randomProblem(seed, 30, 40);
        const found = maxCoverSync(random, { repeats, ...variant });
        for (let n = 1; n < found.gains.length; n++) expect(found.gains[n]!).toBeLessThanOrEqual(found.gains[n - 1]!);
        expect(found.value).toBe(coverValue(random, found.selected, repeats));
        expect(found.value).toBe(found.gains.reduce((sum, gain) => sum + gain, 0));
        // Without a budget the greedy algorithm covers all there is.
        expect(found.value).toBe(found.attainable);
      }),
      { numRuns: 60 },
    );
  });

  it("samples by seed: the same seed the same selection, within the budget and of distinct sets", () => {
    const random = randomProblem(77, 400, 300);
    const options = { maxSets: 25, solver: "stochastic", ...variant } as const;
    const [first, again] = [
      maxCoverSync(random, { ...options, seed: 5 }),
      maxCoverSync(random, { ...options, seed: 5 }),
    ];
    expect(again.selected).toEqual(first.selected);
    expect(new Set(first.selected).size).toBe(first.selected.length);
    expect(first.selected.length).toBeLessThanOrEqual(25);
    expect(first.value).toBe(coverValue(random, first.selected, 1));
  });

  it("names what is wrong with an argument", async () => {
    const wrong: readonly [MaxCoverProblem, MaxCoverOptions, string][] = [
      [{ ...small, weights: Float32Array.of(1) }, {}, "SHAPE_MISMATCH"],
      [{ ...small, weights: Float32Array.of(1, 2, -3, 4, 5) }, {}, "INVALID_ARGUMENT"],
      [{ ...small, weights: Float32Array.of(1, 2, Number.NaN, 4, 5) }, {}, "NON_FINITE"],
      [{ ...small, weights: Float32Array.of(1, 2, 1e30, 4, 5) }, {}, "INVALID_ARGUMENT"],
      [{ ...small, costs: Float32Array.of(1, 1, 0, 1) }, {}, "INVALID_ARGUMENT"],
      [problem([[0, 1, 0]], 2), {}, "INVALID_ARGUMENT"],
      [problem([[1, 0, 1]], 2), {}, "INVALID_ARGUMENT"],
      [problem([[2]], 2), {}, "INVALID_ARGUMENT"],
      [problem([[2, 0]], 2), {}, "INVALID_ARGUMENT"],
      [{ sets: { ...small.sets, indptr: Uint32Array.of(0, 2, 3, 1, 7) } }, {}, "INVALID_ARGUMENT"],
      [{ sets: { ...small.sets, indptr: Uint32Array.of(1, 2, 3, 5, 7) } }, {}, "INVALID_ARGUMENT"],
      [{ sets: { ...small.sets, indptr: Uint32Array.of(0, 2, 3, 5, 6) } }, {}, "SHAPE_MISMATCH"],
      [{ sets: { ...small.sets, rows: 3 } }, {}, "SHAPE_MISMATCH"],
      [small, { maxSets: -1 }, "INVALID_ARGUMENT"],
      [small, { maxCost: 3 }, "INVALID_ARGUMENT"],
      [small, { repeats: 0 }, "INVALID_ARGUMENT"],
      [small, { minGain: Number.NaN }, "INVALID_ARGUMENT"],
      [small, { sampleLoss: 1 }, "INVALID_ARGUMENT"],
    ];
    for (const [bad, options, code] of wrong) {
      await expect(maxCover(bad, { ...options, ...variant })).rejects.toMatchObject({ name: "PrismrecError", code });
    }
  });

  it("rejects with the signal's own reason", async () => {
    const reason = new Error("enough");
    await expect(maxCover(small, { ...variant }, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});

describe("max cover", () => {
  it.skipIf(native() === undefined)("gives the same answer with and without the addon, costs and samples too", () => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.constantFrom("exact" as const, "lazy" as const, "stochastic" as const),
        fc.integer({ min: 1, max: 40 }),
        (seed, solver, maxCost) => {
          const random = randomProblem(seed, 60, 50);
          const options = { solver, maxCost, maxSets: 12, repeats: 2, seed: seed >>> 0 };
          expect(maxCoverSync(random, options)).toEqual(maxCoverSync(random, { ...options, variant: "typescript" }));
        },
      ),
      { numRuns: 100 },
    );
  });
});
