import { PrismrecError, type RunOptions } from "@prismrec/core/base";
import type { Catalog, Dataset } from "@prismrec/core/data";
import { openTable, type Table, withDuckDb } from "@prismrec/core/data/import";
import {
  type Clusterer,
  categoryClusterer,
  interestRecovery,
  type Mean,
  type Partitions,
  partitionDataset,
  RandomClusterer,
  ShuffledClusterer,
} from "@prismrec/core/interests";
import type { Clustered } from "./cluster.js";

/** How well one clusterer finds known interests: the mean adjusted Rand index over users. */
export interface Recovery {
  readonly clusterer: string;
  /** true: it stands beside the run's own clusterer for comparison. */
  readonly control: boolean;
  readonly ari: number;
  readonly standardError: number;
  readonly users: number;
}

/** Whether there is such a table as `readTruth` reads. Throws FILE_NOT_FOUND, DATA_FORMAT. */
export async function checkTruth(path: string): Promise<void> {
  await withDuckDb((connection) => openTruth(connection, path));
}

async function openTruth(connection: Parameters<typeof openTable>[0], path: string): Promise<Table> {
  const table = await openTable(connection, path);
  for (const column of ["item", "interest"]) {
    if (table.columns.includes(column)) continue;
    throw new PrismrecError("DATA_FORMAT", `${path} has no column ${column}`, {
      expected: "columns item and interest",
      received: table.columns.join(", ").slice(0, 200),
    });
  }
  return table;
}

/** Reads a table with the columns item and interest; [N + 1] a number per interest, -1 for items without one. */
export async function readTruth(path: string, catalog: Catalog, signal: AbortSignal): Promise<Int32Array> {
  return withDuckDb(async (connection) => {
    const table = await openTruth(connection, path);
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
  run: {
    readonly dataset: Dataset;
    readonly clustered: Clustered;
    readonly seed: number;
    readonly options: Required<RunOptions>;
  },
  truth: Int32Array,
): Promise<Recovery[]> {
  const { dataset, clustered, seed, options } = run;
  const { report, partitions, controlLimits } = await clustered.contents();
  if (partitions === undefined) return [];
  const { signal } = options;
  const own = report.clusterer ?? "";
  const found = [describe(own, false, await interestRecovery(dataset, partitions, truth, { signal }))];
  await using source = await clustered.openClusterer();
  const controls: Clusterer[] = [new ShuffledClusterer(source.clusterer, seed), new RandomClusterer(seed)];
  const hasCategories = dataset.catalog.items.some(({ categories }) => categories.length > 0);
  if (hasCategories) controls.unshift(categoryClusterer(dataset.catalog));
  for (const control of controls.filter(({ name }) => name !== own)) {
    const other: Partitions = await partitionDataset(dataset, control, { ...controlLimits, ...options });
    found.push(describe(control.name, true, await interestRecovery(dataset, other, truth, { signal })));
  }
  return found;
}

function describe(clusterer: string, control: boolean, { mean, standardError, count }: Mean): Recovery {
  return { clusterer, control, ari: mean, standardError, users: count };
}
