import type { CsrMatrix } from "../matrix/matrix.js";
import { userItems } from "./catalog.js";
import type { Dataset } from "./types.js";

/**
 * What may be learned from, as a binary matrix: row j holds the training events of user `split.train.users[j]`, column
 * i stands for dense id i + 1; the indices of a row keep the order of its events.
 */
export function trainingMatrix({ log, split, catalog }: Dataset): CsrMatrix {
  const { users, ends } = split.train;
  const indptr = new Uint32Array(users.length + 1);
  ends.forEach((end, j) => {
    indptr[j + 1] = indptr[j]! + end;
  });
  const indices = new Uint32Array(indptr[users.length]!);
  users.forEach((user, j) => {
    const events = userItems(log, user).subarray(0, ends[j]);
    for (let i = 0; i < events.length; i++) indices[indptr[j]! + i] = events[i]! - 1;
  });
  return { indptr, indices, rows: users.length, cols: catalog.size };
}

/** Items of one evaluated user: what the model may read, and what it is asked for. */
export interface EvaluationCase {
  /** Index into the log's users. */
  readonly user: number;
  readonly history: Uint32Array;
  readonly targets: Uint32Array;
}

/** The users of an evaluation part with their histories and targets (views into the log). */
export function evaluationCases({ log, split }: Dataset, part: "valid" | "test"): EvaluationCase[] {
  const { users, historyEnds, targetEnds } = split[part];
  return Array.from(users, (user, j) => {
    const events = userItems(log, user);
    return {
      user,
      history: events.subarray(0, historyEnds[j]),
      targets: events.subarray(historyEnds[j], targetEnds[j]),
    };
  });
}
