import { PrismrecError } from "../../base/errors.js";
import type { Sample } from "./profile.js";

export type ColumnRole =
  | "user"
  | "item"
  | "timestamp"
  | "title"
  | "categories"
  | "year"
  | "rating"
  | "event"
  | "weight";

/** Names that a column of each role goes by, likeliest first; case, blanks, `_`, `-` and `.` do not matter. */
const NAMES: Readonly<Record<ColumnRole, readonly string[]>> = {
  user: [
    ...["user", "userid", "uid", "customerid", "customer", "reviewerid", "visitorid", "memberid", "member"],
    ...["accountid", "account", "clientid", "client", "buyerid", "buyer", "shopperid", "shopper", "subscriberid"],
    ...["personid", "person", "playerid", "player", "listenerid", "readerid", "reader", "patronid"],
    ...["householdkey", "householdid", "username", "usernumber", "usersk", "customernumber", "custid", "login"],
  ],
  item: [
    ...["item", "itemid", "iid", "movieid", "movie", "bookid", "book", "productid", "product", "parentasin", "asin"],
    ...["isbn", "trackid", "track", "songid", "artistid", "artist", "videoid", "articleid", "newsid", "gameid"],
    ...["sku", "skuid", "stockcode", "productcode", "productsku", "productnumber", "articlecode", "articlenumber"],
    ...["variantid", "itemcode", "itemsku", "itemnumber", "upc", "ean", "gtin", "barcode", "listingid", "adid"],
    ...["contentid", "showid", "filmid", "film", "animeid", "recipeid", "postid", "jobid", "courseid"],
    ...["businessid", "gmapid", "venueid", "placeid", "locationid", "podcastid", "episodeid", "albumid", "album"],
    ...["appid", "app", "aid", "song", "video", "article", "game", "id"],
  ],
  timestamp: [
    ...["timestamp", "time", "ts", "datetime", "date", "eventtime", "unixtime", "unixreviewtime", "createdat"],
    ...["timestampms", "timestamps", "unixtimestamp", "eventtimestamp", "eventdate", "eventdatetime", "reviewtime"],
    ...["reviewdate", "ratedat", "ratingtime", "ratingdate", "ratingtimestamp", "purchasedat", "purchasedate"],
    ...["purchasetime", "purchasetimestamp", "orderedat", "orderdate", "ordertime", "orderpurchasetimestamp"],
    ...["invoicedate", "transactiondate", "transactiontime", "transactiontimestamp", "tdat", "dateadded", "addedat"],
    ...["watchedat", "watchdate", "viewedat", "viewdate", "playedat", "playdate"],
    ...["listenedat", "readat", "dateread", "clickedat", "clicktime", "visitedat", "visittime", "visitdate"],
    ...["checkintime", "boughtat", "soldat", "saledate", "salesdate", "likedat", "occurredat", "loggedat"],
    ...["interactiontime", "interactiontimestamp", "sessionstart", "servertime", "utctime", "timems", "epoch", "when"],
  ],
  title: ["title", "name", "itemtitle", "itemname", "movietitle", "productname", "text"],
  categories: ["categories", "category", "genres", "genre", "tags", "tag"],
  year: ["year", "releaseyear"],
  rating: [
    "rating",
    "ratings",
    "stars",
    "star",
    "score",
    "overall",
    "reviewrating",
    "ratingvalue",
    "reviewscore",
    "bookrating",
    "movierating",
    "userrating",
    "ratingscore",
  ],
  event: [
    ...["event", "eventtype", "eventname", "behavior", "behaviour", "behaviortype", "behaviourtype", "action"],
    ...["actiontype", "interaction", "interactiontype", "activity", "activitytype", "type"],
  ],
  weight: [
    ...["weight", "weights", "count", "counts", "quantity", "qty", "plays", "playcount", "listencount", "clicks"],
    ...["purchasecount", "hours"],
  ],
};

/** Names of things rather than of their ids: they stand for the item of an event where nothing better is there. */
const THING_NAMES: readonly string[] = [
  ...["itemname", "productname", "movietitle", "booktitle", "tracktitle", "trackname", "songtitle", "songname"],
  ...["artistname", "albumname", "gametitle", "gamename", "itemtitle", "title"],
];

