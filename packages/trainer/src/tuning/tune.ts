import { rm } from "node:fs/promises";
import { join } from "node:path";
import { isPrismrecError, PrismrecError } from "@prismrec/core/base";
import { type Mean, meanOf } from "@prismrec/core/interests";
import { pairedDifferences } from "@prismrec/core/metrics";
import type { InterestModel } from "@prismrec/core/models";
import type { TrainConfig } from "../config.js";
import { cutoffsWithin } from "../evaluation/cutoffs.js";
import { evaluate } from "../evaluation/evaluate.js";
import type { TrainEvent } from "../training/events.js";
import { type TrainInput, type TrainResult, train } from "../training/train.js";

/** A configuration that may take the place of the one in use. */
export interface TuningCandidate {
  /** Lower-case letters, digits and dashes: also its folder. */
  readonly key: string;
  readonly config: TrainConfig;
}

export interface TuneOptions {
  /** Folder of the trials, each a training that can go on. */
  readonly dir: string;
  /** Steps that all trials may take together, as a multiple of those that the configuration in use takes. */
  readonly budget: number;
  readonly signal?: AbortSignal;
  readonly onEvent?: (key: string, config: TrainConfig, event: TrainEvent) => void;
}

export interface TuningTrial {
  readonly key: string;
  readonly steps: number;
  readonly epochs: number;
  /** Best recall + ndcg on validation so far, at the largest cut-off; null where it diverged. */
  readonly value: number | null;
  /** Paired over validation users, minus the configuration in use; absent for a trial that was dropped on the way. */
  readonly difference?: Mean;
}

export interface Tuning {
  /** Key of the candidate to use instead of the configuration in use; null: it stays. */
  readonly chosen: string | null;
  /** The configuration in use first. */
  readonly trials: readonly TuningTrial[];
  /** Of all trials together. */
  readonly steps: number;
}

/** Key of the configuration in use. */
export const IN_USE = "in-use";

/** Shares of the epochs of the configuration in use after which the weaker half of the candidates is dropped. */
const RUNGS = [1 / 8, 1 / 4, 1 / 2];

/**
 * Successive halving (Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization",
 * 2016): trains the configuration in use to its end, then as many of the candidates, in their order, as the budget
 * allows for an eighth of its epochs, the better half of them for a quarter, and so on; the last is trained to its end.
 * It is chosen only where it is better by more than one standard error of the paired difference over validation users.
 * Counted in steps, so that the same data and seed choose the same on any machine; a second call goes on where an
 * interrupted one stopped.
 *
 * @throws PrismrecError DATA_EMPTY where nobody is there to validate on, and what `train` throws; an aborted signal
 *   rejects with its reason
 */
export async function tune(
  input: TrainInput,
  inUse: TrainConfig,
  candidates: readonly TuningCandidate[],
  options: TuneOptions,
): Promise<Tuning> {
  if (input.dataset.split.valid.users.length === 0) {
    throw new PrismrecError("DATA_EMPTY", "nobody is there to validate on", { hint: "Split with validation users." });
  }
  const trials = new Trials(input, inUse, options);
  const own = await trials.train({ key: IN_USE, config: inUse });
  const epochs = own.curve.length;
  const rungs = [...new Set(RUNGS.map((share) => Math.max(1, Math.round(share * epochs))))].filter((r) => r < epochs);
  // Without a rung nothing can tell the candidates apart before their end.
  const most = rungs.length === 0 ? 1 : candidates.length;
  let left = candidates.slice(0, mostCandidates(most, rungs, epochs, options.budget * epochs));
  for (const rung of rungs) {
    const judged: { readonly candidate: TuningCandidate; readonly value: number }[] = [];
    for (const candidate of left) judged.push({ candidate, value: await trials.valueAfter(candidate, rung) });
    const kept = rung === rungs.at(-1) ? 1 : Math.ceil(left.length / 2);
    left = judged
      .sort((a, b) => b.value - a.value)
      .slice(0, kept)
      .map(({ candidate }) => candidate);
  }
  let chosen: string | null = null;
  const [last] = left;
  if (last !== undefined) {
    const rest = own.steps * (1 + options.budget) - trials.steps;
    const more = Math.max(1, Math.floor((rest * epochs) / own.steps));
    const difference = await trials.compareAfter(last, trials.epochsOf(last.key) + more, own.model);
    if (difference !== undefined && difference.mean > difference.standardError) chosen = last.key;
  }
  for (const { key } of trials.all()) if (key !== (chosen ?? IN_USE)) await trials.discard(key);
  return { chosen, trials: trials.all(), steps: trials.steps };
}

