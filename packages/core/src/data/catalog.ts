import type { Columns, TextColumn } from "./columns.js";
import type { History } from "./history.js";
import type { Catalog, InteractionLog, Item } from "./types.js";

/**
 * A catalog over items that are already in dense order. `items[0]` is the padding entry and `popularity[0]` is 0; both, and
 * every column, hold N + 1 entries.
 */
export function createCatalog(items: readonly Item[], popularity: Uint32Array, columns?: Columns): Catalog {
  const ids = new Map<string, number>();
  for (const [dense, { id }] of items.entries()) ids.set(id, dense);
  ids.delete("");
  return {
    size: items.length - 1,
    items,
    popularity,
    ...(columns === undefined || columns.size === 0 ? {} : { columns }),
    idOf: (externalId) => ids.get(externalId),
  };
}

/** A log over columns as `InteractionLog` describes them. */
export function createLog(columns: {
  readonly userIds: readonly string[];
  readonly indptr: Uint32Array;
  readonly items: Uint32Array;
  readonly timestamps?: BigInt64Array;
  readonly behaviours?: TextColumn;
  readonly weights?: Float32Array;
  readonly unordered?: true;
  readonly profile?: Columns;
}): InteractionLog {
  const users = new Map<string, number>();
  for (const [user, id] of columns.userIds.entries()) users.set(id, user);
  return { ...columns, userCount: columns.userIds.length, indexOf: (externalUserId) => users.get(externalUserId) };
}

/** User u's dense item ids, oldest first (a view, not a copy). */
export function userItems(log: InteractionLog, user: number): Uint32Array {
  return log.items.subarray(log.indptr[user], log.indptr[user + 1]);
}

/**
 * What a model may read of user u: events, their kinds, times and weights, and the user's profile, where the log has them (views,
 * not copies).
 *
 * @param end how many of the leading events, such as those before an evaluated user's targets; absent: all
 */
export function userHistory(log: InteractionLog, user: number, end?: number): History {
  const from = log.indptr[user]!;
  const to = end === undefined ? log.indptr[user + 1]! : Math.min(from + end, log.indptr[user + 1]!);
  const { behaviours, timestamps, weights, profile } = log;
  return {
    items: log.items.subarray(from, to),
    ...(behaviours === undefined ? {} : { events: { ...behaviours, codes: behaviours.codes.subarray(from, to) } }),
    ...(timestamps === undefined ? {} : { times: timestamps.subarray(from, to) }),
    ...(weights === undefined ? {} : { weights: weights.subarray(from, to) }),
    ...(profile === undefined ? {} : { profile: { columns: profile, row: user } }),
  };
}
