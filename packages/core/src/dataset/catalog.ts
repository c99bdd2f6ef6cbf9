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

const YEAR_AT_END = /\s*\(((?:1[89]|20|21)\d{2})(?:\s*[-\u2013]\s*\d{0,4})?\)\s*$/;

/**
 * Takes a release year at the end, as in `Heat (1995)`, out of a title. It is strong metadata of its own: left in the
 * text, every reading of the title by a language model would carry it in disguise.
 */
export function splitTitle(text: string): { readonly title: string; readonly year?: number } {
  const title = text.trim();
  const match = YEAR_AT_END.exec(title);
  if (match === null || match.index === 0) return { title };
  return { title: title.slice(0, match.index), year: Number(match[1]) };
}

/** Categories of one cell: separated text or a JSON array of texts; `(no genres listed)` and the like are none. */
export function splitCategories(text: string, separator: string): string[] {
  const parts = jsonTexts(text) ?? text.split(separator);
  const named = parts.map((part) => part.trim()).filter((part) => part !== "" && !/^\(no .*listed\)$/i.test(part));
  return [...new Set(named)];
}

function jsonTexts(text: string): string[] | undefined {
  if (!text.startsWith("[")) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value.filter((part) => typeof part === "string") : undefined;
  } catch {
    return undefined;
  }
}
