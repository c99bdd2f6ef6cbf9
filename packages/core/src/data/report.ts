import type { ColumnKind } from "./columns.js";

/** Why a row of an input file did not become an event or an item. */
export type DropReason =
  /** The row cannot be split into its columns, or is not valid UTF-8 or JSON. */
  | "malformed"
  | "missing-user"
  | "missing-item"
  /** No time, or none that can be read, in a column of times. */
  | "bad-timestamp"
  /** No number in the column of ratings, where a least rating is asked for. */
  | "bad-rating"
  /** Rated lower than was asked for. */
  | "below-min-rating"
  /** An event of a kind that was not asked for. */
  | "other-event"
  /** Before the first instant that was asked for. */
  | "before-since"
  /** At the first instant that was not asked for any more, or after it. */
  | "from-until"
  /** A later file has the event exactly as an earlier one: the same user, item, time and kind. */
  | "already-there"
  /** Of a user who is to be forgotten: counted, and never shown. */
  | "forgotten"
  /** A later event of the same user and item. */
  | "duplicate"
  /** The user or the item has too few events. */
  | "below-core"
  /** The split file does not name the user. */
  | "not-in-split"
  /** A later row of the same item in the items file. */
  | "duplicate-item"
  /** A later row of the same user in the users file. */
  | "duplicate-user";

/** How many rows were dropped for one reason, with the first of them. */
export interface Drop {
  readonly file: "interactions" | "items" | "users";
  readonly reason: DropReason;
  /** Rows of that file. */
  readonly count: number;
  /** The first few: 1-based data row (the header is not counted) and what stood there. */
  readonly examples: readonly { readonly row: number; readonly text: string }[];
}

/** The columns that were read, under the names they have in the file. */
export interface ColumnsUsed {
  readonly user: string;
  readonly item: string;
  /** The column of the time; a date and a time of day are joined by a comma. */
  readonly timestamp?: string;
  readonly rating?: string;
  readonly event?: string;
  /** Kept beside the events: their kinds, and their ratings or quantities. */
  readonly behaviour?: string;
  readonly weight?: string;
  readonly itemId?: string;
  readonly title?: string;
  readonly categories?: string;
  readonly userId?: string;
}

/** A column that was kept beside items or users, and what it was judged to be. */
export interface KeptColumn {
  readonly name: string;
  readonly kind: ColumnKind;
  /** Of the kept items or users, those that have a value. */
  readonly filled: number;
  /** Distinct values, of lists distinct members, among the kept items or users. */
  readonly distinct: number;
}

/** What an import read, kept and dropped: every row of the input is accounted for. */
export interface ImportReport {
  readonly format: { readonly interactions: string; readonly items?: string; readonly users?: string };
  readonly columns: ColumnsUsed;
  /** Data rows in the file, header not counted. */
  readonly rowsRead: number;
  readonly itemRowsRead: number;
  /** Where a users file was given. */
  readonly userRowsRead?: number;
  /** After the protocol: what the dataset holds. */
  readonly kept: { readonly users: number; readonly items: number; readonly events: number };
  readonly drops: readonly Drop[];
  readonly split: {
    readonly protocol: string;
    /** Users of each part. */
    readonly train: number;
    readonly valid: number;
    readonly test: number;
    /** Users of the data that no part holds: outside the split file, or too short to be split. */
    readonly leftOut: number;
  };
  readonly timing: {
    readonly timed: boolean;
    /** Share of kept events that have the very time of another event of the same user: their order is the file's. */
    readonly tiedShare: number;
    /** Share of kept events within 60 s of the user's previous event (bulk entry rather than consumption). */
    readonly withinMinuteShare: number;
  };
  readonly order: {
    /** What a user's events are ordered by. */
    readonly by: "time" | "file" | "random";
    /** What orders events of one time. */
    readonly ties: "file" | "random";
    /** Of the usable rows, those that have a time. */
    readonly timedShare: number;
  };
  /** Which of a repeated user and item are kept. */
  readonly repeats: "earliest" | "keep";
  /** Where a least rating was asked for. */
  readonly minRating?: number;
  /** Where kinds of events were asked for: what each weighs, and how many usable rows it has. */
  readonly events?: readonly { readonly name: string; readonly weight: number; readonly rows: number }[];
  /** Where the interactions are in several files: of each its rows, those that an earlier file had already, and usable events. */
  readonly files?: readonly {
    readonly name: string;
    readonly rows: number;
    readonly alreadyThere: number;
    readonly events: number;
  }[];
  /** Columns that look like times or ids and were not read, with the flag that takes each. */
  readonly passedOver: readonly { readonly column: string; readonly flag: string }[];
  /** Columns of the items file beside its id, title, categories and year; absent: there are none. */
  readonly itemColumns?: readonly KeptColumn[];
  /** Columns of the users file beside its id. */
  readonly userColumns?: readonly KeptColumn[];
  /** Kept items that have a title. */
  readonly titleShare: number;
  /** What was guessed, or is good to know. */
  readonly notes: readonly string[];
  readonly warnings: readonly string[];
}
