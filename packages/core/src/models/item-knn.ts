import { z } from "zod";
import { PrismrecError } from "../base/errors.js";
import type { CsrMatrix } from "../base/matrix.js";
import type { RunOptions } from "../base/run-options.js";
import type { History } from "../data/history.js";
import { trainingMatrix } from "../data/training-matrix.js";
import type { Dataset } from "../data/types.js";
import type { Ranking } from "../metrics/ranking.js";
import { transpose } from "../ops/item-statistics/counts.js";
import { itemNeighbours } from "../ops/item-statistics/item-statistics.js";
import type { RankOptions, ScoringModel } from "./model.js";
import { rankScores } from "./rank-scores.js";
import type { ScorerDefinition } from "./scorer-definition.js";
import { csrTensors, storedCsr } from "./stored-array.js";

/**
 * Item-based nearest neighbours (Sarwar et al., 2001; Deshpande and Karypis, 2004) on binary data: every item keeps its
 * nearest neighbours by cosine, and its score is the sum of its similarities to those of them in the history.
 */
export class ItemKnn implements ScoringModel {
  readonly name = "item-knn";
  readonly itemCount: number;

  /** @param votes [N, N]: row i (dense id i + 1) holds the similarity that a history item gives to each other item */
  constructor(readonly votes: CsrMatrix) {
    this.itemCount = votes.rows;
  }

  score({ items }: Pick<History, "items">, scores: Float64Array): boolean {
    const { indptr, indices, values } = this.votes;
    for (const id of items) {
      for (let at = indptr[id - 1]!; at < indptr[id]!; at++) scores[indices[at]!]! += values?.[at] ?? 1;
    }
    return items.length > 0;
  }

  rank(histories: readonly History[], options: RankOptions): Promise<Ranking> {
    return rankScores(this, histories, options);
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
  const squaredNorms = Float32Array.from(dataset.catalog.popularity.subarray(1));
  const run = signal === undefined ? {} : { signal };
  const nearest = await itemNeighbours(users, { neighbours, squaredNorms }, run);
  onProgress?.({ stage: "item-knn", done: users.cols, total: users.cols, unit: "items" });
  return new ItemKnn(transpose(nearest));
}

const itemKnnSettings = z.strictObject({
  neighbours: z.int().min(1).default(100).describe("how many neighbours each item keeps"),
});

export const itemKnn: ScorerDefinition<z.infer<typeof itemKnnSettings>, ItemKnn> = {
  kind: "scorer",
  name: "item-knn",
  paper: "Sarwar et al., Item-based Collaborative Filtering Recommendation Algorithms, 2001",
  about: "items like those of the history, by cosine of their users",
  settings: itemKnnSettings,
  baseline: true,
  priorUpTo: Number.POSITIVE_INFINITY,
  fit: async (dataset, settings, run) => ({ model: await fitItemKnn(dataset, { ...settings, ...run }), facts: {} }),
  tensors: ({ votes }) => new Map(csrTensors(votes)),
  open: ({ catalog: { size } }, tensors) => new ItemKnn(storedCsr(tensors, size)),
};
