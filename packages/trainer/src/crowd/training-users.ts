import type { CsrMatrix } from "@prismrec/core/base";
import type { Dataset } from "@prismrec/core/data";

/** Rarer than this weighs no more, commoner than e^-.1 of all users no less. */
const MIN_IDF = 0.1;

/** The training users' item sets: the only part of the data that crowds are made from. */
export interface TrainingUsers {
  /** [rows] log user index of each row. */
  readonly users: Uint32Array;
  /** rows x (N + 1): distinct dense item ids of the visible events, ascending. */
  readonly sets: CsrMatrix;
  /**
   * Aligned with `sets.indices`: when the user last met the item; larger is later. The timestamp where there is one,
   * else minus the number of later events.
   */
  readonly recency: Float64Array;
  /** [N + 1] training users that hold each item. */
  readonly itemUsers: Uint32Array;
  /** [N + 1] log(users / itemUsers), at least .1. */
  readonly idf: Float64Array;
}

export function trainingUsers({ catalog, log, split }: Dataset): TrainingUsers {
  const { users, ends } = split.train;
  const indptr = new Uint32Array(users.length + 1);
  const items: number[] = [];
  const recency: number[] = [];
  for (let row = 0; row < users.length; row++) {
    const start = log.indptr[users[row]!]!;
    const last = new Map<number, number>();
    for (let t = 0; t < ends[row]!; t++) {
      const timestamp = log.timestamps?.[start + t];
      last.set(log.items[start + t]!, timestamp === undefined ? t + 1 - ends[row]! : Number(timestamp));
    }
    for (const [item, when] of [...last].sort((a, b) => a[0] - b[0])) {
      items.push(item);
      recency.push(when);
    }
    indptr[row + 1] = items.length;
  }
  const itemUsers = new Uint32Array(catalog.size + 1);
  for (const item of items) itemUsers[item]!++;
  const idf = Float64Array.from(itemUsers, (count) => Math.max(MIN_IDF, Math.log(users.length / Math.max(1, count))));
  return {
    users,
    sets: { indptr, indices: Uint32Array.from(items), rows: users.length, cols: catalog.size + 1 },
    recency: Float64Array.from(recency),
    itemUsers,
    idf,
  };
}