/** As many candidates as a budget of epochs has room for, beside the end of the last one's training. */
function mostCandidates(most: number, rungs: readonly number[], epochs: number, budget: number): number {
  const cost = (count: number): number => {
    let [left, before, sum] = [count, 0, 0];
    for (const rung of rungs) {
      sum += left * (rung - before);
      before = rung;
      left = Math.ceil(left / 2);
    }
    return sum + epochs - before;
  };
  let count = 0;
  while (count < most && cost(count + 1) <= budget) count++;
  return count;
}

class Trials {
  readonly #input: TrainInput;
  readonly #options: TuneOptions;
  readonly #results = new Map<string, TuningTrial>();
  /** What values are the sum of. */
  readonly #metrics: readonly [string, string];

  constructor(input: TrainInput, { stopping }: TrainConfig, options: TuneOptions) {
    this.#input = input;
    this.#options = options;
    const k = cutoffsWithin(stopping.cutoffs, input.dataset.catalog.size).at(-1);
    this.#metrics = [`recall@${k}`, `ndcg@${k}`];
  }

  /** Steps of all trials so far. */
  get steps(): number {
    return this.all().reduce((sum, { steps }) => sum + steps, 0);
  }

  all(): TuningTrial[] {
    return [...this.#results.values()];
  }

  epochsOf(key: string): number {
    return this.#results.get(key)?.epochs ?? 0;
  }

  /** Trains on, to the end or for that many epochs in all. */
  async train({ key, config }: TuningCandidate, pauseAfter = Infinity): Promise<TrainResult> {
    const { dir, signal, onEvent } = this.#options;
    const result = await train(this.#input, config, {
      dir: join(dir, key),
      pauseAfter,
      ...(signal === undefined ? {} : { signal }),
      ...(onEvent === undefined ? {} : { onEvent: (event: TrainEvent) => onEvent(key, config, event) }),
    });
    if (result.stoppedBy === "signal") signal?.throwIfAborted();
    const [recall, ndcg] = this.#metrics;
    const value = Math.max(...result.curve.map(({ metrics }) => metrics[recall]! + metrics[ndcg]!));
    this.#results.set(key, { key, steps: result.steps, epochs: result.curve.length, value });
    return result;
  }

  /** The best value of a candidate within that many epochs; -Infinity where it diverged. */
  async valueAfter(candidate: TuningCandidate, epochs: number): Promise<number> {
    await this.#unlessDiverged(candidate, () => this.train(candidate, epochs));
    return this.#results.get(candidate.key)?.value ?? -Infinity;
  }

  /** How much better a candidate is than another model within that many epochs; undefined where it diverged. */
  async compareAfter(candidate: TuningCandidate, epochs: number, other: InterestModel): Promise<Mean | undefined> {
    const found = await this.#unlessDiverged(candidate, () => this.train(candidate, epochs));
    if (found === undefined) return undefined;
    const difference = meanOf(pairedDifferences(await this.#values(found.model), await this.#values(other)));
    const { key } = candidate;
    this.#results.set(key, { ...this.#results.get(key)!, difference });
    return difference;
  }

  async discard(key: string): Promise<void> {
    await rm(join(this.#options.dir, key), { recursive: true, force: true });
  }

  /** A candidate whose weights grow out of range has lost, and the others go on. */
  async #unlessDiverged<T>({ key }: TuningCandidate, body: () => Promise<T>): Promise<T | undefined> {
    try {
      return await body();
    } catch (error) {
      if (!isPrismrecError(error, "TRAINING_DIVERGED")) throw error;
      this.#results.set(key, { steps: 0, epochs: 0, ...this.#results.get(key), key, value: null });
      return undefined;
    }
  }

  /** [users] the sum of the metrics. */
  async #values(model: InterestModel): Promise<Float64Array> {
    const { dataset, partitions } = this.#input;
    const { signal } = this.#options;
    const { perUser } = await evaluate(model, dataset, {
      part: "valid",
      metrics: this.#metrics,
      diagnostics: false,
      ...(partitions === undefined ? {} : { partition: partitions.valid }),
      ...(signal === undefined ? {} : { signal }),
    });
    const [recall, ndcg] = this.#metrics.map((metric) => perUser[metric]!);
    return recall!.map((value, u) => value + ndcg![u]!);
  }
}
