import { type DevicePreference, PrismrecError, type RunOptions, yieldToEventLoop } from "@prismrec/core/base";
import {
  type Catalog,
  type Dataset,
  type EvaluationPart,
  evaluationCases,
  type History,
  userHistory,
} from "@prismrec/core/data";
import type { PartitionTable } from "@prismrec/core/interests";
import {
  bootstrapMeans,
  type Exposure,
  ExposureMeter,
  type Interval,
  parseRankingMetric,
  type Ranking,
  rankingMetrics,
} from "@prismrec/core/metrics";
import { InterestModel, isMultiInterest, type Model, PriorModel } from "@prismrec/core/models";
import { checkPartition } from "../training/sequences.js";
import { DEFAULT_CUTOFFS, metricsAt } from "./cutoffs.js";
import { diagnose, type ModelDiagnostics } from "./diagnostics.js";
import { type ExplanationFidelity, measureExplanations } from "./explanation-fidelity.js";
import { type GroupMetrics, groupMetrics } from "./groups.js";
import { mean } from "./mean.js";

/** Users whose lists are judged between two looks at the event loop. */
const JUDGED_AT_ONCE = 2048;

export interface EvaluateOptions extends RunOptions {
  readonly part: "valid" | "test";
  /** e.g. `recall@50`; default: recall, ndcg and hit-rate at 20 and 50, as the catalog allows (`cutoffsWithin`). */
  readonly metrics?: readonly string[];
  /** Clusters of that part's histories; absent: the model serves without a semantic side. */
  readonly partition?: PartitionTable;
  /** Intervals from that many resamples of the users; absent: none. */
  readonly bootstrap?: { readonly samples?: number; readonly level?: number; readonly seed?: number };
  /** Metrics by popularity of what was taken and by length of the history beside those of everybody; default false. */
  readonly groups?: boolean;
  /** What the interests look like (trained networks only); default true. */
  readonly diagnostics?: boolean;
  /** What the lists do to the catalog, whatever they hit; default false. */
  readonly exposure?: boolean;
  /**
   * [N + 1] by dense id, what the interests that are named behind the items are judged by (models with interests): the
   * catalog's items, or others with categories that say better what an item is about. Says something only where neither
   * model nor clusters know them. Absent: nobody judges.
   */
  readonly explanations?: Catalog["items"];
  /** Where the search runs (`RankOptions.device`); default "cpu". */
  readonly device?: DevicePreference;
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
  /** By group, where they were asked for. */
  readonly groups?: Readonly<Record<string, GroupMetrics>>;
  readonly diagnostics?: ModelDiagnostics;
  /** Of the lists as long as the largest cut-off, where it was asked for. */
  readonly exposure?: ExposureAt;
  /** Where it was asked for and can be said. */
  readonly explanations?: ExplanationFidelity;
}

/** `Exposure` of lists of n items. */
export interface ExposureAt extends Exposure {
  readonly n: number;
}

/**
 * Ranks the whole catalog for every user of a part, without what the history holds, and judges the lists.
 *
 * @throws PrismrecError CONFIG_INVALID for an unknown metric; DATA_EMPTY for a part without users; SHAPE_MISMATCH for
 *   partitions of another split; an aborted signal rejects with its reason
 */
export async function evaluate(model: Model, dataset: Dataset, options: EvaluateOptions): Promise<Evaluation> {
  const { part, metrics: names = metricsAt(DEFAULT_CUTOFFS, model.itemCount), device, signal, onProgress } = options;
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
  const run = {
    ...(signal === undefined ? {} : { signal }),
    ...(onProgress === undefined ? {} : { onProgress }),
  };
  const ranking = await model.rank(histories, { k, ...(device === undefined ? {} : { device }), ...run });
  const targets = evaluationCases(dataset, part).map((one) => one.targets);
  const perUser = await judge(ranking, targets, names, signal);
  const entries = Object.entries(perUser);
  const intervals =
    options.bootstrap === undefined ? undefined : await bootstrapMeans(perUser, { ...options.bootstrap, ...run });
  const network = model instanceof PriorModel ? model.network : model;
  const diagnostics =
    options.diagnostics === false || !(network instanceof InterestModel)
      ? undefined
      : await diagnose(network, histories, ranking, run);
  const explanations =
    options.explanations !== undefined && isMultiInterest(model)
      ? await measureExplanations(
          model,
          { histories, labels: options.partition?.labels ?? [], ranking },
          dataset.catalog,
          options.explanations,
          run,
        )
      : undefined;
  const exposure = options.exposure === true ? await measureExposure(ranking, histories, dataset, signal) : undefined;
  return {
    model: model.name,
    part,
    users: rows.users,
    metrics: Object.fromEntries(entries.map(([name, values]) => [name, mean(values)])),
    perUser,
    ...(intervals === undefined ? {} : { intervals }),
    ...(options.groups === true ? { groups: groupMetrics(ranking, targets, dataset, rows, names) } : {}),
    ...(diagnostics === undefined ? {} : { diagnostics }),
    ...(exposure === undefined ? {} : { exposure }),
    ...(explanations === undefined ? {} : { explanations }),
  };
}

/** `ExposureMeter` over all lists, some users at a time. */
async function measureExposure(
  { k, ids, counts }: Ranking,
  histories: readonly History[],
  { catalog, split }: Dataset,
  signal: AbortSignal | undefined,
): Promise<ExposureAt> {
  const meter = new ExposureMeter(k, catalog, split.train.users.length);
  for (const [row, { items }] of histories.entries()) {
    if (row % JUDGED_AT_ONCE === 0) await yieldToEventLoop(signal);
    meter.add(ids.subarray(row * k, row * k + counts[row]!), items);
  }
  return { n: k, ...meter.value() };
}

/** `rankingMetrics`, some users at a time. */
async function judge(
  ranking: Ranking,
  targets: readonly Uint32Array[],
  names: readonly string[],
  signal: AbortSignal | undefined,
): Promise<Record<string, Float64Array>> {
  const { k, ids, scores, counts } = ranking;
  const perUser = Object.fromEntries(names.map((name) => [name, new Float64Array(targets.length)]));
  for (let from = 0; from < targets.length; from += JUDGED_AT_ONCE) {
    await yieldToEventLoop(signal);
    const to = Math.min(from + JUDGED_AT_ONCE, targets.length);
    const part = {
      k,
      ids: ids.subarray(from * k, to * k),
      scores: scores.subarray(from * k, to * k),
      counts: counts.subarray(from, to),
    };
    const judged = rankingMetrics(part, targets.slice(from, to), names);
    for (const [name, values] of Object.entries(judged)) perUser[name]!.set(values, from);
  }
  return perUser;
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
    const history = userHistory(log, user, rows.historyEnds[r]!);
    if (partition === undefined) return history;
    return { ...history, clusters: partition.assign.subarray(partition.indptr[r]!, partition.indptr[r + 1]!) };
  });
}
