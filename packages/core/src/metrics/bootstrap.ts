import { yieldToEventLoop } from "../base/abort.js";
import { checkLength } from "../base/check-matrix.js";
import { PrismrecError } from "../base/errors.js";
import { createRandom } from "../base/random.js";
import type { RunOptions } from "../base/run-options.js";
import { pairedDifferences } from "./paired.js";

const DEFAULT_SAMPLES = 2000;
const DEFAULT_LEVEL = 0.95;

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

/** Mean of a less that of b. */
export interface Difference extends Interval {
  /** Share of resamples in which a's mean is not above b's: a one-sided p-value of "a is better". */
  readonly notBetter: number;
}

/** Mean of `a - b` over the same users; resampling users keeps each one's pair together. */
export type PairedDifference = Difference;

export function bootstrapMean(values: ArrayLike<number>, options: BootstrapOptions = {}): Interval {
  const [means] = finish(resample([values], options));
  return intervalOf(meanOf(values), means!, options);
}

/**
 * Difference of the means of two groups of different users, each resampled by itself (Efron and Tibshirani 1993, ch. 8: the
 * two-sample problem).
 *
 * @throws PrismrecError INVALID_ARGUMENT for a group without users
 */
export function unpairedBootstrap(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  options: BootstrapOptions = {},
): Difference {
  const [first] = run(resample([a], options, "bootstrap a"));
  const [second] = run(resample([b], options, "bootstrap b"));
  const differences = first!.map((mean, sample) => mean - second![sample]!).sort();
  return differenceOf(meanOf(a) - meanOf(b), differences, options);
}

/** `a[i]` and `b[i]` are two models' values of the same user. SHAPE_MISMATCH otherwise. */
export function pairedBootstrap(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  options: BootstrapOptions = {},
): PairedDifference {
  const values = pairedDifferences(a, b);
  const [means] = finish(resample([values], options));
  return differenceOf(meanOf(values), means!, options);
}

/**
 * `bootstrapMean` of several series over the same users: each has the very interval it has alone, under resamples that
 * are drawn once for all. Gives way to the event loop in between.
 *
 * @throws PrismrecError INVALID_ARGUMENT, SHAPE_MISMATCH for series of several lengths; an aborted signal rejects with
 *   its reason
 */
export async function bootstrapMeans(
  series: Readonly<Record<string, ArrayLike<number>>>,
  options: BootstrapOptions & RunOptions = {},
): Promise<Record<string, Interval>> {
  const names = Object.keys(series);
  const all = await finishInTurns(Object.values(series), options);
  return Object.fromEntries(names.map((name, s) => [name, intervalOf(meanOf(series[name]!), all[s]!, options)]));
}

/** `pairedBootstrap` of several pairs over the same users, as `bootstrapMeans` is for one. */
export async function pairedBootstraps(
  pairs: Readonly<Record<string, readonly [a: ArrayLike<number>, b: ArrayLike<number>]>>,
  options: BootstrapOptions & RunOptions = {},
): Promise<Record<string, PairedDifference>> {
  const names = Object.keys(pairs);
  const series = Object.values(pairs).map(([a, b]) => pairedDifferences(a, b));
  const all = await finishInTurns(series, options);
  return Object.fromEntries(names.map((name, s) => [name, differenceOf(meanOf(series[s]!), all[s]!, options)]));
}

/** Draws between two looks at the event loop: about ten milliseconds. */
const DRAWS_PER_TURN = 100_000;

type Resampling = Generator<number, Float64Array[], void>;

/** The means of every series in every resample, as drawn; stops now and then and says how many resamples are done. */
function* resample(
  series: readonly ArrayLike<number>[],
  { samples = DEFAULT_SAMPLES, level = DEFAULT_LEVEL, seed = 1 }: BootstrapOptions,
  stream = "bootstrap",
): Resampling {
  const n = series[0]?.length ?? 0;
  if (n === 0 || !Number.isInteger(samples) || samples < 2 || !(level > 0 && level < 1)) {
    throw new PrismrecError("INVALID_ARGUMENT", "a bootstrap needs values, resamples and a level", {
      expected: "at least one value, two samples, a level between 0 and 1",
      received: `${n} values, ${samples} samples, level ${level}`,
    });
  }
  for (const { length } of series) checkLength("a series over the same users", length, n);
  const width = series.length;
  // A drawn user's values lie side by side.
  const byUser = new Float64Array(n * width);
  for (const [s, values] of series.entries()) for (let i = 0; i < n; i++) byUser[i * width + s] = values[i]!;
  const means = series.map(() => new Float64Array(samples));
  const sums = new Float64Array(width);
  const random = createRandom(seed, stream);
  let drawn = 0;
  for (let sample = 0; sample < samples; sample++) {
    sums.fill(0);
    for (let i = 0; i < n; i++) {
      const at = random.integer(0, n) * width;
      for (let s = 0; s < width; s++) sums[s]! += byUser[at + s]!;
      if (++drawn % DRAWS_PER_TURN === 0) yield sample;
    }
    for (let s = 0; s < width; s++) means[s]![sample] = sums[s]! / n;
  }
  return means;
}

const ascending = (series: Float64Array[]): Float64Array[] => series.map((means) => means.sort());

const finish = (resampling: Resampling): Float64Array[] => ascending(run(resampling));

function run(resampling: Resampling): Float64Array[] {
  for (;;) {
    const { done, value } = resampling.next();
    if (done === true) return value;
  }
}

async function finishInTurns(
  series: readonly ArrayLike<number>[],
  options: BootstrapOptions & RunOptions,
): Promise<Float64Array[]> {
  const { samples = DEFAULT_SAMPLES, signal, onProgress } = options;
  signal?.throwIfAborted();
  if (series.length === 0) return [];
  const resampling = resample(series, options);
  for (;;) {
    const { done, value } = resampling.next();
    if (done === true) return ascending(value);
    onProgress?.({ stage: "bootstrap", done: value, total: samples, unit: "resamples" });
    await yieldToEventLoop(signal);
  }
}

function differenceOf(mean: number, means: Float64Array, options: BootstrapOptions): Difference {
  const notBetter = means.filter((value) => value <= 0).length / means.length;
  return { ...intervalOf(mean, means, options), notBetter };
}

function meanOf(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i]!;
  return total / values.length;
}

/** @param means of resamples, ascending */
function intervalOf(mean: number, means: Float64Array, { level = DEFAULT_LEVEL }: BootstrapOptions): Interval {
  const samples = means.length;
  const centre = means.reduce((sum, value) => sum + value, 0) / samples;
  const variance = means.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (samples - 1);
  const quantile = (share: number): number => {
    const place = share * (samples - 1);
    const below = Math.floor(place);
    const above = Math.min(below + 1, samples - 1);
    return means[below]! + (place - below) * (means[above]! - means[below]!);
  };
  return {
    mean,
    low: quantile((1 - level) / 2),
    high: quantile((1 + level) / 2),
    standardError: Math.sqrt(variance),
  };
}
