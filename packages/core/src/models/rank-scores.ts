import { yieldToEventLoop } from "../base/abort.js";
import { TopK } from "../base/top-k.js";
import type { History } from "../data/history.js";
import type { Ranking } from "../metrics/ranking.js";
import { checkRank } from "./check-rank.js";
import type { RankOptions, ScoringModel } from "./model.js";

/**
 * `Model.rank` of a model that scores every item: score descending, ties by dense id ascending (popularity, then
 * external id). Scores are rounded to 32 bits first, so that the order is the one that the returned scores show. Where
 * nothing can be said of a history, its list is empty.
 */
export async function rankScores(
  model: Pick<ScoringModel, "itemCount" | "score">,
  histories: readonly History[],
  options: RankOptions,
): Promise<Ranking> {
  const { k } = options;
  const { itemCount } = model;
  checkRank(itemCount, histories, options);
  const ids = new Uint32Array(histories.length * k);
  const scores = new Float32Array(histories.length * k);
  const counts = new Uint32Array(histories.length);
  const all = new Float64Array(itemCount);
  const hidden = new Uint8Array(itemCount + 1);
  const top = new TopK(k);
  for (let row = 0; row < histories.length; row++) {
    if (row % 64 === 0) await yieldToEventLoop(options.signal);
    const history = histories[row]!;
    all.fill(0);
    hidden.fill(0);
    const known = model.score(distinct(history), all);
    if (options.excludeHistory !== false) for (const id of history.items) hidden[id] = 1;
    const { exclude, filter } = options;
    if (exclude !== undefined) {
      for (let at = exclude.indptr[row]!; at < exclude.indptr[row + 1]!; at++) hidden[exclude.indices[at]!] = 1;
    }
    top.clear();
    for (let id = 1; known && id <= itemCount; id++) {
      if (hidden[id] === 0 && isLetThrough(filter, id)) top.offer(id, Math.fround(all[id - 1]!));
    }
    counts[row] = top.drain(ids.subarray(row * k, (row + 1) * k), scores.subarray(row * k, (row + 1) * k));
    options.onProgress?.({ stage: "rank", done: row + 1, total: histories.length, unit: "users" });
  }
  return { k, ids, scores, counts };
}

function isLetThrough(filter: Uint32Array | undefined, id: number): boolean {
  return filter === undefined || ((filter[(id - 1) >> 5]! >>> ((id - 1) & 31)) & 1) === 1;
}

/** What was fitted on a binary matrix reads a binary history. */
export function distinct({ items }: Pick<History, "items">): Pick<History, "items"> {
  const once = new Set(items);
  return { items: once.size === items.length ? items : Uint32Array.from(once) };
}
