import { z } from "zod";
import type { History } from "../data/history.js";
import { unitOf } from "../data/read-time.js";
import type { Dataset } from "../data/types.js";
import type { Ranking } from "../metrics/ranking.js";
import { chooseBest } from "./choose-best.js";
import type { RankOptions, ScoringModel } from "./model.js";
import { rankScores } from "./rank-scores.js";
import type { ScorerDefinition } from "./scorer-definition.js";
import { storedArray } from "./stored-array.js";

const DAY_SECONDS = 86_400;

/** Recommends to everybody what training users have taken of late: an event counts half after every half-life. */
export class RecentPopular implements ScoringModel {
  readonly name = "recent-popular";
  readonly itemCount: number;

  /** @param scores [N] of dense id i + 1 */
  constructor(readonly scores: Float64Array) {
    this.itemCount = scores.length;
  }

  score(_: Pick<History, "items">, scores: Float64Array): boolean {
    scores.set(this.scores);
    return true;
  }

  rank(histories: readonly History[], options: RankOptions): Promise<Ranking> {
    return rankScores(this, histories, options);
  }
}

/**
 * Counts training events by age, the latest training event being now. Where the log has no times, or none of a unit that
 * is known, every event counts alike.
 */
export function fitRecentPopular({ log, split, catalog }: Dataset, halfLifeDays: number): RecentPopular {
  const scores = new Float64Array(catalog.size);
  const { users, ends } = split.train;
  const { timestamps } = log;
  let latest: bigint | undefined;
  users.forEach((user, r) => {
    for (let at = log.indptr[user]!; at < log.indptr[user]! + ends[r]!; at++) {
      const time = timestamps?.[at];
      if (time !== undefined && (latest === undefined || time > latest)) latest = time;
    }
  });
  const unit = latest === undefined ? undefined : unitOf(latest);
  const halfLife = unit === undefined ? 0 : halfLifeDays * DAY_SECONDS * Number(unit);
  users.forEach((user, r) => {
    for (let at = log.indptr[user]!; at < log.indptr[user]! + ends[r]!; at++) {
      const age = unit === undefined ? 0 : Number(latest! - timestamps![at]!) / halfLife;
      scores[log.items[at]! - 1]! += 2 ** -age;
    }
  });
  return new RecentPopular(scores);
}

const settings = z.strictObject({
  halfLifeDays: z
    .array(z.number().positive())
    .min(1)
    .default([7, 30, 90, 365])
    .describe("after how many days an event counts half; chosen by validation recall at the largest cut-off"),
});

export const recentPopular: ScorerDefinition<z.infer<typeof settings>, RecentPopular> = {
  kind: "scorer",
  name: "recent-popular",
  paper: "popularity under exponential decay",
  about: "everybody gets what most users have taken of late; reads no history, and times where there are any",
  settings,
  chooses: true,
  async fit(dataset, { halfLifeDays }, run = {}, choose) {
    const fit = (days: number) => {
      run.signal?.throwIfAborted();
      return fitRecentPopular(dataset, days);
    };
    const { model, value: days, ...judged } = await chooseBest("at least one half-life", halfLifeDays, fit, choose);
    return { model, facts: { halfLifeDays: days, ...judged } };
  },
  chosen: ({ halfLifeDays }) => settings.parse({ halfLifeDays: [halfLifeDays] }),
  tensors: ({ scores }) => new Map([["scores", { shape: [scores.length], data: scores }]]),
  open: ({ catalog: { size } }, tensors) => new RecentPopular(storedArray(tensors, "scores", Float64Array, size)),
};
