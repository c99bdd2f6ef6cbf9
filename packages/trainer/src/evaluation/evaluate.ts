import {
  bootstrapMean,
  type Dataset,
  type EvaluationPart,
  evaluationCases,
  type History,
  InterestModel,
  type Interval,
  type Model,
  type PartitionTable,
  PrismrecError,
  parseRankingMetric,
  type RunOptions,
  rankingMetrics,
} from "@prismrec/core";
import { checkPartition } from "../training/sequences.js";
import { diagnose, type ModelDiagnostics } from "./diagnostics.js";

export const DEFAULT_METRICS = ["recall@20", "ndcg@20", "hit-rate@20", "recall@50", "ndcg@50", "hit-rate@50"] as const;

export interface EvaluateOptions extends RunOptions {
  readonly part: "valid" | "test";
  /** e.g. `recall@50`; default: recall, ndcg and hit-rate at 20 and 50. */
  readonly metrics?: readonly string[];
  /** Clusters of that part's histories; absent: the model serves without a semantic side. */
  readonly partition?: PartitionTable;
  /** Intervals from that many resamples of the users; absent: none. */
  readonly bootstrap?: { readonly samples?: number; readonly level?: number; readonly seed?: number };
  /** What the interests look like (trained networks only); default true. */
  readonly diagnostics?: boolean;
}

export interface Evaluation {
  readonly model: string;
  readonly part: "valid" | "test";
  /** log user index of each row of `perUser`. */
  readonly users: Uint32Array;
  /** Mean over users of each metric, a fraction. */
  readonly metrics: Readonly<Record<string, number>>;
  /** [users] */
  readonly perUser: Readonly<Record<string, Float64Array>>;
  readonly intervals?: Readonly<Record<string, Interval>>;
  readonly diagnostics?: ModelDiagnostics;
}

/**
 * Ranks the whole catalog for every user of a part, without what the history holds, and judges the lists.
 *
 * @throws PrismrecError CONFIG_INVALID for an unknown metric; DATA_EMPTY for a part without users; SHAPE_MISMATCH for
 *   partitions of another split
 */
export async function evaluate(model: Model, dataset: Dataset, options: EvaluateOptions): Promise<Evaluation> {
  const { part, metrics: names = DEFAULT_METRICS, signal, onProgress } = options;
  const rows = dataset.split[part];
  if (rows.users.length === 0) {
    throw new PrismrecError("DATA_EMPTY", `the ${part} part of the split has no users`, {
      hint: "Split again with more users.",
    });
  }
  const k = Math.max(...names.map((name) => parseRankingMetric(name).n));
  if (k > model.itemCount) {
    throw new PrismrecError("CONFIG_INVALID", "a metric's cut-off is larger than the catalog", {
      expected: `at most ${model.itemCount}`,
      received: String(k),
    });
  }
  const histories = evaluationHistories(dataset, rows, part, options.partition);
  const ranking = await model.rank(histories, {
    k,
    ...(signal === undefined ? {} : { signal }),
    ...(onProgress === undefined ? {} : { onProgress }),
  });
  const perUser = rankingMetrics(
    ranking,
    evaluationCases(dataset, part).map(({ targets }) => targets),
    names,
  );
  const entries = Object.entries(perUser);
  const intervals =
    options.bootstrap === undefined
      ? undefined
      : Object.fromEntries(entries.map(([name, values]) => [name, bootstrapMean(values, options.bootstrap)]));
  const diagnostics =
    options.diagnostics === false || !(model instanceof InterestModel)
      ? undefined
      : diagnose(model, histories, ranking);
  return {
    model: model.name,
    part,
    users: rows.users,
    metrics: Object.fromEntries(entries.map(([name, values]) => [name, mean(values)])),
    perUser,
    ...(intervals === undefined ? {} : { intervals }),
    ...(diagnostics === undefined ? {} : { diagnostics }),
  };
}

/** What a model reads of each user of a part: the history alone, with its clusters where there are any. */
export function evaluationHistories(
  dataset: Dataset,
  rows: EvaluationPart,
  part: string,
  partition?: PartitionTable,
): History[] {
  checkPartition(partition, rows.historyEnds, part);
  const { log } = dataset;
  return Array.from(rows.users, (user, r) => {
    const from = log.indptr[user]!;
    const items = log.items.subarray(from, from + rows.historyEnds[r]!);
    if (partition === undefined) return { items };
    return { items, clusters: partition.assign.subarray(partition.indptr[r]!, partition.indptr[r + 1]!) };
  });
}

function mean(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
