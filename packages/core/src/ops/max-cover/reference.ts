import type { CsrMatrix } from "../../base/matrix.js";
import type { MaxCoverSolver } from "./types.js";

/** Weights are whole numbers of 2^-16, so that gains, their sums and their ties are exact. */
export const WEIGHT_UNIT = 65536;

/** Up to here every prefix of a selection is asked for its bound; beyond, the empty one and the whole selection. */
const EVERY_PREFIX = 2 ** 20;

/** A checked problem with every default filled in; the C++ `MaxCoverArgs` in TypeScript. */
export interface CoverInput {
  readonly sets: CsrMatrix;
  readonly weights: Float32Array | undefined;
  readonly costs: Float32Array | undefined;
  readonly maxSets: number;
  readonly maxCost: number;
  readonly repeats: number;
  readonly minGain: number;
  readonly solver: MaxCoverSolver;
  readonly sampleLoss: number;
  readonly seed: number;
}

export interface CoverOutput {
  readonly selected: Uint32Array;
  readonly gains: Float64Array;
  readonly value: number;
  readonly attainable: number;
  readonly upperBound: number;
  readonly cost: number;
  readonly rule: "gain" | "ratio";
}

interface Run {
  readonly picks: number[];
  readonly gains: number[];
  readonly value: number;
  readonly bound: number;
  readonly cost: number;
  readonly rule: "gain" | "ratio";
}

/** [E] weights in units of 2^-16, rounded to nearest with halves up (weights are not negative). */
export function weightUnits(weights: Float32Array | undefined, elements: number): Float64Array {
  const units = new Float64Array(elements).fill(WEIGHT_UNIT);
  weights?.forEach((weight, i) => {
    units[i] = Math.floor(weight * WEIGHT_UNIT + 0.5);
  });
  return units;
}

/** The value of selecting every set, in units of 2^-16. */
export function attainableUnits(sets: CsrMatrix, units: Float64Array, repeats: number): number {
  const degree = new Uint32Array(sets.cols);
  for (const element of sets.indices) degree[element]!++;
  let total = 0;
  for (let i = 0; i < sets.cols; i++) total += units[i]! * Math.min(repeats, degree[i]!);
  return total;
}

/** Greedy max cover with gains kept exact by decrement and the best set found by a scan: the stand-in for the addon. */
export function maxCoverReference(input: CoverInput): CoverOutput {
  const units = weightUnits(input.weights, input.sets.cols);
  const byElement = transpose(input.sets);
  const attainable = attainableUnits(input.sets, units, input.repeats);
  const byGain = greedy(input, units, byElement, "gain");
  const byRatio = input.costs === undefined ? undefined : greedy(input, units, byElement, "ratio");
  const best = byRatio !== undefined && byRatio.value > byGain.value ? byRatio : byGain;
  const bound = Math.min(attainable, byGain.bound, byRatio?.bound ?? attainable);
  return {
    selected: Uint32Array.from(best.picks),
    gains: Float64Array.from(best.gains, (gain) => gain / WEIGHT_UNIT),
    value: best.value / WEIGHT_UNIT,
    attainable: attainable / WEIGHT_UNIT,
    upperBound: bound / WEIGHT_UNIT,
    cost: best.cost,
    rule: best.rule,
  };
}