/** Ids of a log that are neither a user's nor an item's, but may have to stand for one. */
const OFFERED: Readonly<Partial<Record<ColumnRole, readonly string[]>>> = {
  user: [
    ...["sessionid", "session", "usersession", "visitid", "deviceid", "device", "cookieid", "cookie", "anonymousid"],
    ...["fullvisitorid", "ip", "email", "phone", "orderid", "order", "invoiceno", "invoiceid", "invoice", "basketid"],
    ...["basket", "cartid", "transactionid", "receiptid", "ticketid"],
  ],
};

/** Names of a row's own number. */
const ROW_NUMBER = /^(?:|id|index|idx|rowid|row|rownumber|n|no|unnamed0|column1)$/;
/** Kinds of events are few. */
const MOST_EVENTS = 50;
/** Fewest rows that show a row number for what it is. */
const ENOUGH_ROWS = 20;
/** The way a column of times ends its name: bought_at, listenedOn, last-date. */
const TIME_ENDING = /(?:^|[\s_.-])(?:at|on|ts|time|date|day|datetime|timestamp|epoch|utc)$/i;

const plain = (name: string): string => name.toLowerCase().replace(/[\s_.-]/g, "");
const words = (name: string): string => name.replace(/([a-z])([A-Z])/g, "$1_$2");

/**
 * The column that plays `role`: the one that was named, else the first that goes by one of the role's usual names, else
 * undefined. A named column that is not there is DATA_FORMAT.
 */
export function findColumn(
  path: string,
  columns: readonly string[],
  role: ColumnRole,
  named: string | undefined,
): string | undefined {
  if (named !== undefined) {
    if (columns.includes(named)) return named;
    throw missingColumn(path, columns, role, `a column "${named}"`);
  }
  return byName(columns, NAMES[role]);
}

function byName(columns: readonly string[], names: readonly string[]): string | undefined {
  for (const name of names) {
    const found = columns.find((column) => plain(column) === name);
    if (found !== undefined) return found;
  }
  return undefined;
}

/**
 * The id column of a file of items or users: the one that was named, else one called like the interactions' column, else
 * one of the usual names, of which `id` is the last.
 */
export function idColumn(
  path: string,
  columns: readonly string[],
  role: "item" | "user",
  named: string | undefined,
  like: string,
): string {
  const found = named === undefined ? byName(columns, [plain(like), ...NAMES[role], "id"]) : undefined;
  return found ?? requireColumn(path, columns, role, named);
}

/** `findColumn` for a role that cannot be done without. */
export function requireColumn(
  path: string,
  columns: readonly string[],
  role: ColumnRole,
  named: string | undefined,
): string {
  const found = findColumn(path, columns, role, named);
  if (found === undefined) throw missingColumn(path, columns, role, `one of: ${NAMES[role].slice(0, 6).join(", ")}`);
  return found;
}

function missingColumn(
  path: string,
  columns: readonly string[],
  role: ColumnRole,
  expected: string,
  hint = "Give the file a header line, or name its columns.",
): PrismrecError {
  return new PrismrecError("DATA_FORMAT", `${path} has no ${role} column`, {
    expected,
    received: `columns ${columns.map((column) => `"${column.slice(0, 40)}"`).join(", ")}`.slice(0, 400),
    hint,
  });
}

/** As a column's name: the file has times or ratings, but they are not to be read. */
export const NO_COLUMN = "none";

/** What each column of the interactions is taken for. */
export interface InteractionColumns {
  readonly user: string;
  readonly item: string;
  /** One column, a date and a time of day, or nothing. */
  readonly timestamp: readonly string[];
  readonly rating?: string;
  readonly event?: string;
  /** What is kept beside the events: their kinds, by default `event`, and their ratings or quantities. */
  readonly behaviour?: string;
  readonly weight?: string;
  /** Columns that look like times or ids and are not read, with the flag that takes each. */
  readonly passedOver: readonly { readonly column: string; readonly flag: string }[];
  readonly notes: readonly string[];
  readonly warnings: readonly string[];
}

export interface NamedColumns {
  readonly user?: string;
  readonly item?: string;
  readonly timestamp?: string;
  readonly rating?: string;
  readonly event?: string;
  readonly behaviour?: string;
  readonly weight?: string;
}

