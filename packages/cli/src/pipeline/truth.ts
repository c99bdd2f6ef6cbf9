import {
  type Catalog,
  type Clusterer,
  categoryClusterer,
  interestRecovery,
  type Mean,
  openTable,
  type Partitions,
  PrismrecError,
  partitionDataset,
  RandomClusterer,
  ShuffledClusterer,
  spoolIfPipe,
  withDuckDb,
} from "@prismrec/core";
import { type Clustered, openRunClusterer } from "./cluster.js";
import type { Imported } from "./import.js";
import { type Pipeline, runOptions } from "./pipeline.js";

/** How well one clusterer finds known interests: the mean adjusted Rand index over users. */
export interface Recovery {
  readonly clusterer: string;
  /** true: it stands beside the run's own clusterer for comparison. */
  readonly control: boolean;
  readonly ari: number;
  readonly standardError: number;
  readonly users: number;
}

/** Reads a table with the columns item and interest; [N + 1] a number per interest, -1 for items without one. */
export async function readTruth(path: string, catalog: Catalog, signal: AbortSignal): Promise<Int32Array> {
  return withDuckDb(async (connection) => {
    await using file = await spoolIfPipe(path, signal);
    const table = await openTable(connection, file.path);
    for (const column of ["item", "interest"]) {
      if (table.columns.includes(column)) continue;
      throw new PrismrecError("DATA_FORMAT", `${path} has no column ${column}`, {
        expected: "columns item and interest",
        received: table.columns.join(", ").slice(0, 200),
      });
    }
    const truth = new Int32Array(catalog.size + 1).fill(-1);
    const numbers = new Map<string, number>();
    let known = 0;
    for await (const [items = [], interests = []] of table.read(["item", "interest"], signal)) {
      items.forEach((item, r) => {
        const id = item === null ? undefined : catalog.idOf(item.trim());
        const interest = interests[r]?.trim() ?? "";
        if (id === undefined || interest === "") return;
        if (!numbers.has(interest)) numbers.set(interest, numbers.size);
        truth[id] = numbers.get(interest)!;
        known++;
      });
    }
    if (known > 0) return truth;
    throw new PrismrecError("DATA_EMPTY", `${path} knows none of the run's items`, {
      expected: "item ids as in the interactions",
      received: "no match",
    });
  });
}

/** Interest recovery of the run's clusterer, then of the controls: categories, its own clusters shuffled, random ones. */
export async function measureRecovery(
  pipeline: Pipeline,
  imported: Imported,
  clustered: Clustered,
  truth: Int32Array,
): Promise<Recovery[]> {
  const { partitions } = clustered;
  if (partitions === undefined) return [];
  const { dataset } = imported;
  const { seed, cluster } = pipeline.settings;
  const own = clustered.report.clusterer ?? "";
  const found = [describe(own, false, interestRecovery(dataset, partitions, truth))];
  await using source = await openRunClusterer(pipeline, imported, clustered);
  const controls: Clusterer[] = [new ShuffledClusterer(source.clusterer, seed), new RandomClusterer(seed)];
  const hasCategories = dataset.catalog.items.some(({ categories }) => categories.length > 0);
  if (hasCategories) controls.unshift(categoryClusterer(dataset.catalog));
  for (const control of controls.filter(({ name }) => name !== own)) {
    const other: Partitions = await partitionDataset(dataset, control, {
      maxClusters: cluster.maxClusters,
      ...runOptions(pipeline),
    });
    found.push(describe(control.name, true, interestRecovery(dataset, other, truth)));
  }
  return found;
}

function describe(clusterer: string, control: boolean, { mean, standardError, count }: Mean): Recovery {
  return { clusterer, control, ari: mean, standardError, users: count };
}
