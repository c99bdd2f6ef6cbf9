import type { Dataset } from "../dataset/types.js";
import { PrismrecError } from "../errors/errors.js";
import type { RunOptions } from "../runtime/run-options.js";
import { partitionRequest } from "./partition-request.js";
import type { Clusterer, PartitionRequest, PartitionTable } from "./types.js";

/** One table per part of the split; row r belongs to `split.<part>.users[r]` and covers its visible events only. */
export interface Partitions {
  readonly train: PartitionTable;
  readonly valid: PartitionTable;
  readonly test: PartitionTable;
}

export interface PartitionOptions extends RunOptions {
  /** Most clusters of one user (default 8). */
  readonly maxClusters?: number;
  /** Only a user's most recent items are read (all by default); earlier events get cluster -1. */
  readonly maxItems?: number;
}

/**
 * Partitions every user of the split by what may be read of them: `ends[r]` events of a training user, the history
 * `historyEnds[r]` of a validation or test user, so that no target is ever seen. Repeated items share one cluster.
 */
export async function partitionDataset(
  dataset: Dataset,
  clusterer: Clusterer,
  options: PartitionOptions = {},
): Promise<Partitions> {
  const { maxClusters = 8, signal, onProgress } = options;
  const maxItems = Math.min(options.maxItems ?? Infinity, clusterer.maxItems ?? Infinity);
  const { train, valid, test } = dataset.split;
  const parts = [
    { users: train.users, ends: train.ends },
    { users: valid.users, ends: valid.historyEnds },
    { users: test.users, ends: test.historyEnds },
  ] as const;
  const requests = parts.map(({ users, ends }) =>
    Array.from(users, (user, r) => requestOf(dataset, user, ends[r]!, maxClusters, maxItems)),
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
    const assign = new Int16Array(indptr[users.length]!).fill(-1);
    const labels = Array.from(users, (user, r) => {
      const request = requests[p]![r]!;
      const partition = partitions[at++];
      if (partition === undefined || partition.assign.length !== request.items.length) {
        throw new PrismrecError(
          "LLM_OUTPUT_INVALID",
          `the clusterer ${clusterer.name} left items of user ${dataset.log.userIds[user]} out`,
          {
            expected: `${request.items.length} clusters`,
            received: `${partition?.assign.length ?? "no partition"}`,
          },
        );
      }
      const clusterOf = new Map(Array.from(request.items, (item, i) => [item, partition.assign[i]!]));
      const start = dataset.log.indptr[user]!;
      for (let t = 0; t < ends[r]!; t++) {
        assign[indptr[r]! + t] = clusterOf.get(dataset.log.items[start + t]!) ?? -1;
      }
      return partition.labels;
    });
    return { clusterer: clusterer.name, fingerprint: clusterer.fingerprint, indptr, assign, labels };
  });
  return { train: trainTable!, valid: validTable!, test: testTable! };
}

function requestOf(
  { log }: Dataset,
  user: number,
  end: number,
  maxClusters: number,
  maxItems: number,
): PartitionRequest {
  const start = log.indptr[user]!;
  const unique = new Set<number>();
  for (let t = end - 1; t >= 0 && unique.size < maxItems; t--) unique.add(log.items[start + t]!);
  return partitionRequest(Uint32Array.from([...unique].reverse()), maxClusters);
}
