import { setImmediate } from "node:timers/promises";
import type { RunOptions } from "../base/run-options.js";
import type { Partition, PartitionRequest } from "./types.js";

/** Requests between two looks at the abort signal and the event loop, and pairs of items: cost grows with those. */
const BATCH = 64;
const PAIRS = 500_000;

/** Answers requests one by one with a synchronous function, giving way to aborts and progress in between. */
export async function partitionEach(
  requests: readonly PartitionRequest[],
  options: RunOptions,
  answer: (request: PartitionRequest) => Partition,
): Promise<Partition[]> {
  const partitions: Partition[] = [];
  let pairs = 0;
  for (const request of requests) {
    pairs += request.items.length ** 2;
    if (partitions.length % BATCH === 0 || pairs > PAIRS) {
      pairs = 0;
      options.onProgress?.({ stage: "cluster", done: partitions.length, total: requests.length, unit: "users" });
      await setImmediate();
      options.signal?.throwIfAborted();
    }
    partitions.push(answer(request));
  }
  options.onProgress?.({ stage: "cluster", done: requests.length, total: requests.length, unit: "users" });
  return partitions;
}
