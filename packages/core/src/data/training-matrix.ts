import type { CsrMatrix } from "../base/matrix.js";
import { userItems } from "./catalog.js";
import type { Dataset } from "./types.js";

/**
 * What may be learned from, as a binary matrix: row j holds the distinct items of the training events of user
 * `split.train.users[j]`, column i stands for dense id i + 1; the indices of a row keep the order of first events.
 */
export function trainingMatrix({ log, split, catalog }: Dataset): CsrMatrix {
  const { users, ends } = split.train;
  const indptr = new Uint32Array(users.length + 1);
  const indices = new Uint32Array(ends.reduce((sum, end) => sum + end, 0));
  const lastRow = new Int32Array(catalog.size + 1).fill(-1);
  let count = 0;
  users.forEach((user, j) => {
    for (const item of userItems(log, user).subarray(0, ends[j])) {
      if (lastRow[item] === j) continue;
      lastRow[item] = j;
      indices[count++] = item - 1;
    }
    indptr[j + 1] = count;
  });
  return { indptr, indices: indices.slice(0, count), rows: users.length, cols: catalog.size };
}

/**
 * The distinct items among `targets` that `history` does not hold, in order. Where every user holds an item once, these
 * are all of them.
 */
export function newItems(history: Uint32Array, targets: Uint32Array): Uint32Array {
  const old = new Set(history);
  return Uint32Array.from(new Set(targets.filter((item) => !old.has(item))));
}

/** Items of one evaluated user: what the model may read, and what it is asked for. */
export interface EvaluationCase {
  /** Index into the log's users. */
  readonly user: number;
  readonly history: Uint32Array;
  /** Distinct, and none of them in the history, which no ranking holds. */
  readonly targets: Uint32Array;
}

/** The users of an evaluation part with their histories (views into the log) and targets. */
export function evaluationCases({ log, split }: Dataset, part: "valid" | "test"): EvaluationCase[] {
  const { users, historyEnds, targetEnds } = split[part];
  return Array.from(users, (user, j) => {
    const events = userItems(log, user);
    const history = events.subarray(0, historyEnds[j]);
    return { user, history, targets: newItems(history, events.subarray(historyEnds[j], targetEnds[j])) };
  });
}
