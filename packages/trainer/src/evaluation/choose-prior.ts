import { type RunOptions, yieldToEventLoop } from "@prismrec/core/base";
import { type Dataset, evaluationCases, type History } from "@prismrec/core/data";
import { meanOf, type PartitionTable } from "@prismrec/core/interests";
import { pairedDifferences, rankingMetrics } from "@prismrec/core/metrics";
import { type InterestBatch, type MultiInterestModel, PriorModel, type ScoringModel } from "@prismrec/core/models";
import { cutoffsWithin, DEFAULT_CUTOFFS } from "./cutoffs.js";
import { evaluationHistories } from "./evaluate.js";

/** What a prior's scores are multiplied by; 0, which is to go without one, is what all are held against. */
export const PRIOR_WEIGHTS: readonly number[] = [0.1, 0.25, 0.5, 1, 2];

/** Validation users whose lists are looked at: evenly taken of more. */
const MOST_USERS = 10_000;
/** Users ranked between two looks at the event loop. */
const USERS_AT_ONCE = 1024;

export interface ChoosePriorOptions extends RunOptions {
  /** Clusters of the validation histories, for a network that reads them. */
  readonly partition?: PartitionTable;
  /** Lengths at which lists are judged, of which the largest chooses. */
  readonly cutoffs?: readonly number[];
  /** Above 0, default `PRIOR_WEIGHTS`. */
  readonly weights?: readonly number[];
}

export interface PriorTrial {
  readonly weight: number;
  /** Mean over validation users of recall + ndcg. */
  readonly value: number;
  /** Of the paired difference from the network alone. */
  readonly standardError: number;
}

/**
 * Tells how good a network is with a linear prior added: the mean over validation users of recall + ndcg at the largest
 * cut-off. Nothing is trained: the network reads the histories once, a trial is one search for each user.
 */
export class PriorJudge {
  /** What the values are the sum of. */
  readonly metrics: readonly string[];
  /** The network's own value; undefined where nobody is there to validate on. */
  readonly alone: number | undefined;
  readonly #own: Float64Array;

  private constructor(
    private readonly network: MultiInterestModel,
    private readonly cases: Cases,
    private readonly options: ChoosePriorOptions,
    own: Float64Array,
  ) {
    this.metrics = cases.metrics;
    this.#own = own;
    this.alone = own.length === 0 ? undefined : meanOf(own).mean;
  }

  /** @throws an aborted signal rejects with its reason */
  static async open(
    network: MultiInterestModel,
    dataset: Dataset,
    options: ChoosePriorOptions = {},
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

  /** The network with that prior under every weight; none where nobody is there to validate on. */
  async try(prior: ScoringModel): Promise<PriorTrial[]> {
    const { weights = PRIOR_WEIGHTS, signal } = this.options;
    const trials: PriorTrial[] = [];
    for (const weight of this.cases.count === 0 ? [] : weights) {
      using model = new PriorModel(this.network, prior, weight);
      const values = await judge(model, this.cases, signal);
      const { standardError } = meanOf(pairedDifferences(values, this.#own));
      trials.push({ weight, value: meanOf(values).mean, standardError });
    }
    return trials;
  }
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
