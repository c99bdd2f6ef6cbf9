import type { Columns, TextColumn } from "./columns.js";

/** One item of the catalog. Its dense id is its place in `Catalog.items` (id 0 is padding, real ids start at 1). */
export interface Item {
  readonly id: string;
  readonly title: string;
  readonly categories: readonly string[];
  /** Metadata parsed out of the title that a title would otherwise leak (METHOD: the release year). */
  readonly year?: number;
}

/**
 * The frozen vocabulary: dense ids sorted by descending training frequency (ties by external id), so that
 * id 1 is the most popular item; `items[0]` is the padding entry.
 */
export interface Catalog {
  /** N, without padding; valid dense ids are 1..N. */
  readonly size: number;
  /** [N + 1]; entry 0 is padding (`id: ""`). */
  readonly items: readonly Item[];
  /** [N + 1] number of training users of each item, however often one of them took it; entry 0 is 0. */
  readonly popularity: Uint32Array;
  /**
   * [N + 1] every further column of the items file, row 0 missing; absent: there was none. `itemColumn` gives `id`, `title`,
   * `categories` and `year` as columns too.
   */
  readonly columns?: Columns;
  /** Dense id of an external item id, or undefined. */
  idOf(externalId: string): number | undefined;
}

/**
 * All kept events, users in rows, oldest first (unless `unordered`): user u holds `items[indptr[u] .. indptr[u + 1])`. An item may stand there
 * several times where the import kept repeats.
 */
export interface InteractionLog {
  readonly userCount: number;
  /** [userCount] external ids. */
  readonly userIds: readonly string[];
  /** [userCount + 1] */
  readonly indptr: Uint32Array;
  /** [events] dense item ids, 1..N */
  readonly items: Uint32Array;
  /** [events] as given in the file (seconds, milliseconds or any 64-bit order), or absent. */
  readonly timestamps?: BigInt64Array;
  /** [events] kind of each event (view, cart, buy) as the file writes it; absent: the file has no such column. */
  readonly behaviours?: TextColumn;
  /** [events] rating or quantity of each event, NaN where there is none; absent: the file has no such column. */
  readonly weights?: Float32Array;
  /** True: a user's events are a set, and the order they stand in was drawn; absent: they happened in it. */
  readonly unordered?: true;
  /** [userCount] columns of the users file; absent: none was given. */
  readonly profile?: Columns;
  indexOf(externalUserId: string): number | undefined;
}

/** `ends[j]` leading events of user `users[j]` may be learned from. */
export interface TrainingPart {
  readonly users: Uint32Array;
  readonly ends: Uint32Array;
}

/** User `users[j]`: events [0, historyEnds[j]) are the history, [historyEnds[j], targetEnds[j]) the targets. */
export interface EvaluationPart {
  readonly users: Uint32Array;
  readonly historyEnds: Uint32Array;
  readonly targetEnds: Uint32Array;
}

export type SplitProtocol = "user-disjoint" | "leave-one-out" | "user-ratio" | "temporal";

export interface Split {
  readonly protocol: SplitProtocol;
  readonly train: TrainingPart;
  readonly valid: EvaluationPart;
  readonly test: EvaluationPart;
}

/** What every later stage reads. `fingerprint` is a hash of the inputs' bytes and the import settings. */
export interface Dataset {
  readonly fingerprint: string;
  readonly catalog: Catalog;
  readonly log: InteractionLog;
  readonly split: Split;
}
