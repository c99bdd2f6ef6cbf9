import { PrismrecError } from "../base/errors.js";
import { partitionRequest } from "./partition-request.js";
import type { Clusterer, Partition, PartitionRequest } from "./types.js";

export const DEFAULT_MAX_CLUSTERS = 8;

/**
 * Most recent distinct items of a history that are split into interests. Clustering takes memory and time with their
 * square, so that one account of 10,000 events would cost more than all others together; models read far fewer events.
 */
export const DEFAULT_MAX_ITEMS = 500;

/** How much of a history is split, and into how many: one reading for training, controls and serving alike. */
export interface HistoryLimits {
  /** Most clusters of one history (default 8). */
  readonly maxClusters?: number;
  /** Only the most recent distinct items are read (default 500); events of earlier ones get cluster -1. */
  readonly maxItems?: number;
}

/**
 * What a clusterer is asked about one history: its distinct items, each where it stood last, oldest first, as many of the
 * most recent as the limits and the clusterer allow.
 *
 * @param history dense ids, oldest first
 */
export function historyRequest(
  history: Uint32Array,
  clusterer: Pick<Clusterer, "maxItems">,
  { maxClusters = DEFAULT_MAX_CLUSTERS, maxItems = DEFAULT_MAX_ITEMS }: HistoryLimits,
): PartitionRequest {
  const most = Math.min(maxItems, clusterer.maxItems ?? Infinity);
  const recent = new Set<number>();
  for (let t = history.length - 1; t >= 0 && recent.size < most; t--) recent.add(history[t]!);
  return partitionRequest(Uint32Array.from([...recent].reverse()), maxClusters);
}

/**
 * [history.length] the cluster of each event under the answer to its `historyRequest`: events of one item share theirs,
 * those of items beyond the limit have -1.
 *
 * @throws PrismrecError LLM_OUTPUT_INVALID where the answer does not cover the request
 */
export function eventClusters(
  clusterer: Pick<Clusterer, "name">,
  { items }: PartitionRequest,
  partition: Partition | undefined,
  history: Uint32Array,
): Int16Array {
  if (partition?.assign.length !== items.length) {
    throw new PrismrecError("LLM_OUTPUT_INVALID", `the clusterer ${clusterer.name} left items of a history out`, {
      expected: `${items.length} clusters`,
      received: `${partition?.assign.length ?? "no partition"}`,
    });
  }
  const clusterOf = new Map(Array.from(items, (item, i) => [item, partition.assign[i]!]));
  return Int16Array.from(history, (item) => clusterOf.get(item) ?? -1);
}
