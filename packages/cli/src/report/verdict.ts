import { percent, points, signedPoints } from "../format.js";
import { aloneName, type EvaluationReport } from "../pipeline/evaluate.js";
import { headlineMetric } from "../pipeline/metrics.js";

/** The models that the own one is held against, its own network by itself apart. */
export function baselines({ own, models }: Pick<EvaluationReport, "own" | "models">): string[] {
  return Object.keys(models).filter((name) => name !== own && name !== aloneName(own));
}

/** The one that is best in the metric that sentences speak of; undefined where there is none. */
export function bestBaseline(evaluation: Pick<EvaluationReport, "own" | "models">): string | undefined {
  const metric = headlineMetric(evaluation.models[evaluation.own] ?? {}) ?? "";
  const value = (name: string): number => evaluation.models[name]?.[metric] ?? 0;
  return baselines(evaluation).reduce<string | undefined>(
    (best, name) => (best === undefined || value(name) > value(best) ? name : best),
    undefined,
  );
}

/** The report's first sentence: how good, and what is gained, with no more certainty than the interval allows. */
export function verdict(evaluation: EvaluationReport): string {
  const { own: name, models, comparisons, protocol } = evaluation;
  const own = models[name] ?? {};
  const metric = headlineMetric(own) ?? "";
  const best = bestBaseline(evaluation);
  const found = `${name} finds ${percent(own[metric] ?? 0)} of what test users took next within its first ${metric.split("@")[1]}`;
  if (best === undefined) return `${found}; there is no baseline to hold it against.`;
  const value = percent(models[best]?.[metric] ?? 0);
  const difference = comparisons[best]?.[metric];
  if (difference === undefined) return `${found}; ${best}, the best baseline, ${value}.`;
  const { mean, low, high } = difference;
  const gap = `${points(Math.abs(mean), 1)} points`;
  if (low > 0) return `${found}: ${gap} more than ${best}, the best baseline (${value}).`;
  if (high < 0) return `${found}: ${gap} less than ${best}, the best baseline (${value}).`;
  return `${found}: ${protocol.users.test} test users show no difference from ${best}, the best baseline (${value}; ${signedPoints(mean, 1)} points, anything from ${signedPoints(low, 1)} to ${signedPoints(high, 1)}).`;
}
