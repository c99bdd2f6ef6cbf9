import type { History } from "../data/history.js";
import type { Catalog } from "../data/types.js";
import type { InterestBatch, MultiInterestModel } from "../models/model.js";
import type { UserInterest } from "./types.js";

/** Events that are named behind an interest or an item. */
export const MOST_BECAUSE = 4;
const MOST_CATEGORIES = 2;
const MOST_TITLES = 2;

/** The interests of one user: a row of what `interests` gave for several. */
export interface InterestRow {
  readonly batch: InterestBatch;
  readonly row: number;
}

/** An interest as it is shown, with what it stands for inside the model. */
export interface DescribedInterest {
  readonly shown: UserInterest;
  /** Places in the model's interests (0..J - 1) of those that it is made of, the one with the largest share first. */
  readonly members: readonly number[];
  /** Their shares, which add up to that of the whole. */
  readonly shares: readonly number[];
  /** Dense ids of `shown.because`, which see. */
  readonly evidence: readonly number[];
}

/**
 * The present interests of one history, for people: label, share and the events behind each. Interests of one label are
 * shown as one: their shares add up, and it rests on what they rest on together, each by its share; where it stands for a
 * cluster, on items of that.
 *
 * Labels: a semantic interest has its cluster's label; a collaborative one that of the cluster it attends to most, else
 * its strongest categories, else the titles it rests on. Share: the model's prior over interests; where it has none, the
 * part of the history that attends to the interest.
 *
 * @param labels [clusters] label of each cluster of `history.clusters`
 * @returns share descending
 */
export function describeInterests(
  model: MultiInterestModel,
  { batch, row }: InterestRow,
  history: History,
  labels: readonly string[],
  catalog: Catalog,
): DescribedInterest[] {
  if (history.items.length === 0) return [];
  const first = row * batch.count;
  const present = Array.from({ length: batch.count }, (_, j) => first + j).filter(
    (at) => batch.offsets[at]! > -Infinity,
  );
  const from = Math.max(0, history.items.length - model.maxHistory);
  const items = history.items.subarray(from);
  const clusters = history.clusters?.subarray(from);
  const weights = present.map((at) => eventWeights(model, batch, at, items));
  const shares = sharesOf(
    present.map((at) => batch.offsets[at]!),
    weights,
  );
  const rarity = categoryRarity(catalog);
  const byLabel = new Map<string, Labelled[]>();
  for (const [n, at] of present.entries()) {
    const own = weights[n]!;
    const named = labels[batch.clusters[at]!] ?? labels[strongestKey(clusters ?? [], own) ?? -1];
    const categories = named === undefined ? strongestCategories(items, own, catalog, rarity) : [];
    const titles = strongestItems(items, own).slice(0, MOST_TITLES);
    const text =
      named !== undefined
        ? [named]
        : categories.length > 0
          ? categories
          : titles.map((item) => `like ${nameOf(catalog, item)}`);
    const key = JSON.stringify(text);
    const same = byLabel.get(key) ?? [];
    byLabel.set(key, same);
    same.push({ place: at - first, cluster: batch.clusters[at]!, labels: text, share: shares[n]!, weights: own });
  }
  return [...byLabel.values()]
    .map((same) => asOne(same, items, clusters, catalog))
    .sort((a, b) => b.shown.share - a.shown.share || a.shown.index - b.shown.index);
}

/** An interest of the model on its way to be shown. */
interface Labelled {
  readonly place: number;
  /** That it stands for; -1: none. */
  readonly cluster: number;
  readonly labels: readonly string[];
  readonly share: number;
  /** [items] */
  readonly weights: Float64Array;
}

/** Interests of one label as one. */
function asOne(
  same: readonly Labelled[],
  items: Uint32Array,
  clusters: Int16Array | undefined,
  catalog: Catalog,
): DescribedInterest {
  const ordered = [...same].sort((a, b) => b.share - a.share || a.place - b.place);
  const [largest] = ordered as [Labelled, ...Labelled[]];
  const share = ordered.reduce((sum, own) => sum + own.share, 0);
  const standsFor = new Set(ordered.map(({ cluster }) => cluster));
  standsFor.delete(-1);
  // Behaviour attends to all of the history: under the name of a cluster it speaks of that alone.
  const speaks = ({ cluster }: Labelled, t: number): boolean =>
    cluster >= 0 || standsFor.size === 0 || standsFor.has(clusters?.[t] ?? -1);
  // A share may be too small for a number; what has none of it still rests on something.
  const counts = (own: Labelled, t: number): number => (!speaks(own, t) ? 0 : share > 0 ? own.share : 1);
  const weights =
    ordered.length === 1
      ? largest.weights
      : Float64Array.from(items, (_, t) => ordered.reduce((sum, own) => sum + counts(own, t) * own.weights[t]!, 0));
  const evidence = strongestItems(items, weights).slice(0, MOST_BECAUSE);
  return {
    shown: {
      index: largest.place,
      kind: standsFor.size > 0 ? "semantic" : "collaborative",
      labels: largest.labels,
      share,
      because: evidence.map((item) => catalog.items[item]!.id),
    },
    members: ordered.map(({ place }) => place),
    shares: ordered.map((own) => own.share),
    evidence,
  };
}

