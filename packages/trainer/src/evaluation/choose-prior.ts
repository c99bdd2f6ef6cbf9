import { PrismrecError, type RunOptions, yieldToEventLoop } from "@prismrec/core/base";
import { type Dataset, evaluationCases, type History } from "@prismrec/core/data";
import { meanOf, type PartitionTable } from "@prismrec/core/interests";
import { pairedDifferences, rankingMetrics } from "@prismrec/core/metrics";
import {
  type Fitted,
  type InterestBatch,
  isScoring,
  type Model,
  type MultiInterestModel,
  PriorModel,
  type ScorerDefinition,
  type ScoringModel,
  type SettingsRecord,
} from "@prismrec/core/models";
import { cutoffsWithin, DEFAULT_CUTOFFS } from "./cutoffs.js";
import { evaluationHistories } from "./evaluate.js";

/** What a prior's scores are multiplied by; 0, which is to go without one, is what all are held against. */
export const PRIOR_WEIGHTS: readonly number[] = [0.1, 0.25, 0.5, 1, 2, 4, 8];

/** Validation users whose lists are looked at: evenly taken of more. */
const MOST_USERS = 10_000;
/** Users ranked between two looks at the event loop. */
const USERS_AT_ONCE = 1024;

export interface PriorJudgeOptions extends RunOptions {
  /** Clusters of the validation histories, for a network that reads them. */
  readonly partition?: PartitionTable;
  /** Lengths at which lists are judged, of which the largest chooses. */
  readonly cutoffs?: readonly number[];
  /** Above 0, default `PRIOR_WEIGHTS`. */
  readonly weights?: readonly number[];
}

/**
 * Tells how good a network is with a linear prior added: recall + ndcg of the validation users at the largest
 * cut-off. Nothing is trained: the network reads the histories once, a weight is one search for each user.
 */
export class PriorJudge {
  /** [users] the network's own values. */
  readonly own: Float64Array;
  /** What the values are the sum of. */
  readonly metrics: readonly string[];

  private constructor(
    private readonly network: MultiInterestModel,
    private readonly cases: Cases,
    private readonly options: PriorJudgeOptions,
    own: Float64Array,
  ) {
    this.metrics = cases.metrics;
    this.own = own;
  }

  /** @throws an aborted signal rejects with its reason */
  static async open(
    network: MultiInterestModel,
    dataset: Dataset,
    options: PriorJudgeOptions = {},
  ): Promise<PriorJudge> {
    const { partition, cutoffs = DEFAULT_CUTOFFS } = options;
    const k = cutoffsWithin(cutoffs, network.itemCount).at(-1)!;
    const all = evaluationHistories(dataset, dataset.split.valid, "valid", partition);
    const targets = evaluationCases(dataset, "valid").map((one) => one.targets);
    const count = Math.min(all.length, MOST_USERS);
    const rows = Array.from({ length: count }, (_, n) => Math.floor((n * all.length) / count));
    const parts: Part[] = [];
    for (let from = 0; from < count; from += USERS_AT_ONCE) {
      await yieldToEventLoop(options.signal);
      const some = rows.slice(from, from + USERS_AT_ONCE);
      const histories = some.map((row) => all[row]!);
      parts.push({ histories, targets: some.map((row) => targets[row]!), interests: network.interests(histories) });
    }
    const cases: Cases = { k, count, metrics: [`recall@${k}`, `ndcg@${k}`], parts };
    return new PriorJudge(network, cases, options, await judge(network, cases, options.signal));
  }

  get weights(): readonly number[] {
    return this.options.weights ?? PRIOR_WEIGHTS;
  }

  /** [weights][users] the network's values with that prior under each weight. */
  async valuesWith(prior: ScoringModel): Promise<Float64Array[]> {
    const values: Float64Array[] = [];
    for (const weight of this.weights) {
      using model = new PriorModel(this.network, prior, weight);
      values.push(await judge(model, this.cases, this.options.signal));
    }
    return values;
  }
}

/** A network that was trained on some users, and whom it is judged on. */
export interface PriorPart {
  /** What a prior beside it may learn from. */
  readonly learn: Dataset;
  readonly judge: PriorJudge;
}

export interface PriorTrial {
  readonly prior: string;
  readonly weight: number;
  /** Mean over the users asked of recall + ndcg. */
  readonly value: number;
  /** Of the paired difference from the network alone. */
  readonly standardError: number;
}

/** Where a choice stays near, with the usual prior, as long as users cannot tell it from the best. */
const USUAL_WEIGHT = 0.5;
/** How far another prior is from the usual one, in doublings of the weight. */
const OTHER_PRIOR = 0.5;
/** How far it is to have none. */
const NO_PRIOR = 3;
/** Paired standard errors within which two are as good as each other. */
const INDIFFERENT = 0.5;

export interface Tried {
  /** null: the network alone. */
  readonly chosen: { readonly prior: string; readonly weight: number } | null;
  /** Whether it is the prior that is taken where nothing speaks for another; absent: no. */
  readonly usual?: boolean;
  /** [users] */
  readonly values: Float64Array;
}

/**
 * What has been tried beside a network, and which of it to take: of all that are not worse than the best by more than half a
 * paired standard error the one that is nearest to the usual. Where users are few the best of many is the luckiest.
 */
export class PriorChoice {
  readonly tried: PriorTrial[] = [];
  readonly #own: Float64Array;
  readonly #all: Tried[];