/** Chooses the columns of an interactions file by their names, and by what the sample shows of their values. */
export function chooseColumns(path: string, sample: Sample, named: NamedColumns): InteractionColumns {
  const { columns } = sample;
  const notes: string[] = [];
  const warnings: string[] = [];
  const user = findColumn(path, columns, "user", named.user);
  if (user === undefined) throw noIdColumn(path, sample, "user", []);
  const item = chooseItem(path, sample, user, named.item, notes);
  const time = chooseTime(path, sample, named.timestamp, [user, item], notes, warnings);
  const rating = optionalColumn(path, sample, "rating", named.rating, (column) => {
    return sample.profile(column).numericShare >= 0.5;
  });
  const event = optionalColumn(path, sample, "event", named.event, (column) => {
    return sample.profile(column).distinct <= MOST_EVENTS && !isAttribute(sample, column, [item]);
  });
  const behaviour = keptColumn(path, columns, "event", named.behaviour, event);
  const weight = keptColumn(path, columns, "weight", named.weight, rating ?? chooseWeight(path, sample, [user, item]));
  const taken = new Set([user, item, ...time, ...[rating, event].filter((column) => column !== undefined)]);
  const passedOver = columns.flatMap((column) => {
    if (taken.has(column)) return [];
    const flag = flagFor(sample, column);
    return flag === undefined ? [] : [{ column, flag: `${flag} ${/^[\w.-]+$/.test(column) ? column : `"${column}"`}` }];
  });
  return {
    user,
    item,
    timestamp: time,
    ...(rating === undefined ? {} : { rating }),
    ...(event === undefined ? {} : { event }),
    ...(behaviour === undefined ? {} : { behaviour }),
    ...(weight === undefined ? {} : { weight }),
    passedOver,
    notes,
    warnings,
  };
}

/** A named column, or one of a usual name whose values fit the role; `none` is none. */
function optionalColumn(
  path: string,
  sample: Sample,
  role: ColumnRole,
  named: string | undefined,
  fits: (column: string) => boolean,
): string | undefined {
  if (named === NO_COLUMN && !sample.columns.includes(named)) return undefined;
  const found = findColumn(path, sample.columns, role, named);
  return found === undefined || (named === undefined && !fits(found)) ? undefined : found;
}

/** A named column to be kept, `none` for none, else the one that was found. */
function keptColumn(
  path: string,
  columns: readonly string[],
  role: ColumnRole,
  named: string | undefined,
  found: string | undefined,
): string | undefined {
  if (named === undefined) return found;
  return named === NO_COLUMN && !columns.includes(named) ? undefined : findColumn(path, columns, role, named);
}

/** A column of quantities: numbers under a usual name that say something of the event rather than of the item or user. */
function chooseWeight(path: string, sample: Sample, ids: readonly string[]): string | undefined {
  return optionalColumn(path, sample, "weight", undefined, (column) => {
    return !ids.includes(column) && sample.profile(column).numericShare >= 0.5 && !isAttribute(sample, column, ids);
  });
}

function flagFor(sample: Sample, column: string): string | undefined {
  const name = plain(column);
  const profile = sample.profile(column);
  if (profile.filled === 0) return undefined;
  if (profile.timeShare > 0.9) return "--time-column";
  if (isRowNumber(sample, column)) return undefined;
  if (NAMES.user.includes(name) || OFFERED.user?.includes(name) === true) return "--user-column";
  return NAMES.item.includes(name) ? "--item-column" : undefined;
}

/** Whether a column counts the rows: a name for that, and another value in every one of them. */
function isRowNumber(sample: Sample, column: string): boolean {
  const { filled, distinct } = sample.profile(column);
  return ROW_NUMBER.test(plain(column).replace(/[^a-z0-9]/g, "")) && distinct === filled && filled >= ENOUGH_ROWS;
}

function chooseItem(path: string, sample: Sample, user: string, named: string | undefined, notes: string[]): string {
  const { columns } = sample;
  if (named !== undefined) return requireColumn(path, columns, "item", named);
  const rowNumbers = columns.filter((column) => isRowNumber(sample, column));
  const open = columns.filter((column) => column !== user && !rowNumbers.includes(column));
  for (const column of rowNumbers) notes.push(`"${column}" differs in every row: it numbers the rows and is no item`);
  const found = byName(open, NAMES.item);
  if (found !== undefined) return found;
  const thing = byName(open, THING_NAMES);
  if (thing === undefined) throw noIdColumn(path, sample, "item", rowNumbers);
  notes.push(`no column of item ids: "${thing}" stands for the item`);
  return thing;
}

