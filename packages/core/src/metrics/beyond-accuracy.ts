import { checkLength } from "../base/check-matrix.js";
import { PrismrecError } from "../base/errors.js";
import { cleanList } from "./ranking-metrics.js";

/** What a set of recommendation lists does to the catalog, whatever it hits. */
export interface Exposure {
  /** Share of the catalog that stands in at least one list. */
  readonly coverage: number;
  /** Gini index of how often each catalog item is recommended: 0 all alike, towards 1 few take all. */
  readonly gini: number;
  /** Mean over lists of the mean self-information of their items, in bits: -log2 of the share of training users. */
  readonly novelty: number;
  /** Mean over lists of the mean popularity of their items: the share of training users who took each. */
  readonly averagePopularity: number;
  /**
   * By how much that is above the average popularity of the same users' histories, as a share of it: 0 the lists are as
   * popular as what the users took themselves, 1 twice as popular; 0 where no training user took anything of theirs.
   */
  readonly popularityLift: number;
}

/** `Exposure` and what one list is like. */
export interface BeyondAccuracy extends Exposure {
  /** Mean over lists of the share of item pairs that differ (see `intraListDiversity`). */
  readonly intraListDiversity: number;
  /** Share of recommended items outside the head, the most popular fifth of the catalog. */
  readonly tailShare: number;
}

/** Ranked lists of dense ids (1..N), best first, cut at n; padding and repeats do not count. */
export type Lists = readonly ArrayLike<number>[];

const cutLists = (lists: Lists, n: number): number[][] => lists.map((list) => cleanList(list).slice(0, n));

const mean = (values: readonly number[]): number =>
  values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;

/** Distinct recommended items over the catalog's size. */
export function coverage(lists: Lists, n: number, catalogSize: number): number {
  return coveredShare(countsOf(cutLists(lists, n), catalogSize));
}

/** Gini index over all catalog items of the number of lists that hold each. */
export function gini(lists: Lists, n: number, catalogSize: number): number {
  return giniOf(countsOf(cutLists(lists, n), catalogSize));
}

/** [N] number of lists that hold each item, dense id i + 1 at place i. */
function countsOf(lists: readonly (readonly number[])[], catalogSize: number): Float64Array {
  const counts = new Float64Array(catalogSize);
  for (const list of lists) for (const id of list) counts[id - 1]!++;
  return counts;
}

function coveredShare(counts: Float64Array): number {
  return counts.reduce((sum, count) => sum + (count > 0 ? 1 : 0), 0) / counts.length;
}

function giniOf(counts: Float64Array): number {
  const catalogSize = counts.length;
  let total = 0;
  let weighted = 0;
  counts
    .slice()
    .sort()
    .forEach((count, i) => {
      total += count;
      weighted += (2 * (i + 1) - catalogSize - 1) * count;
    });
  return total === 0 ? 0 : weighted / (catalogSize * total);
}

/**
 * Mean self-information in bits: -log2((popularity + 1) / (users + 1)), so that an item that nobody took stays finite
 * (Castells, Vargas and Wang 2011: the complement of popularity).
 *
 * @param popularity [N + 1] training users of each dense id
 * @param userCount number of training users
 */
export function novelty(lists: Lists, n: number, popularity: Uint32Array, userCount: number): number {
  return mean(
    cutLists(lists, n)
      .filter((list) => list.length > 0)
      .map((list) => selfInformation(list, popularity, userCount)),
  );
}

function selfInformation(list: readonly number[], popularity: Uint32Array, userCount: number): number {
  return mean(list.map((id) => Math.log2((userCount + 1) / (popularity[id]! + 1))));
}

/**
 * `Exposure` of lists that are shown some at a time. Users whose list or history is empty say nothing of popularity and do not
 * count there. Popularity lift: Abdollahpouri, Mansoury, Burke and Mobasher 2019, "The Unfairness of Popularity Bias in
 * Recommendation", over all users as one group.
 */
export class ExposureMeter {
  readonly #n: number;
  readonly #popularity: Uint32Array;
  readonly #users: number;
  readonly #counts: Float64Array;
  #lists = 0;
  #bits = 0;
  #popular = 0;
  #pairedPopular = 0;
  #historyPopular = 0;

