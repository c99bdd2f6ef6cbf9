import { checkLength } from "../base/check-matrix.js";
import { PrismrecError } from "../base/errors.js";
import { rowsOf } from "../data/columns.js";
import type { History, UserProfile } from "../data/history.js";
import type { RankOptions } from "./model.js";

/** Refuses what no model can rank; part of the contract of `Model`. */
export function checkRank(itemCount: number, histories: readonly History[], { k, exclude, filter }: RankOptions): void {
  if (!Number.isInteger(k) || k < 1 || k > itemCount) {
    throw new PrismrecError("INVALID_ARGUMENT", "the length of a list must fit the catalog", {
      expected: `k from 1 to ${itemCount}`,
      received: String(k),
    });
  }
  checkHistories(itemCount, histories);
  if (filter !== undefined) checkLength("filter", filter.length, Math.ceil(itemCount / 32));
  if (exclude === undefined) return;
  checkLength("exclude.indptr", exclude.indptr.length, histories.length + 1);
  checkIds("exclude", exclude.indices, itemCount);
}

/** Refuses ids outside the catalog, clusters, kinds and times that are not one for each event, and profiles that lack their row. */
export function checkHistories(itemCount: number, histories: readonly History[]): void {
  for (const { items, clusters, events, times, profile } of histories) {
    checkIds("a history", items, itemCount);
    if (clusters !== undefined) checkLength("clusters of a history", clusters.length, items.length);
    if (events !== undefined) checkLength("events of a history", events.codes.length, items.length);
    if (times !== undefined) checkLength("times of a history", times.length, items.length);
    if (profile !== undefined) checkProfile(profile);
  }
}

function checkProfile({ columns, row }: UserProfile): void {
  for (const [name, column] of columns) {
    if (Number.isInteger(row) && row >= 0 && row < rowsOf(column)) continue;
    throw new PrismrecError("SHAPE_MISMATCH", `a profile lacks its row of the column "${name}"`, {
      expected: `a row from 0 to ${rowsOf(column) - 1}`,
      received: String(row),
    });
  }
}

function checkIds(what: string, ids: Uint32Array, itemCount: number): void {
  for (const id of ids) {
    if (id >= 1 && id <= itemCount) continue;
    throw new PrismrecError("UNKNOWN_ITEM", `${what} holds an id that the catalog does not know`, {
      expected: `dense ids from 1 to ${itemCount}`,
      received: String(id),
    });
  }
}
