import { PrismrecError, type RunOptions, yieldToEventLoop } from "@prismrec/core/base";
import type { Catalog, History } from "@prismrec/core/data";
import { meanOf } from "@prismrec/core/interests";
import { categoryDistance, type Ranking } from "@prismrec/core/metrics";
import { INTEREST_BATCH, type MultiInterestModel } from "@prismrec/core/models";
import { explain, rankedList } from "@prismrec/core/recommend";

/** Items of each list whose named interest is judged. */
export const EXPLAINED_ITEMS = 10;

/** Sums of the same similarities in another order differ by less. */
const EQUAL = 1e-9;

/**
 * Whether the interest that is named behind a recommended item is the one that the item belongs to, by what nobody who
 * names it has read: the items' categories. `fit(i, j)` is the mean Jaccard similarity of item i's categories with those
 * of the items that interest j rests on; an answer is right where the named interest has the largest fit among the user's
 * (among n that share it, by 1 / n). Means over users with two interests and more.
 */
export interface ExplanationFidelity {
  /** Share of a user's answers that are right. */
  readonly right: number;
  /** What an interest of the same user drawn at random would have: 1 over their number. */
  readonly random: number;
  /** Of the mean over users of `right - random`. */
  readonly standardError: number;
  readonly users: number;
  /** Of all these users. */
  readonly answers: number;
}

/** A list with the interests that were named behind its items. */
export interface ExplainedList {
  /** Dense ids. */
  readonly ids: ArrayLike<number>;
  /** [interests] dense ids of what each of the user's interests rests on. */
  readonly evidence: readonly (readonly number[])[];
  /** [ids] place in `evidence` of the one that is named; fewer where only the first are. */
  readonly named: readonly number[];
}

/**
 * Judges explanations by the items' categories. Items without any say nothing and are passed over.
 *
 * @param items [N + 1] by dense id
 * @returns undefined where nobody has two interests and an item with categories
 */
export function explanationFidelity(
  lists: Iterable<ExplainedList>,
  items: Catalog["items"],
): ExplanationFidelity | undefined {
  const distance = categoryDistance(items);
  const rights: number[] = [];
  const randoms: number[] = [];
  let answers = 0;
  for (const { ids, evidence, named } of lists) {
    const count = evidence.length;
    if (count < 2) continue;
    let right = 0;
    let judged = 0;
    for (const [place, chosen] of named.entries()) {
      const item = ids[place]!;
      if (items[item]!.categories.length === 0) continue;
      const fits = evidence.map((own) => meanOf(own.map((other) => 1 - distance(item, other))).mean);
      const best = Math.max(...fits) - EQUAL;
      if (fits[chosen]! >= best) right += 1 / fits.filter((fit) => fit >= best).length;
      judged++;
    }
    if (judged === 0) continue;
    answers += judged;
    rights.push(right / judged);
    randoms.push(1 / count);
  }
  const users = rights.length;
  if (users === 0) return undefined;
  const { mean: above, standardError } = meanOf(rights.map((right, u) => right - randoms[u]!));
  const random = meanOf(randoms).mean;
  return { right: random + above, random, standardError, users, answers };
}

/** A model's lists for some histories. */
export interface RankedHistories {
  /** With their clusters. */
  readonly histories: readonly History[];
  /** [histories] labels of each one's clusters; missing ones have none. */
  readonly labels: readonly (readonly string[])[];
  readonly ranking: Ranking;
}

/**
 * `explanationFidelity` of a model's lists as a `Recommender` would explain them; the network is run once more, a batch
 * of users at a time.
 *
 * @param items [N + 1] by dense id, with the categories to judge by
 * @returns undefined for a model of one interest, and for items without categories
 * @throws PrismrecError SHAPE_MISMATCH for the items of another catalog; what an aborted signal gives as its reason
 */
export async function measureExplanations(
  model: MultiInterestModel,
  { histories, labels, ranking }: RankedHistories,
  catalog: Catalog,
  items: Catalog["items"],
  { signal, onProgress }: RunOptions = {},
): Promise<ExplanationFidelity | undefined> {
  if (items.length !== catalog.size + 1) {
    throw new PrismrecError("SHAPE_MISMATCH", "explanations are judged by the items of another catalog", {
      expected: `${catalog.size + 1} items, padding the first`,
      received: String(items.length),
    });
  }
  if (items.every(({ categories }) => categories.length === 0)) return undefined;
  const lists: ExplainedList[] = [];
  for (let start = 0; start < histories.length; start += INTEREST_BATCH) {
    await yieldToEventLoop(signal);
    const part = histories.slice(start, start + INTEREST_BATCH);
    const batch = model.interests(part);
    if (batch.count < 2) return undefined;
    for (const [row, history] of part.entries()) {
      const at = start + row;
      const list = rankedList(ranking, at, EXPLAINED_ITEMS);
      const { interests, named } = explain(model, { batch, row }, history, labels[at] ?? [], catalog, list);
      lists.push({ ids: list.ids, evidence: interests.map(({ evidence }) => evidence), named });
    }
    onProgress?.({ stage: "explain", done: start + part.length, total: histories.length, unit: "users" });
  }
  return explanationFidelity(lists, items);
}
