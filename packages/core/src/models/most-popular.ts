import { z } from "zod";
import type { History } from "../data/history.js";
import type { Dataset } from "../data/types.js";
import type { Ranking } from "../metrics/ranking.js";
import type { RankOptions, ScoringModel } from "./model.js";
import { rankScores } from "./rank-scores.js";
import type { ScorerDefinition } from "./scorer-definition.js";

/** Recommends to everybody what most training users took. The floor under every other model. */
export class MostPopular implements ScoringModel {
  readonly name = "most-popular";
  readonly itemCount: number;
  readonly #popularity: Uint32Array;

  /** @param popularity [N + 1] training events of each dense id; entry 0 is padding */
  constructor(popularity: Uint32Array) {
    this.#popularity = popularity;
    this.itemCount = popularity.length - 1;
  }

  score(_: Pick<History, "items">, scores: Float64Array): boolean {
    scores.set(this.#popularity.subarray(1));
    return true;
  }

  rank(histories: readonly History[], options: RankOptions): Promise<Ranking> {
    return rankScores(this, histories, options);
  }
}

export function fitMostPopular(dataset: Dataset): MostPopular {
  return new MostPopular(dataset.catalog.popularity);
}

export const mostPopular: ScorerDefinition<Record<string, never>, MostPopular> = {
  kind: "scorer",
  name: "most-popular",
  paper: "the number of training users of an item",
  about: "everybody gets what most users have; reads no history",
  settings: z.strictObject({}),
  baseline: true,
  fit: async (dataset) => ({ model: fitMostPopular(dataset), facts: {} }),
  tensors: () => new Map(),
  open: fitMostPopular,
};
