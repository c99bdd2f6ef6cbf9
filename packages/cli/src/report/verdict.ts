import { percent, points } from "../format.js";
import { aloneName, type EvaluationReport } from "../pipeline/evaluate.js";
import { headlineMetric } from "../pipeline/metrics.js";

/** The report's first sentence: how good, and against what, with no more certainty than the interval allows. */
export function verdict({ own: name, models, comparisons }: EvaluationReport): string {
  const own = models[name] ?? {};
  const metric = headlineMetric(own) ?? "";
  const baselines = Object.entries(models).filter(([other]) => other !== name && other !== aloneName(name));
  const best = baselines.reduce<{ name: string; value: number } | undefined>((above, [name, values]) => {
    const value = values[metric] ?? 0;
    return above === undefined || value > above.value ? { name, value } : above;
  }, undefined);
  const found = `${name} finds ${percent(own[metric] ?? 0)} of what test users took next within its first ${metric.split("@")[1]}`;
  if (best === undefined) return `${found}.`;
  const difference = comparisons[best.name]?.[metric];
  if (difference === undefined) return `${found}; ${best.name}, the best baseline, ${percent(best.value)}.`;
  const gap = `${points(Math.abs(difference.mean), 1)} points`;
  if (difference.low > 0) return `${found}, ${gap} above ${best.name}, the best baseline.`;
  if (difference.high < 0) return `${found}, ${gap} below ${best.name}, the best baseline.`;
  return `${found}; too close to ${best.name} (${percent(best.value)}), the best baseline, to call.`;
}
