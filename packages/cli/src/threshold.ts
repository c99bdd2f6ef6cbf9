import { suggest } from "@prismrec/core/base";
import { PrismrecError } from "@prismrec/core/errors";
import { InvalidArgumentError } from "commander";

export interface Threshold {
  readonly metric: string;
  /** A fraction. */
  readonly value: number;
}

/** The command did its work, and the result is below what was demanded of it. */
export class ThresholdMissed extends Error {
  override readonly name = "ThresholdMissed";
  constructor({ metric, value }: Threshold, reached: number | undefined, model: string) {
    super(
      reached === undefined
        ? `${metric} was not measured, so it cannot reach ${value}`
        : `${metric} of ${model} is ${reached.toFixed(4)}, below ${value}`,
    );
  }
}

/** Reads `metric=value`. Whether the run measures that metric is for `checkMetric` to say. */
export function parseThreshold(text: string): Threshold {
  const [, metric, value] = /^([a-z-]+@\d+)=(\d*\.?\d+)$/.exec(text) ?? [];
  if (metric === undefined || Number(value) > 1) {
    throw new InvalidArgumentError("Give a metric and a fraction, for example recall@50=0.4.");
  }
  return { metric, value: Number(value) };
}

/** Refuses a threshold of a metric that will not be measured, before the work. Throws INVALID_ARGUMENT. */
export function checkMetric({ metric }: Threshold, measured: readonly string[]): void {
  if (measured.includes(metric)) return;
  const near = suggest(metric, measured);
  throw new PrismrecError("INVALID_ARGUMENT", `--fail-under: this run does not measure ${metric}`, {
    expected: `one of ${measured.join(", ")}`,
    received: metric,
    hint: near === undefined ? "Name one of the metrics that evaluate prints." : `Did you mean ${near}?`,
  });
}
