import type { RunOptions } from "../base/run-options.js";
import type { Dataset } from "../data/types.js";
import { eventClusters, type HistoryLimits, historyRequest } from "./history-request.js";
import type { Clusterer, PartitionTable } from "./types.js";

/** One table per part of the split; row r belongs to `split.<part>.users[r]` and covers its visible events only. */
export interface Partitions {
  readonly train: PartitionTable;
  readonly valid: PartitionTable;
  readonly test: PartitionTable;
}

export interface PartitionOptions extends HistoryLimits, RunOptions {}

/**
 * Partitions every user of the split by what may be read of them: `ends[r]` events of a training user, the history
 * `historyEnds[r]` of a validation or test user, so that no target is ever seen. Repeated items share one cluster.
 */
export async function partitionDataset(
  dataset: Dataset,
  clusterer: Clusterer,
  options: PartitionOptions = {},
): Promise<Partitions> {
  const { signal, onProgress } = options;
  const { train, valid, test } = dataset.split;
  const parts = [
    { users: train.users, ends: train.ends },
    { users: valid.users, ends: valid.historyEnds },
    { users: test.users, ends: test.historyEnds },
  ] as const;
  const requests = parts.map(({ users, ends }) =>
    Array.from(users, (user, r) => historyRequest(visible(dataset, user, ends[r]!), clusterer, options)),
  );
  const partitions = await clusterer.partition(requests.flat(), {
    ...(signal === undefined ? {} : { signal }),
    ...(onProgress === undefined ? {} : { onProgress }),
  });
  let at = 0;
  const [trainTable, validTable, testTable] = parts.map(({ users, ends }, p) => {
    const indptr = new Uint32Array(users.length + 1);
    users.forEach((_, r) => {
      indptr[r + 1] = indptr[r]! + ends[r]!;
    });
    const assign = new Int16Array(indptr[users.length]!);
    const labels = Array.from(users, (user, r) => {
      const partition = partitions[at++];
      assign.set(eventClusters(clusterer, requests[p]![r]!, partition, visible(dataset, user, ends[r]!)), indptr[r]!);
      return partition?.labels ?? [];
    });
    return { clusterer: clusterer.name, fingerprint: clusterer.fingerprint, indptr, assign, labels };
  });
  return { train: trainTable!, valid: validTable!, test: testTable! };
}

/** A user's first `end` events. */
function visible({ log }: Dataset, user: number, end: number): Uint32Array {
  const start = log.indptr[user]!;
  return log.items.subarray(start, start + end);
}
