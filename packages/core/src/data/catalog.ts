import type { Catalog, InteractionLog, Item } from "./types.js";

/**
 * A catalog over items that are already in dense order. `items[0]` is the padding entry and `popularity[0]` is 0; both
 * hold N + 1 entries.
 */
export function createCatalog(items: readonly Item[], popularity: Uint32Array): Catalog {
  const ids = new Map(items.map((item, dense) => [item.id, dense]));
  ids.delete("");
  return { size: items.length - 1, items, popularity, idOf: (externalId) => ids.get(externalId) };
}

/** A log over columns as `InteractionLog` describes them. */
export function createLog(columns: {
  readonly userIds: readonly string[];
  readonly indptr: Uint32Array;
  readonly items: Uint32Array;
  readonly timestamps?: BigInt64Array;
}): InteractionLog {
  const users = new Map(columns.userIds.map((id, user) => [id, user]));
  return { ...columns, userCount: columns.userIds.length, indexOf: (externalUserId) => users.get(externalUserId) };
}

/** User u's dense item ids, oldest first (a view, not a copy). */
export function userItems(log: InteractionLog, user: number): Uint32Array {
  return log.items.subarray(log.indptr[user], log.indptr[user + 1]);
}
