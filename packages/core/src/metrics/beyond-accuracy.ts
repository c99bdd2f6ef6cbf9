import { PrismrecError } from "../base/errors.js";
import { cleanList } from "./ranking-metrics.js";

/** What a set of recommendation lists does to the catalog and to the reader, whatever it hits. */
export interface BeyondAccuracy {
  /** Share of the catalog that stands in at least one list. */
  readonly coverage: number;
  /** Gini index of how often each catalog item is recommended: 0 all alike, towards 1 few take all. */
  readonly gini: number;
  /** Mean over lists of the mean self-information of their items, in bits: -log2 of the share of training users. */
  readonly novelty: number;
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
  return new Set(cutLists(lists, n).flat()).size / catalogSize;
}

/** Gini index over all catalog items of the number of lists that hold each. */
export function gini(lists: Lists, n: number, catalogSize: number): number {
  const counts = new Float64Array(catalogSize);
  for (const id of cutLists(lists, n).flat()) counts[id - 1]!++;
  counts.sort();
  let total = 0;
  let weighted = 0;
  counts.forEach((count, i) => {
    total += count;
    weighted += (2 * (i + 1) - catalogSize - 1) * count;
  });
  return total === 0 ? 0 : weighted / (catalogSize * total);
}

/**
 * Mean self-information in bits: -log2((popularity + 1) / (users + 1)), so that an item that nobody took stays finite.
 *
 * @param popularity [N + 1] training users of each dense id
 * @param userCount number of training users
 */
export function novelty(lists: Lists, n: number, popularity: Uint32Array, userCount: number): number {
  const bits = (id: number): number => Math.log2((userCount + 1) / (popularity[id]! + 1));
  return mean(
    cutLists(lists, n)
      .filter((list) => list.length > 0)
      .map((list) => mean(list.map(bits))),
  );
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

/** All of them at one cut-off. */
export function beyondAccuracy(
  lists: Lists,
  n: number,
  catalog: {
    readonly size: number;
    readonly popularity: Uint32Array;
    readonly items: readonly { readonly categories: readonly string[] }[];
  },
  trainingUsers: number,
): BeyondAccuracy {
  if (!Number.isInteger(n) || n < 1) {
    throw new PrismrecError("INVALID_ARGUMENT", "lists are cut at a whole number of items", {
      expected: "n >= 1",
      received: String(n),
    });
  }
  return {
    coverage: coverage(lists, n, catalog.size),
    gini: gini(lists, n, catalog.size),
    novelty: novelty(lists, n, catalog.popularity, trainingUsers),
    intraListDiversity: intraListDiversity(lists, n, categoryDistance(catalog.items)),
    tailShare: tailShare(lists, n, catalog.size),
  };
}