/** [items] how much the interest at `at` of a batch rests on each event: its attention, or a softmax of inner products where there is none. */
function eventWeights(model: MultiInterestModel, batch: InterestBatch, at: number, items: Uint32Array): Float64Array {
  if (batch.attention !== undefined) {
    const length = batch.attention.length / batch.vectors.rows;
    return new Float64Array(batch.attention.subarray(at * length, at * length + items.length));
  }
  const { data, cols } = model.itemVectors();
  const products = Float64Array.from(items, (item) => {
    let sum = 0;
    for (let x = 0; x < cols; x++) sum += batch.vectors.data[at * cols + x]! * data[(item - 1) * cols + x]!;
    return sum;
  });
  const top = products.reduce((a, b) => Math.max(a, b));
  const raised = products.map((product) => Math.exp(product - top));
  const total = raised.reduce((a, b) => a + b);
  return raised.map((value) => value / total);
}

function sharesOf(offsets: readonly number[], weights: readonly Float64Array[]): number[] {
  const count = offsets.length;
  const [low, high] = [Math.min(...offsets), Math.max(...offsets)];
  if (high > low) {
    const mass = offsets.map((offset) => Math.exp(offset - high));
    const total = mass.reduce((a, b) => a + b, 0);
    return mass.map((value) => value / total);
  }
  const share = new Array<number>(count).fill(0);
  const events = weights[0]?.length ?? 0;
  for (let t = 0; t < events; t++) {
    const total = weights.reduce((sum, own) => sum + own[t]!, 0);
    for (let n = 0; n < count; n++) share[n]! += (total > 0 ? weights[n]![t]! / total : 1 / count) / events;
  }
  return share;
}

/** Distinct items with any weight, by the sum of it, the later event first among equals. */
function strongestItems(items: Uint32Array, weights: Float64Array): number[] {
  const mass = new Map<number, { weight: number; last: number }>();
  items.forEach((item, t) => {
    mass.set(item, { weight: (mass.get(item)?.weight ?? 0) + weights[t]!, last: t });
  });
  return [...mass]
    .filter(([, { weight }]) => weight > 0)
    .sort(([, a], [, b]) => b.weight - a.weight || b.last - a.last)
    .map(([item]) => item);
}

/** The key with most weight, the first to appear among equals; negative keys count for none. */
function strongestKey(keys: ArrayLike<number>, weights: Float64Array): number | undefined {
  const mass = new Map<number, number>();
  for (let t = 0; t < keys.length; t++) {
    if (keys[t]! >= 0) mass.set(keys[t]!, (mass.get(keys[t]!) ?? 0) + weights[t]!);
  }
  return [...mass].sort(([, a], [, b]) => b - a)[0]?.[0];
}

/** Categories by weight times rarity: what sets the interest apart, rather than what every item has. */
function strongestCategories(
  items: Uint32Array,
  weights: Float64Array,
  catalog: Catalog,
  rarity: ReadonlyMap<string, number>,
): string[] {
  const mass = new Map<string, number>();
  items.forEach((item, t) => {
    for (const category of new Set(catalog.items[item]!.categories)) {
      mass.set(category, (mass.get(category) ?? 0) + weights[t]! * rarity.get(category)!);
    }
  });
  return [...mass]
    .filter(([, weight]) => weight > 0)
    .sort(([a, weightA], [b, weightB]) => weightB - weightA || (a < b ? -1 : 1))
    .slice(0, MOST_CATEGORIES)
    .map(([category]) => category);
}

const rarities = new WeakMap<Catalog, ReadonlyMap<string, number>>();

/** log(items / items of the category); 0 for one that every item has. Counted once per catalog. */
function categoryRarity(catalog: Catalog): ReadonlyMap<string, number> {
  const known = rarities.get(catalog);
  if (known !== undefined) return known;
  const counts = new Map<string, number>();
  for (const { categories } of catalog.items.slice(1)) {
    for (const category of new Set(categories)) counts.set(category, (counts.get(category) ?? 0) + 1);
  }
  const rarity = new Map([...counts].map(([category, count]) => [category, Math.log(catalog.size / count)]));
  rarities.set(catalog, rarity);
  return rarity;
}

function nameOf(catalog: Catalog, item: number): string {
  const { title, id } = catalog.items[item]!;
  return title === "" ? id : title;
}
