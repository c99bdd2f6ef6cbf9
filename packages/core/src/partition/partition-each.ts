import { setImmediate } from "node:timers/promises";
import type { RunOptions } from "../runtime/run-options.js";
import type { Partition, PartitionRequest } from "./types.js";

/** Requests between two looks at the abort signal and the event loop. */
const BATCH = 64;

/** Answers requests one by one with a synchronous function, giving way to aborts and progress in between. */
export async function partitionEach(
  requests: readonly PartitionRequest[],
  options: RunOptions,
  answer: (request: PartitionRequest) => Partition,
): Promise<Partition[]> {
  const partitions: Partition[] = [];
  for (const request of requests) {
    if (partitions.length % BATCH === 0) {
      options.onProgress?.({ stage: "cluster", done: partitions.length, total: requests.length, unit: "users" });
      await setImmediate();
      options.signal?.throwIfAborted();
    }
    partitions.push(answer(request));
  }
  options.onProgress?.({ stage: "cluster", done: requests.length, total: requests.length, unit: "users" });
  return partitions;
}