  /**
   * @param served the network to be served
   * @param folds networks like it that were trained without some users, who are asked in the place of the validation
   *   users: those have stopped the training when it suited them best, and make the network look better than it is
   */
  constructor(
    readonly served: PriorPart,
    readonly folds: readonly PriorPart[] = [],
  ) {
    this.#own = joined(this.#asked.map(({ judge }) => judge.own));
    this.#all = [{ chosen: null, values: this.#own }];
  }

  get #asked(): readonly PriorPart[] {
    return this.folds.length === 0 ? [this.served] : this.folds;
  }

  /** How many users choose. */
  get users(): number {
    return this.#own.length;
  }

  /** The network's own mean value; undefined where nobody is there to be asked. */
  get alone(): number | undefined {
    return this.users === 0 ? undefined : meanOf(this.#own).mean;
  }

  /** null: the network alone. */
  get chosen(): Tried["chosen"] {
    if (this.users === 0) return null;
    return chooseAmong(this.#all);
  }

  /**
   * Fits a candidate, its own settings chosen by what the network is worth with it under the best weight, and tries
   * every weight. For each fold it is fitted without those who are asked.
   *
   * @throws what fitting throws
   */
  async try(definition: ScorerDefinition, settings: SettingsRecord, run: RunOptions = {}): Promise<Fitted> {
    const { served, folds } = this;
    const chooses = definition.chooses === true;
    const recorded: Float64Array[][][] = [];
    // A definition asks as often of every part: what a fold says of its nth model is said of the nth of the whole.
    for (const { learn, judge } of chooses ? folds : []) {
      const told: Float64Array[][] = [];
      await definition.fit(learn, settings, run, async (model) => {
        told.push(await judge.valuesWith(asPrior(model)));
        return bestOf(told.at(-1)!);
      });
      recorded.push(told);
    }
    let at = 0;
    const fitted = await definition.fit(served.learn, settings, run, async (model) => {
      const values =
        folds.length === 0 ? [await served.judge.valuesWith(asPrior(model))] : recorded.map((one) => one[at]!);
      at++;
      return bestOf(pooled(values));
    });
    const found = chooses ? (definition.chosen?.(fitted.facts) ?? settings) : settings;
    const all: Float64Array[][] = folds.length === 0 ? [await served.judge.valuesWith(asPrior(fitted.model))] : [];
    for (const { learn, judge } of folds) {
      const { model } = await definition.fit(learn, found, run);
      all.push(await judge.valuesWith(asPrior(model)));
    }
    for (const [n, values] of pooled(all).entries()) {
      const chosen = { prior: definition.name, weight: served.judge.weights[n]! };
      const { standardError } = meanOf(pairedDifferences(values, this.#own));
      this.tried.push({ ...chosen, value: meanOf(values).mean, standardError });
      this.#all.push({ chosen, usual: definition.usualPrior === true, values });
    }
    return fitted;
  }
}

/**
 * Of all that are not worse than the best by more than half a paired standard error the one that is nearest to the usual.
 *
 * @param all at least one, each with values of the same users
 */
export function chooseAmong(all: readonly Tried[]): Tried["chosen"] {
  const means = all.map(({ values }) => meanOf(values).mean);
  const best = all[means.indexOf(Math.max(...means))]!;
  const asGood = all.filter(({ values }) => {
    const { mean, standardError } = meanOf(pairedDifferences(best.values, values));
    // Of a single user nothing is known but the value.
    return mean <= (Number.isFinite(standardError) ? INDIFFERENT * standardError : 0);
  });
  return asGood.reduce((a, b) => (distanceOf(b) < distanceOf(a) ? b : a)).chosen;
}

function distanceOf({ chosen, usual }: Tried): number {
  if (chosen === null) return NO_PRIOR;
  return Math.abs(Math.log2(chosen.weight / USUAL_WEIGHT)) + (usual === true ? 0 : OTHER_PRIOR);
}

/** [weights][users of all parts] */
function pooled(parts: readonly (readonly Float64Array[])[]): Float64Array[] {
  return parts[0]!.map((_, n) => joined(parts.map((values) => values[n]!)));
}

function joined(parts: readonly Float64Array[]): Float64Array {
  return Float64Array.from(parts.flatMap((values) => [...values]));
}

function bestOf(values: readonly Float64Array[]): number {
  return values.reduce((best, own) => Math.max(best, own.length === 0 ? 0 : meanOf(own).mean), 0);
}

/** @throws PrismrecError MODEL_UNSUPPORTED */
export function asPrior(model: Model): ScoringModel {
  if (isScoring(model)) return model;
  throw new PrismrecError("MODEL_UNSUPPORTED", `${model.name} cannot be a prior`, {
    expected: "a model that tells the score of every item",
    received: model.name,
    hint: 'Set "prior" to "none", or to another model.',
  });
}

interface Part {
  readonly histories: readonly History[];
  readonly targets: readonly Uint32Array[];
  readonly interests: InterestBatch;
}

interface Cases {
  readonly k: number;
  readonly count: number;
  readonly metrics: readonly string[];
  readonly parts: readonly Part[];
}

/** [users] the sum of the metrics. */
async function judge(
  model: MultiInterestModel,
  { k, count, metrics, parts }: Cases,
  signal: AbortSignal | undefined,
): Promise<Float64Array> {
  const values = new Float64Array(count);
  for (const [n, { histories, targets, interests }] of parts.entries()) {
    await yieldToEventLoop(signal);
    const ranking = await model.rank(histories, { k, interests, ...(signal === undefined ? {} : { signal }) });
    for (const metric of Object.values(rankingMetrics(ranking, targets, metrics))) {
      metric.forEach((value, u) => {
        values[n * USERS_AT_ONCE + u]! += value;
      });
    }
  }
  return values;
}
