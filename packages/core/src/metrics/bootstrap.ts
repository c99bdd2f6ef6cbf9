import { PrismrecError } from "../errors/errors.js";
import { createRandom } from "../random/random.js";

export interface BootstrapOptions {
  /** Resamples of the users (default 2000). */
  readonly samples?: number;
  /** Probability that the interval is to cover (default 0.95). */
  readonly level?: number;
  readonly seed?: number;
}

/** Mean over users with a percentile interval from resampled users. */
export interface Interval {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
  /** Standard deviation of the resampled means. */
  readonly standardError: number;
}

/** Mean of `a - b` over the same users; resampling users keeps each one's pair together. */
export interface PairedDifference extends Interval {
  /** Share of resamples in which a's mean is not above b's: a one-sided p-value of "a is better". */
  readonly notBetter: number;
}

export function bootstrapMean(values: ArrayLike<number>, options: BootstrapOptions = {}): Interval {
  const { interval } = resample(values, options);
  return interval;
}

/** `a[i]` and `b[i]` are two models' values of the same user. SHAPE_MISMATCH otherwise. */
export function pairedBootstrap(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  options: BootstrapOptions = {},
): PairedDifference {
  if (a.length !== b.length) {
    throw new PrismrecError("SHAPE_MISMATCH", "a paired comparison needs the same users on both sides", {
      expected: `${a.length} values`,
      received: String(b.length),
    });
  }
  const { interval, means } = resample(
    Float64Array.from(a, (value, i) => value - b[i]!),
    options,
  );
  return { ...interval, notBetter: means.filter((value) => value <= 0).length / means.length };
}

function resample(
  values: ArrayLike<number>,
  { samples = 2000, level = 0.95, seed = 1 }: BootstrapOptions,
): { readonly interval: Interval; readonly means: Float64Array } {
  const n = values.length;
  if (n === 0 || !Number.isInteger(samples) || samples < 2 || !(level > 0 && level < 1)) {
    throw new PrismrecError("INVALID_ARGUMENT", "a bootstrap needs values, resamples and a level", {
      expected: "at least one value, two samples, a level between 0 and 1",
      received: `${n} values, ${samples} samples, level ${level}`,
    });
  }
  const random = createRandom(seed, "bootstrap");
  const means = Float64Array.from({ length: samples }, () => {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += values[random.integer(0, n)]!;
    return sum / n;
  }).sort();
  const centre = means.reduce((sum, value) => sum + value, 0) / samples;
  const variance = means.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (samples - 1);
  const quantile = (share: number): number => {
    const place = share * (samples - 1);
    const below = Math.floor(place);
    const above = Math.min(below + 1, samples - 1);
    return means[below]! + (place - below) * (means[above]! - means[below]!);
  };
  let total = 0;
  for (let i = 0; i < n; i++) total += values[i]!;
  return {
    interval: {
      mean: total / n,
      low: quantile((1 - level) / 2),
      high: quantile((1 + level) / 2),
      standardError: Math.sqrt(variance),
    },
    means,
  };
}
