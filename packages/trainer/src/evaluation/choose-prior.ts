import { type RunOptions, yieldToEventLoop } from "@prismrec/core/base";
import { type Dataset, evaluationCases } from "@prismrec/core/data";
import { meanOf, type PartitionTable } from "@prismrec/core/interests";
import { pairedDifferences, rankingMetrics } from "@prismrec/core/metrics";
import { type MultiInterestModel, PriorModel, type ScoringModel } from "@prismrec/core/models";
import { cutoffsWithin, DEFAULT_CUTOFFS } from "./cutoffs.js";
import { evaluationHistories } from "./evaluate.js";

/** What a prior's scores are multiplied by; 0, which is to go without one, is what all are held against. */
export const PRIOR_WEIGHTS: readonly number[] = [0.1, 0.25, 0.5, 1, 2];

/** Users whose interests are held at once. */
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
  readonly prior: string;
  readonly weight: number;
  /** Mean over validation users. */
  readonly value: number;
  /** Of the paired difference from the network alone. */
  readonly standardError: number;
}

export interface PriorChoice {
  /** Name and weight of the prior; null where the network is best alone, or nobody is there to validate on. */
  readonly chosen: { readonly prior: string; readonly weight: number } | null;
  /** What `value` is: the sum of two metrics. */
  readonly metric: string;
  /** Of the network alone; 0 without validation users. */
  readonly alone: number;
  readonly tried: readonly PriorTrial[];
}

/**
 * Which linear prior to add to a network, and with what weight: the pair with the best recall + ndcg on validation, as
 * far as it is better than no prior at all; of equal ones the first. Nothing is trained: a pair costs one search.
 *
 * @throws PrismrecError SHAPE_MISMATCH for models of different catalogs; an aborted signal rejects with its reason
 */
export async function choosePrior(
  network: MultiInterestModel,
  priors: readonly ScoringModel[],
  dataset: Dataset,
  options: ChoosePriorOptions = {},
): Promise<PriorChoice> {
  const { partition, cutoffs = DEFAULT_CUTOFFS, weights = PRIOR_WEIGHTS, signal, onProgress } = options;
  const k = cutoffsWithin(cutoffs, network.itemCount).at(-1)!;
  const names = [`recall@${k}`, `ndcg@${k}`];
  const histories = evaluationHistories(dataset, dataset.split.valid, "valid", partition);
  const targets = evaluationCases(dataset, "valid").map((one) => one.targets);
  const run = signal === undefined ? {} : { signal };
  const pairs = priors.flatMap((prior) =>
    weights.map((weight) => ({ prior, weight, model: new PriorModel(network, prior, weight) })),
  );
  const models = [network, ...pairs.map(({ model }) => model)];
  const values = models.map(() => new Float64Array(histories.length));
  try {
    for (let from = 0; from < histories.length; from += USERS_AT_ONCE) {
      await yieldToEventLoop(signal);
      const part = histories.slice(from, from + USERS_AT_ONCE);
      const interests = network.interests(part);
      for (const [n, model] of models.entries()) {
        const ranking = await model.rank(part, { k, interests, ...run });
        const judged = rankingMetrics(ranking, targets.slice(from, from + part.length), names);
        for (const metric of Object.values(judged)) {
          for (let u = 0; u < part.length; u++) values[n]![from + u]! += metric[u]!;
        }
        const done = from * models.length + (n + 1) * part.length;
        onProgress?.({ stage: "prior", done, total: histories.length * models.length, unit: "lists" });
      }
    }
  } finally {
    for (const { model } of pairs) model[Symbol.dispose]();
  }
  const own = values[0]!;
  const alone = meanOf(own).mean;
  const tried = pairs.map(({ prior, weight }, n): PriorTrial => {
    const value = values[n + 1]!;
    const { standardError } = meanOf(pairedDifferences(value, own));
    return { prior: prior.name, weight, value: meanOf(value).mean, standardError };
  });
  const best = tried.reduce<PriorTrial | undefined>(
    (found, one) => (one.value > (found?.value ?? alone) ? one : found),
    undefined,
  );
  return {
    chosen: best === undefined ? null : { prior: best.prior, weight: best.weight },
    metric: names.join(" + "),
    alone,
    tried,
  };
}
