import type { Dataset } from "../dataset/types.js";
import { adjustedRandIndex, type Mean, meanOf } from "./agreement.js";
import type { Partitions } from "./partition-dataset.js";

/**
 * How well partitions find interests that are known: the adjusted Rand index of each user's clusters against the
 * interests of the items, averaged over the users with at least `minEvents` visible events and two true interests.
 * `truth` is [N + 1]: the interest of each dense item id, -1 where unknown.
 */
export function interestRecovery(
  dataset: Dataset,
  partitions: Partitions,
  truth: ArrayLike<number>,
  options: { readonly minEvents?: number } = {},
): Mean {
  const { minEvents = 4 } = options;
  const { log, split } = dataset;
  const values: number[] = [];
  for (const part of ["train", "valid", "test"] as const) {
    const table = partitions[part];
    split[part].users.forEach((user, r) => {
      const start = table.indptr[r]!;
      const clusters = table.assign.subarray(start, table.indptr[r + 1]!);
      const interests = Array.from(clusters, (_, t) => truth[log.items[log.indptr[user]! + t]!] ?? -1);
      const distinct = new Set(interests.filter((interest) => interest >= 0));
      if (clusters.length >= minEvents && distinct.size >= 2) values.push(adjustedRandIndex(clusters, interests));
    });
  }
  return meanOf(values);
}
