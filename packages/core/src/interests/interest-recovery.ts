import { yieldToEventLoop } from "../base/abort.js";
import type { Dataset } from "../data/types.js";
import { adjustedRandIndex, type Mean, meanOf } from "./agreement.js";
import type { Partitions } from "./partition-dataset.js";

/** Users between two looks at the abort signal and the event loop. */
const BATCH = 512;

/**
 * How well partitions find interests that are known: the adjusted Rand index of each user's clusters against the
 * interests of the items, averaged over the users with at least `minEvents` visible events and two true interests.
 * `truth` is [N + 1]: the interest of each dense item id, -1 where unknown. An aborted signal rejects with its reason.
 */
export async function interestRecovery(
  dataset: Dataset,
  partitions: Partitions,
  truth: ArrayLike<number>,
  options: { readonly minEvents?: number; readonly signal?: AbortSignal } = {},
): Promise<Mean> {
  const { minEvents = 4, signal } = options;
  const { log, split } = dataset;
  const values: number[] = [];
  for (const part of ["train", "valid", "test"] as const) {
    const table = partitions[part];
    for (const [r, user] of split[part].users.entries()) {
      if (r % BATCH === 0) await yieldToEventLoop(signal);
      const start = table.indptr[r]!;
      const clusters = table.assign.subarray(start, table.indptr[r + 1]!);
      const interests = Array.from(clusters, (_, t) => truth[log.items[log.indptr[user]! + t]!] ?? -1);
      const distinct = new Set(interests.filter((interest) => interest >= 0));
      if (clusters.length >= minEvents && distinct.size >= 2) values.push(adjustedRandIndex(clusters, interests));
    }
  }
  return meanOf(values);
}
