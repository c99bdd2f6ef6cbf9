import { PrismrecError } from "../base/errors.js";
import type { Ranking } from "./ranking.js";

/**
 * Accuracy of one ranked list against one user's targets. All are fractions in [0, 1]; ranks count from 1.
 * - `recall`: hits / targets; `precision`: hits / n; `hit-rate`: 1 with any hit;
 * - `ndcg`: sum of 1 / log2(rank + 1) over hits, over the same sum for an ideal list of min(targets, n) hits;
 * - `ndcg-comirec-hits`: the ideal list has as many hits as this one, so that one hit at rank 1 scores 1 however many
 *   were missed (ComiRec's and REMI's released code);
 * - `ndcg-comirec-paper`: as before, but a hit's position is its place among the *targets* (ComiRec's first code);
 *   both are here only to compare with published tables;
 * - `mrr`: 1 / rank of the first hit; `map`: precision at each hit's rank, over min(targets, n).
 */
export const rankingMetricNames = [
  "recall",
  "ndcg",
  "ndcg-comirec-hits",
  "ndcg-comirec-paper",
  "hit-rate",
  "mrr",
  "map",
  "precision",
] as const;
export type RankingMetricName = (typeof rankingMetricNames)[number];

/** A metric with its cut-off, as in `recall@20`. */
export interface RankingMetric {
  readonly name: RankingMetricName;
  readonly n: number;
}

/** Reads `recall@20`; CONFIG_INVALID for an unknown name or a missing cut-off. */
export function parseRankingMetric(text: string): RankingMetric {
  const [name = "", cut = ""] = text.split("@");
  const known = rankingMetricNames.find((candidate) => candidate === name);
  const n = Number(cut);
  if (known === undefined || !/^\d+$/.test(cut) || n < 1) {
    throw new PrismrecError("CONFIG_INVALID", `"${text}" is not a ranking metric`, {
      expected: `NAME@N with NAME one of ${rankingMetricNames.join(", ")}`,
      received: text,
    });
  }
  return { name: known, n };
}

/** A list as it counts: padding (0) and repeats dropped, so that neither shifts ranks nor is hit twice. */
export function cleanList(ranked: ArrayLike<number>): number[] {
  const list = new Set(Array.from(ranked));
  list.delete(0);
  return [...list];
}

const discount = (rank: number): number => 1 / Math.log2(rank + 1);

function idealGain(hits: number): number {
  let gain = 0;
  for (let rank = 1; rank <= hits; rank++) gain += discount(rank);
  return gain;
}

/**
 * One user's value. `ranked` is best first and may hold padding and repeats (they do not count); `targets` are distinct,
 * oldest first. A user without targets has no value: INVALID_ARGUMENT.
 */
export function rankingMetric(metric: RankingMetric, ranked: ArrayLike<number>, targets: ArrayLike<number>): number {
  if (targets.length === 0) {
    throw new PrismrecError("INVALID_ARGUMENT", "a list cannot be judged without targets", {
      expected: "at least one target",
      received: "none",
    });
  }
  return judge(metric, cleanList(ranked), new Map(Array.from(targets, (target, place) => [target, place])));
}

function judge({ name, n }: RankingMetric, list: readonly number[], places: ReadonlyMap<number, number>): number {
  const ranks: number[] = [];
  let labelGain = 0;
  for (let at = 0; at < Math.min(n, list.length); at++) {
    const place = places.get(list[at]!);
    if (place === undefined) continue;
    ranks.push(at + 1);
    labelGain += discount(place + 1);
  }
  const hits = ranks.length;
  if (hits === 0) return 0;
  const best = Math.min(places.size, n);
  const gain = (): number => ranks.reduce((sum, rank) => sum + discount(rank), 0);
  switch (name) {
    case "recall":
      return hits / places.size;
    case "precision":
      return hits / n;
    case "hit-rate":
      return 1;
    case "ndcg":
      return gain() / idealGain(best);
    case "ndcg-comirec-hits":
      return gain() / idealGain(hits);
    case "ndcg-comirec-paper":
      return labelGain / idealGain(hits);
    case "mrr":
      return 1 / ranks[0]!;
    case "map":
      return ranks.reduce((sum, rank, before) => sum + (before + 1) / rank, 0) / best;
  }
}

/**
 * Per-user values of several metrics over a whole ranking: `result["recall@20"][r]` belongs to row r of the ranking.
 * A list shorter than a metric's cut-off would be judged as if the catalog ended there: INVALID_ARGUMENT.
 */
export function rankingMetrics(
  ranking: Ranking,
  targets: readonly ArrayLike<number>[],
  metrics: readonly string[],
): Record<string, Float64Array> {
  const parsed = metrics.map((text) => ({ text, metric: parseRankingMetric(text) }));
  const longest = Math.max(0, ...parsed.map(({ metric }) => metric.n));
  if (ranking.counts.length !== targets.length) {
    throw new PrismrecError("SHAPE_MISMATCH", "every ranked list needs its targets", {
      expected: `${ranking.counts.length} lists of targets`,
      received: String(targets.length),
    });
  }
  const cut = parsed.find(({ metric }) => metric.n > ranking.k);
  if (cut !== undefined) {
    throw new PrismrecError("INVALID_ARGUMENT", `${cut.text} needs longer lists`, {
      expected: `k >= ${longest}`,
      received: `k ${ranking.k}`,
    });
  }
  const values = parsed.map(() => new Float64Array(targets.length));
  for (let row = 0; row < targets.length; row++) {
    const start = row * ranking.k;
    const list = cleanList(ranking.ids.subarray(start, start + ranking.counts[row]!));
    const places = new Map(Array.from(targets[row]!, (target, place) => [target, place]));
    if (places.size === 0) {
      throw new PrismrecError("INVALID_ARGUMENT", "a list cannot be judged without targets", {
        expected: "at least one target for every list",
        received: `none for row ${row}`,
      });
    }
    parsed.forEach(({ metric }, m) => {
      values[m]![row] = judge(metric, list, places);
    });
  }
  return Object.fromEntries(parsed.map(({ text }, m) => [text, values[m]!]));
}
