import { PrismrecError } from "../base/errors.js";
import { addToRegistry } from "../base/registry.js";
import { ACCURACY_METRICS } from "./accuracy.js";
import type { Ranking } from "./ranking.js";
import type { RankingMetricDefinition } from "./ranking-metric.js";

/** Every ranking metric there is; `registerRankingMetric` adds to it. */
export const RANKING_METRICS: readonly RankingMetricDefinition[] = [...ACCURACY_METRICS];

/**
 * Makes a metric of a program's own one that can be asked for by name, wherever metrics are.
 *
 * @throws PrismrecError CONFIG_INVALID for a name that another metric has, or that is not made of lower-case letters,
 *   digits and dashes
 */
export function registerRankingMetric(metric: RankingMetricDefinition): void {
  addToRegistry(RANKING_METRICS, metric, "metric");
}

/** A metric with its cut-off, as in `recall@20`. */
export interface RankingMetric {
  readonly definition: RankingMetricDefinition;
  readonly n: number;
}

/** Reads `recall@20`; CONFIG_INVALID for an unknown name or a missing cut-off. */
export function parseRankingMetric(text: string): RankingMetric {
  const [name = "", cut = ""] = text.split("@");
  const definition = RANKING_METRICS.find((metric) => metric.name === name);
  const n = Number(cut);
  if (definition === undefined || !/^\d+$/.test(cut) || n < 1) {
    throw new PrismrecError("CONFIG_INVALID", `"${text}" is not a ranking metric`, {
      expected: `NAME@N with NAME one of ${RANKING_METRICS.map((metric) => metric.name).join(", ")}`,
      received: text,
    });
  }
  return { definition, n };
}

/** A list as it counts: padding (0) and repeats dropped, so that neither shifts ranks nor is hit twice. */
export function cleanList(ranked: ArrayLike<number>): number[] {
  const list = new Set(Array.from(ranked));
  list.delete(0);
  return [...list];
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

function judge({ definition, n }: RankingMetric, list: readonly number[], places: ReadonlyMap<number, number>): number {
  const ranks: number[] = [];
  const hitPlaces: number[] = [];
  for (let at = 0; at < Math.min(n, list.length); at++) {
    const place = places.get(list[at]!);
    if (place === undefined) continue;
    ranks.push(at + 1);
    hitPlaces.push(place + 1);
  }
  return ranks.length === 0 ? 0 : definition.value({ ranks, places: hitPlaces, targets: places.size, n });
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