/** A refusal that offers the columns whose values could be ids: short texts that come again and are no times. */
function noIdColumn(path: string, sample: Sample, role: "user" | "item", rowNumbers: readonly string[]): PrismrecError {
  const candidates = sample.columns.filter((column) => {
    if (NAMES.rating.includes(plain(column)) || NAMES.event.includes(plain(column))) return false;
    const { filled, distinct, timeShare, meanLength } = sample.profile(column);
    return filled > 0 && timeShare < 0.9 && meanLength <= 64 && distinct > 1 && !(filled > 5 && distinct === filled);
  });
  const counted =
    rowNumbers.length === 0
      ? ""
      : `"${rowNumbers.join('", "')}" differs in every row: it numbers the rows and is no ${role}. `;
  const offer =
    candidates.length === 0
      ? "Give the file a header line, or name its columns."
      : `Name it with --${role}-column: it could be ${candidates
          .slice(0, 5)
          .map((column) => `"${column.slice(0, 40)}"`)
          .join(", ")}.`;
  const expected = `one of: ${NAMES[role].slice(0, 6).join(", ")}`;
  return missingColumn(path, sample.columns, role, expected, counted + offer);
}

function chooseTime(
  path: string,
  sample: Sample,
  named: string | undefined,
  ids: readonly string[],
  notes: string[],
  warnings: string[],
): readonly string[] {
  const { columns } = sample;
  if (named !== undefined) {
    if (columns.includes(named)) return [named];
    if (named === NO_COLUMN) return [];
    const parts = named.split(",").map((part) => part.trim());
    if (parts.length === 2 && parts.every((part) => columns.includes(part))) return parts;
    throw missingColumn(path, columns, "timestamp", `a column "${named}"`);
  }
  const open = columns.filter((column) => !ids.includes(column));
  const known = NAMES.timestamp.flatMap((name) => open.filter((column) => plain(column) === name));
  const filled = known.filter((column) => sample.profile(column).filled > 0);
  const clocks = open.filter((column) => sample.profile(column).timeOfDayShare > 0.9);
  const instants = filled.filter((column) => !clocks.includes(column));
  const whole = instants.find((column) => sample.profile(column).dayShare < 0.9);
  if (whole !== undefined) return [whole];
  const [day] = instants;
  if (day !== undefined) {
    const [clock] = clocks;
    if (clock === undefined) {
      notes.push(`"${day}" holds days without a time of day: events of one day are ties`);
      return [day];
    }
    notes.push(`times are put together from "${day}" and "${clock}"`);
    return [day, clock];
  }
  const bySense = open.filter(
    (column) =>
      TIME_ENDING.test(words(column)) && sample.profile(column).timeShare > 0.9 && !isAttribute(sample, column, ids),
  );
  const [only] = bySense;
  if (only !== undefined && bySense.length === 1) {
    notes.push(`"${only}" is taken for the time: its name and its values say so`);
    return [only];
  }
  for (const clock of clocks) warnings.push(`"${clock}" holds times of day without a date: it is not read`);
  const [empty] = known;
  if (empty !== undefined && !clocks.includes(empty)) {
    // The sample may lie: an empty column is read, and found empty or not over all rows.
    return [empty];
  }
  return [];
}

/** Whether a column says something of the user or the item (a release, a registration) rather than of the event. */
function isAttribute(sample: Sample, column: string, ids: readonly string[]): boolean {
  const values = sample.cells[sample.columns.indexOf(column)] ?? [];
  return ids.some((id) => {
    const first = new Map<string, string>();
    let again = 0;
    for (const [row, owner] of (sample.cells[sample.columns.indexOf(id)] ?? []).entries()) {
      const before = first.get(owner);
      if (before === undefined) first.set(owner, values[row] ?? "");
      else if (before !== values[row]) return false;
      else again++;
    }
    return again > 0;
  });
}
