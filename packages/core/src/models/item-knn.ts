import { trainingMatrix } from "../dataset/training-matrix.js";
import type { Dataset } from "../dataset/types.js";
import { PrismrecError } from "../errors/errors.js";
import { cooccurrenceRow, transpose } from "../item-statistics/counts.js";
import type { CsrMatrix } from "../matrix/matrix.js";
import { yieldToEventLoop } from "../runtime/abort.js";
import type { RunOptions } from "../runtime/run-options.js";
import type { History, Model, Ranking, RankOptions } from "./model.js";
import { rankScores } from "./rank-scores.js";
import { TopK } from "./top-k.js";

/**
 * Item-based nearest neighbours (Sarwar et al., 2001; Deshpande and Karypis, 2004) on binary data: every item keeps its
 * nearest neighbours by cosine, and its score is the sum of its similarities to those of them in the history.
 */
export class ItemKnn implements Model {
  readonly name = "item-knn";
  readonly itemCount: number;

  /** @param votes [N, N]: row i (dense id i + 1) holds the similarity that a history item gives to each other item */
  constructor(readonly votes: CsrMatrix) {
    this.itemCount = votes.rows;
  }

  rank(histories: readonly History[], options: RankOptions): Promise<Ranking> {
    const { indptr, indices, values } = this.votes;
    return rankScores(this.itemCount, histories, options, (history, scores) => {
      for (const id of history.items) {
        for (let at = indptr[id - 1]!; at < indptr[id]!; at++) scores[indices[at]!]! += values?.[at] ?? 1;
      }
    });
  }
}

export interface ItemKnnOptions extends RunOptions {
  /** How many neighbours each item keeps (default 100); equal similarities by popularity. */
  readonly neighbours?: number;
}

export async function fitItemKnn(dataset: Dataset, options: ItemKnnOptions = {}): Promise<ItemKnn> {
  const { neighbours = 100, signal, onProgress } = options;
  if (!Number.isInteger(neighbours) || neighbours < 1) {
    throw new PrismrecError("CONFIG_INVALID", "item-knn needs a whole number of neighbours", {
      expected: "neighbours >= 1",
      received: String(neighbours),
    });
  }
  const users = trainingMatrix(dataset);
  const usersOfItem = transpose(users);
  const n = users.cols;
  const { popularity } = dataset.catalog;
  const counts = new Float64Array(n);
  const touched = new Uint32Array(n);
  const indptr = new Uint32Array(n + 1);
  const indices: number[] = [];
  const values: number[] = [];
  const nearest = new Uint32Array(Math.min(neighbours, n));
  const similarities = new Float32Array(nearest.length);
  for (let item = 0; item < n; item++) {
    if (item % 256 === 0) await yieldToEventLoop(signal);
    const row = cooccurrenceRow(users, usersOfItem, item, counts, touched);
    const top = new TopK(nearest.length);
    // Ascending ids, so that of equal similarities the more popular item stays.
    for (const other of row.slice().sort()) {
      if (other === item) continue;
      top.offer(other + 1, counts[other]! / Math.sqrt(popularity[item + 1]! * popularity[other + 1]!));
    }
    const kept = top.drain(nearest, similarities);
    for (let i = 0; i < kept; i++) {
      indices.push(nearest[i]! - 1);
      values.push(similarities[i]!);
    }
    indptr[item + 1] = indices.length;
    for (const other of row) counts[other] = 0;
    onProgress?.({ stage: "item-knn", done: item + 1, total: n, unit: "items" });
  }
  return new ItemKnn(
    transpose({ indptr, indices: Uint32Array.from(indices), values: Float32Array.from(values), rows: n, cols: n }),
  );
}
