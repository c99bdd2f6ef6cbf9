import type { Columns, TextColumn } from "./columns.js";

/** What is known of a user beside the events: one row of columns such as those of the users file. */
export interface UserProfile {
  readonly columns: Columns;
  readonly row: number;
}

/**
 * What a model reads of a user: dense item ids, oldest first, and, where known, the semantic cluster, the kind and the time
 * of each event, and the user's profile. A model that reads no kinds or times ignores them.
 */
export interface History {
  readonly items: Uint32Array;
  /** [items.length], -1: none. Absent: the model serves without a semantic side. */
  readonly clusters?: Int16Array;
  /** [items.length] kinds of events (view, cart, buy); code 0: not known. The dictionary need not be the log's. */
  readonly events?: TextColumn;
  /** [items.length] in the unit of the log's timestamps. */
  readonly times?: BigInt64Array;
  /** [items.length] rating or quantity of each event, NaN where there is none. */
  readonly weights?: Float32Array;
  /** Absent: nothing is known. A model that reads no profile ignores it. */
  readonly profile?: UserProfile;
}
