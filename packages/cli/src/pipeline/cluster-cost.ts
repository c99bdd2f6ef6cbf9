import type { Dataset } from "@prismrec/core/data";
import { type CostEstimate, estimateCost } from "@prismrec/llm";
import { chooseClusterer, historyLimits, openReader } from "./cluster.js";
import { readAsked } from "./lineage.js";
import type { Run } from "./run.js";

/** What splitting the histories of a run would cost its language model. */
export interface ClusterCost extends CostEstimate {
  /** Absent: there is no semantic side. */
  readonly clusterer?: string;
  /** Absent: no language model is asked. */
  readonly model?: string;
  /** Requests that were made to see what the others would take; their answers are kept. */
  readonly sampled: number;
}

/**
 * The dry run of the cluster stage: who would split the histories, and what would be asked. A few requests are made.
 *
 * @throws PrismrecError RUN_INVALID where the data are not imported; what the stage throws for its model
 */
export async function estimateClustering(run: Run): Promise<ClusterCost> {
  const { settings, directory, signal, options } = run;
  const { dataset } = await run.open("import");
  const context = {
    settings: { ...settings, fetchModel: false },
    directory,
    signal,
    options,
    note: () => undefined,
    warn: (text: string) => run.warn(text),
  };
  const choice = await chooseClusterer(context, dataset.catalog);
  const nothing = { calls: 0, kept: 0, tokens: 0, seconds: 0, sampled: 0 };
  if (choice.clusterer === undefined) return nothing;
  const read = choice.model ?? choice.embedder;
  if (read === undefined) return { ...nothing, clusterer: choice.clusterer };
  const before = await readAsked(directory, choice.model?.hash);
  const asked = before === undefined ? {} : { asked: before.asked };
  const reader = await openReader(context, dataset, { ...choice, ...asked });
  try {
    const { budget: _, ...unlimited } = reader.clustererContext;
    const cost = await estimateCost(
      choice.clusterer,
      unlimited,
      historiesOf(dataset, historyLimits(settings).maxItems),
    );
    const models = [unlimited.model, unlimited.embedder].filter((model) => model !== undefined);
    const sampled = models.reduce((sum, model) => sum + model.usage().calls, 0);
    return { ...cost, clusterer: choice.clusterer, model: models.map(({ name }) => name).join(" and "), sampled };
  } finally {
    await reader.close();
  }
}

function historiesOf({ split }: Dataset, maxItems: number): { readonly count: number; readonly meanLength: number } {
  const ends = [...split.train.ends, ...split.valid.historyEnds, ...split.test.historyEnds];
  const total = ends.reduce((sum, end) => sum + Math.min(end, maxItems), 0);
  return { count: ends.length, meanLength: total / Math.max(1, ends.length) };
}