function greedy(input: CoverInput, units: Float64Array, byElement: CsrMatrix, rule: "gain" | "ratio"): Run {
  const { sets, costs, maxSets, maxCost, minGain } = input;
  const floor = Math.max(1, Math.ceil(minGain * WEIGHT_UNIT));
  const left = new Uint16Array(sets.cols).fill(input.repeats);
  const gain = new Float64Array(sets.rows);
  for (let s = 0; s < sets.rows; s++) {
    for (let e = sets.indptr[s]!; e < sets.indptr[s + 1]!; e++) gain[s]! += units[sets.indices[e]!]!;
  }
  const limit = Math.min(maxSets, sets.rows);
  const everyPrefix = sets.indices.length * limit <= EVERY_PREFIX;
  const picks: number[] = [];
  const gains: number[] = [];
  let [value, cost] = [0, 0];
  let bound = Number.POSITIVE_INFINITY;
  const selected = new Uint8Array(sets.rows);
  const costOf = (s: number) => costs?.[s] ?? 1;
  const worth = (s: number) => (rule === "gain" ? gain[s]! : gain[s]! / costOf(s));
  const fits = (s: number) => costs === undefined || cost + costOf(s) <= maxCost;
  const better = (a: number, b: number) => worth(a) > worth(b) || (worth(a) === worth(b) && a < b);

  const pool = Array.from({ length: sets.rows }, (_, s) => s);
  const draw = uint32Stream(input.seed);
  const sample = sampleSize(input);
  const next = (): number => {
    let best = -1;
    if (input.solver !== "stochastic") {
      for (let s = 0; s < sets.rows; s++) {
        if (selected[s] === 0 && gain[s]! >= floor && fits(s) && (best < 0 || better(s, best))) best = s;
      }
      return best;
    }
    while (best < 0 && pool.length > 0) {
      const size = Math.min(sample, pool.length);
      for (let t = 0; t < size; t++) {
        const other = t + Math.floor((draw() / 2 ** 32) * (pool.length - t));
        [pool[t], pool[other]] = [pool[other]!, pool[t]!];
        const s = pool[t]!;
        if (gain[s]! >= floor && fits(s) && (best < 0 || better(s, best))) best = s;
      }
      // What has been taken or can never be taken again leaves the pool.
      for (let t = size - 1; t >= 0; t--) {
        const s = pool[t]!;
        if (s !== best && gain[s]! >= floor && fits(s)) continue;
        pool[t] = pool[pool.length - 1]!;
        pool.pop();
      }
    }
    return best;
  };

  while (picks.length < limit) {
    if (everyPrefix || picks.length === 0) bound = Math.min(bound, value + purchasable(input, gain));
    const s = next();
    if (s < 0) break;
    picks.push(s);
    gains.push(gain[s]!);
    value += gain[s]!;
    cost += costOf(s);
    selected[s] = 1;
    for (let e = sets.indptr[s]!; e < sets.indptr[s + 1]!; e++) {
      const element = sets.indices[e]!;
      if (left[element] === 0) continue;
      left[element]!--;
      if (left[element] !== 0) continue;
      for (let o = byElement.indptr[element]!; o < byElement.indptr[element + 1]!; o++) {
        gain[byElement.indices[o]!]! -= units[element]!;
      }
    }
    // Selecting a set again adds nothing.
    gain[s] = 0;
  }
  bound = Math.min(bound, value + purchasable(input, gain));
  return { picks, gains, value, bound, cost, rule };
}

/**
 * The most that sets chosen within the whole budget could add to the present cover, if no two of them overlapped (and
 * one of them could be bought in part): by submodularity the optimum is worth at most the cover's value plus this.
 */
function purchasable(input: CoverInput, gain: Float64Array): number {
  const { costs, maxSets, maxCost } = input;
  const affordable: number[] = [];
  for (let s = 0; s < gain.length; s++) {
    if (gain[s]! > 0 && (costs === undefined || costs[s]! <= maxCost)) affordable.push(s);
  }
  const top = affordable.map((s) => gain[s]!).sort((a, b) => b - a);
  let most = 0;
  for (let n = 0; n < Math.min(maxSets, top.length); n++) most += top[n]!;
  if (costs === undefined || maxCost === Number.POSITIVE_INFINITY) return most;
  affordable.sort((a, b) => gain[b]! / costs[b]! - gain[a]! / costs[a]! || a - b);
  let [sum, left] = [0, maxCost];
  for (const s of affordable) {
    if (costs[s]! > left) {
      sum += Math.ceil(gain[s]! * (left / costs[s]!));
      break;
    }
    left -= costs[s]!;
    sum += gain[s]!;
  }
  return Math.min(most, sum);
}

/** How many sets a stochastic pick looks at: (S / picks) ln(1 / sampleLoss), so that each costs O(S / picks). */
function sampleSize({ sets, costs, maxSets, maxCost, sampleLoss }: CoverInput): number {
  let cheapest = Number.POSITIVE_INFINITY;
  for (const cost of costs ?? []) cheapest = Math.min(cheapest, cost);
  const affordable = costs === undefined ? sets.rows : Math.floor(maxCost / cheapest);
  const picks = Math.max(1, Math.min(maxSets, sets.rows, affordable));
  return Math.max(1, Math.ceil((sets.rows / picks) * -Math.log(sampleLoss)));
}

/** A counter through an integer mixer (constants of Chris Wellons' hash search): the same stream as in C++. */
function uint32Stream(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  };
}

function transpose(sets: CsrMatrix): CsrMatrix {
  const indptr = new Uint32Array(sets.cols + 1);
  for (const element of sets.indices) indptr[element + 1]!++;
  for (let i = 0; i < sets.cols; i++) indptr[i + 1]! += indptr[i]!;
  const at = indptr.slice(0, sets.cols);
  const indices = new Uint32Array(sets.indices.length);
  for (let s = 0; s < sets.rows; s++) {
    for (let e = sets.indptr[s]!; e < sets.indptr[s + 1]!; e++) indices[at[sets.indices[e]!]!++] = s;
  }
  return { indptr, indices, rows: sets.cols, cols: sets.rows };
}