  /**
   * @param n lists are cut there
   * @param trainingUsers that popularity counts
   * @throws PrismrecError INVALID_ARGUMENT
   */
  constructor(n: number, catalog: { readonly size: number; readonly popularity: Uint32Array }, trainingUsers: number) {
    if (!Number.isInteger(n) || n < 1) {
      throw new PrismrecError("INVALID_ARGUMENT", "lists are cut at a whole number of items", {
        expected: "n >= 1",
        received: String(n),
      });
    }
    this.#n = n;
    this.#popularity = catalog.popularity;
    this.#users = trainingUsers;
    this.#counts = new Float64Array(catalog.size);
  }

  /**
   * @param ranked dense ids, best first; padding and repeats do not count
   * @param history dense ids of what the same user took before; an item counts as often as it stands there
   */
  add(ranked: ArrayLike<number>, history: ArrayLike<number>): void {
    const list = cleanList(ranked).slice(0, this.#n);
    if (list.length === 0) return;
    for (const id of list) this.#counts[id - 1]!++;
    const popular = this.#popularityOf(list);
    this.#lists++;
    this.#bits += selfInformation(list, this.#popularity, this.#users);
    this.#popular += popular;
    if (history.length === 0) return;
    this.#pairedPopular += popular;
    this.#historyPopular += this.#popularityOf(Array.from(history));
  }

  value(): Exposure {
    const over = (sum: number, count: number): number => (count === 0 ? 0 : sum / count);
    return {
      coverage: coveredShare(this.#counts),
      gini: giniOf(this.#counts),
      novelty: over(this.#bits, this.#lists),
      averagePopularity: over(this.#popular, this.#lists),
      popularityLift: this.#historyPopular === 0 ? 0 : this.#pairedPopular / this.#historyPopular - 1,
    };
  }

  #popularityOf(ids: readonly number[]): number {
    return this.#users === 0 ? 0 : mean(ids.map((id) => this.#popularity[id]!)) / this.#users;
  }
}

/**
 * Mean over lists of the mean distance over their item pairs; lists of fewer than two items say nothing and do not
 * count. `distance` is symmetric, in [0, 1].
 */
export function intraListDiversity(lists: Lists, n: number, distance: (a: number, b: number) => number): number {
  const values: number[] = [];
  for (const list of cutLists(lists, n)) {
    if (list.length < 2) continue;
    let sum = 0;
    for (let i = 0; i < list.length; i++) for (let j = 0; j < i; j++) sum += distance(list[i]!, list[j]!);
    values.push((2 * sum) / (list.length * (list.length - 1)));
  }
  return mean(values);
}

/** 1 - Jaccard similarity of two items' categories; two items without any are as different as can be told: 1. */
export function categoryDistance(
  items: readonly { readonly categories: readonly string[] }[],
): (a: number, b: number) => number {
  const sets = items.map(({ categories }) => new Set(categories));
  return (a, b) => {
    const [left, right] = [sets[a]!, sets[b]!];
    let shared = 0;
    for (const category of left) if (right.has(category)) shared++;
    const union = left.size + right.size - shared;
    return union === 0 ? 1 : 1 - shared / union;
  };
}

/** Share of recommended items outside the head: ids are sorted by popularity, so the head is ids 1..head. */
export function tailShare(lists: Lists, n: number, catalogSize: number, headShare = 0.2): number {
  const head = Math.ceil(headShare * catalogSize);
  const all = cutLists(lists, n).flat();
  return all.length === 0 ? 0 : all.filter((id) => id > head).length / all.length;
}

/**
 * All of them at one cut-off.
 *
 * @param histories dense ids of what the user of each list took before
 * @throws PrismrecError INVALID_ARGUMENT; SHAPE_MISMATCH where lists and histories differ in number
 */
export function beyondAccuracy(
  lists: Lists,
  histories: Lists,
  n: number,
  catalog: {
    readonly size: number;
    readonly popularity: Uint32Array;
    readonly items: readonly { readonly categories: readonly string[] }[];
  },
  trainingUsers: number,
): BeyondAccuracy {
  checkLength("histories", histories.length, lists.length);
  const meter = new ExposureMeter(n, catalog, trainingUsers);
  for (const [row, list] of lists.entries()) meter.add(list, histories[row]!);
  return {
    ...meter.value(),
    intraListDiversity: intraListDiversity(lists, n, categoryDistance(catalog.items)),
    tailShare: tailShare(lists, n, catalog.size),
  };
}
