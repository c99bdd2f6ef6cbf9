import type { History } from "../data/history.js";
import type { Catalog } from "../data/types.js";
import type { Ranking } from "../metrics/ranking.js";
import type { MultiInterestModel } from "../models/model.js";
import { type DescribedInterest, describeInterests, type InterestRow } from "./describe-interests.js";

/**
 * Least likelihood of an item under an interest, of its largest, with which that interest may be named behind it
 * (docs/decisions/0040-an-item-is-named-by-likelihood-and-fit.md).
 */
const LEAST_LIKELIHOOD = 0.2;

/** The interests of one history, and which of them each item of its list is recommended for. */
export interface Explanation {
  /** Share descending, interests of one label as one. */
  readonly interests: readonly DescribedInterest[];
  /** [listed] place in `interests` of the one behind each item; empty for a ranking that says nothing of interests. */
  readonly named: readonly number[];
}

/** Dense ids, with the interest whose term is largest where the model tells it. */
export interface RankedList {
  readonly ids: Uint32Array;
  readonly winners: Uint16Array | undefined;
}

/** A row of a ranking, cut at `most` items. */
export function rankedList({ k, ids, counts, interests }: Ranking, row: number, most = k): RankedList {
  const from = row * k;
  const to = from + Math.min(most, counts[row]!);
  return { ids: ids.subarray(from, to), winners: interests?.subarray(from, to) };
}

/**
 * Says what a user's interests are and which of them is behind each item of the list. The list itself is not touched.
 *
 * @param user the row of interests that ranked the list
 * @param labels [clusters] label of each cluster of `history.clusters`
 */
export function explain(
  model: MultiInterestModel,
  user: InterestRow,
  history: History,
  labels: readonly string[],
  catalog: Catalog,
  list: RankedList,
): Explanation {
  const interests = describeInterests(model, user, history, labels, catalog);
  return {
    interests,
    named: nameItems(model, user, interests, list),
  };
}

/**
 * [listed] the interest behind each item; none for a ranking that says nothing of interests. Under `max` that whose term is the score. Under `log-sum-exp` all interests score
 * an item together, `exp(<h_j, e_i> + b_i) pi_j` each. The prior `pi_j` is left out: it is the same for every item, and would
 * name the largest interest nearly always. What is left is how likely the item is under the interest (not normalised over
 * items). Of the interests with at least a fifth of the largest likelihood, that is named whose evidence is most like the
 * item, by the mean cosine of their vectors less the catalog's mean, which all items share and popular ones most. Equal
 * ones go by likelihood, then by their order.
 */
export function nameItems(
  model: MultiInterestModel,
  { batch, row }: InterestRow,
  interests: readonly DescribedInterest[],
  { ids, winners }: RankedList,
): number[] {
  if (interests.length === 0 || winners === undefined) return [];
  if (model.readout === "max") {
    return Array.from(winners, (winner) => interests.findIndex(({ members }) => members.includes(winner)));
  }
  const { data: items, cols } = model.itemVectors();
  const { data: vectors } = batch.vectors;
  const mean = meanItem(model);
  const first = row * batch.count;
  const centres = interests.map((interest) => centreOf(interest, items, mean));
  const own = new Float64Array(cols);
  const likelihoods = new Float64Array(interests.length);
  return Array.from(ids, (item) => {
    const at = (item - 1) * cols;
    for (let x = 0; x < cols; x++) own[x] = items[at + x]! - mean[x]!;
    let most = -Infinity;
    for (const [n, { members }] of interests.entries()) {
      // The item's bias, and the length of its own vector, are the same for all.
      let likelihood = -Infinity;
      for (const j of members) likelihood = Math.max(likelihood, dot(vectors, (first + j) * cols, items, at, cols));
      likelihoods[n] = likelihood;
      most = Math.max(most, likelihood);
    }
    const least = most + Math.log(LEAST_LIKELIHOOD);
    let [best, bestFit] = [-1, 0];
    for (const n of interests.keys()) {
      if (!(likelihoods[n]! >= least)) continue;
      const fit = dot(centres[n]!, 0, own, 0, cols);
      if (best >= 0 && (fit < bestFit || (fit === bestFit && likelihoods[n]! <= likelihoods[best]!))) continue;
      [best, bestFit] = [n, fit];
    }
    return best;
  });
}

const centres = new WeakMap<DescribedInterest, Float64Array>();

/** [d] `meanDirection` of what an interest rests on; computed once per interest. */
function centreOf(interest: DescribedInterest, items: Float32Array, mean: Float64Array): Float64Array {
  const known = centres.get(interest);
  if (known !== undefined) return known;
  const centre = meanDirection(items, mean, interest.evidence);
  centres.set(interest, centre);
  return centre;
}

const means = new WeakMap<MultiInterestModel, Float64Array>();

/** [d] mean of all item vectors; summed once per model. */
function meanItem(model: MultiInterestModel): Float64Array {
  const known = means.get(model);
  if (known !== undefined) return known;
  const { data, rows, cols } = model.itemVectors();
  const mean = new Float64Array(cols);
  for (let i = 0; i < rows; i++) for (let x = 0; x < cols; x++) mean[x]! += data[i * cols + x]! / rows;
  means.set(model, mean);
  return mean;
}

/** [d] mean of the items' directions seen from `mean`; an item that is the mean has none and adds nothing. */
function meanDirection(items: Float32Array, mean: Float64Array, ids: readonly number[]): Float64Array {
  const cols = mean.length;
  const centre = new Float64Array(cols);
  const own = new Float64Array(cols);
  for (const id of ids) {
    for (let x = 0; x < cols; x++) own[x] = items[(id - 1) * cols + x]! - mean[x]!;
    const norm = Math.sqrt(dot(own, 0, own, 0, cols));
    for (let x = 0; x < cols && norm > 0; x++) centre[x]! += own[x]! / norm / ids.length;
  }
  return centre;
}

function dot(
  a: Float32Array | Float64Array,
  atA: number,
  b: Float32Array | Float64Array,
  atB: number,
  count: number,
): number {
  let sum = 0;
  for (let x = 0; x < count; x++) sum += a[atA + x]! * b[atB + x]!;
  return sum;
}
