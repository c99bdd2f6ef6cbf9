import type { DuckDBConnection } from "@duckdb/node-api";
import { PrismrecError } from "../../base/errors.js";
import type { RunOptions } from "../../base/run-options.js";
import { TextCoder } from "../columns.js";
import { isNoTime } from "../read-time.js";
import type { ColumnsUsed, DropReason, ImportReport } from "../report.js";
import { chooseColumns, type InteractionColumns, NO_COLUMN } from "./columns.js";
import type { DropCounter } from "./drops.js";
import { type EventColumns, IdTable } from "./events.js";
import { Float32Column, Uint32Column } from "./growing.js";
import { isNoText, judgeIds } from "./ids.js";
import type { ImportOptions } from "./import.js";
import { type Sample, sampleTable } from "./profile.js";
import { openTable } from "./tables/open-table.js";
import type { Table } from "./tables/table.js";
import { type ColumnTimes, TimeColumn } from "./timestamps.js";

const MAX_EVENTS = 2 ** 31;
const MANY_ROWS = 20;
/** Rows and times of each fault that are kept to be shown. */
const EXAMPLES = 5;
/** Kinds of events that are named where none was asked for that the file has. */
const SHOWN_EVENTS = 10;

/** A kind of event that counts. */
export interface CountedEvent {
  readonly name: string;
  readonly weight: number;
}

/** The usable rows of an interactions file, as columns. */
export interface RawEvents extends EventColumns {
  readonly userIds: readonly string[];
  readonly itemIds: readonly string[];
  /** Kind of each event, by its place in `kinds`; 0: none. Absent: there is no such column. */
  readonly behaviours?: Uint32Array;
  /** From place 1 the kinds of events, in the order of their first rows. */
  readonly kinds: readonly string[];
  /** Rating or quantity of each event, NaN: none. Absent: there is no such column. */
  readonly weights?: Float32Array;
  readonly rowsRead: number;
  readonly format: string;
  readonly columns: ColumnsUsed;
  readonly roles: Pick<InteractionColumns, "user" | "item" | "timestamp">;
  readonly sample: Sample;
  /** Units of time a second. */
  readonly ticks: number;
  /** Of the rows with a user and an item, those with a readable time. */
  readonly timedShare: number;
  /** Why there are no times, where there are none. */
  readonly noTimes: string;
  readonly events?: ImportReport["events"];
  readonly passedOver: ImportReport["passedOver"];
  readonly notes: readonly string[];
  readonly warnings: readonly string[];
  rowOf(ordinal: number): number;
}

/** Reads `name` or `name=weight`; CONFIG_INVALID for anything else. */
export function parseEvents(texts: readonly string[]): CountedEvent[] {
  const events = texts.map((text) => {
    const [, name, weight] = /^([^=]+?)\s*(?:=\s*(\d+(?:\.\d+)?))?$/.exec(text.trim()) ?? [];
    if (name !== undefined && Number(weight ?? 1) > 0) return { name, weight: Number(weight ?? 1) };
    throw new PrismrecError("CONFIG_INVALID", "a kind of event that counts cannot be read", {
      expected: "names such as buy, with a weight above 0 as in buy=5",
      received: text,
    });
  });
  const names = events.map(({ name }) => name.toLowerCase());
  const twice = names.find((name, place) => names.indexOf(name) !== place);
  if (events.length > 0 && twice === undefined) return events;
  throw new PrismrecError("CONFIG_INVALID", "the kinds of events that count are not a list of different names", {
    expected: "at least one name, each of them once",
    received: texts.join(", "),
  });
}

/**
 * Reads an interactions file: its columns chosen, ids as text, times settled over the whole column. Rows without a
 * usable user, item, time or rating, and rows that the filters leave out, go to `drops`.
 */
export async function readInteractions(
  connection: DuckDBConnection,
  options: ImportOptions,
  drops: DropCounter,
  run: RunOptions,
): Promise<RawEvents> {
  const path = options.interactions;
  const counted = options.events === undefined ? undefined : parseEvents(options.events);
  const table = await openTable(connection, path);
  const sample = await sampleTable(table, run.signal);
  const roles = chooseColumns(path, sample, options.columns ?? {});
  refuseNarrowTimes(table, roles.timestamp);
  const filters: Filters = {
    ...(options.minRating === undefined
      ? {}
      : { rating: { column: neededColumn(table, roles, "rating", "--min-rating"), minimum: options.minRating } }),
    ...(counted === undefined ? {} : { event: { column: neededColumn(table, roles, "event", "--events"), counted } }),
  };
  const rows = await readRows(table, roles, filters, run);
  const rowsRead = rows.read + countDropped(table, rows, drops);
  const usable = usableRows(path, table, roles, rows, options, drops);
  const unreadable = drops.judge("interactions", path, rowsRead);
  if (usable.rows.length === 0) throw noUsableEvent(path, rowsRead, drops, rows.otherEvents, filters);
  const { rating, event } = filters;
  const unused = unusedColumns(roles, sample, filters);
  const { userIds, itemIds } = usable;
  return {
    ...usable,
    rowsRead,
    format: table.format,
    columns: {
      user: roles.user,
      item: roles.item,
      ...(roles.timestamp.length === 0 ? {} : { timestamp: roles.timestamp.join(",") }),
      ...(rating === undefined ? {} : { rating: rating.column }),
      ...(event === undefined ? {} : { event: event.column }),
      ...(roles.behaviour === undefined ? {} : { behaviour: roles.behaviour }),
      ...(roles.weight === undefined ? {} : { weight: roles.weight }),
    },
    roles,
    sample,
    ...(counted === undefined ? {} : { events: counted.map((kind, n) => ({ ...kind, rows: rows.eventRows[n]! })) }),
    passedOver: roles.passedOver,
    notes: [
      ...table.notes.map((note) => `interactions: ${note}`),
      ...[...roles.notes, ...usable.notes, ...unused.notes],
    ],
    warnings: [
      ...[...unreadable, ...roles.warnings, ...usable.warnings],
      ...everyRow("user", roles.user, userIds.length, rows.read),
      ...everyRow("item", roles.item, itemIds.length, rows.read),
      ...(counted ?? [])
        .filter((_, n) => rows.eventRows[n] === 0)
        .map(({ name }) => `no row with the event "${name}" is left`),
      ...unused.warnings,
    ],
    rowOf: (ordinal) => table.rowOf(ordinal),
  };
}

function refuseNarrowTimes(table: Table, timestamp: readonly string[]): void {
  const narrow = timestamp.find((column) => table.float32?.has(column) === true);
  if (narrow === undefined) return;
  throw new PrismrecError("DATA_FORMAT", `${table.path}: the time column "${narrow}" is 32-bit floating point`, {
    expected: "64-bit integers, timestamps or text",
    received: "FLOAT, which rounds today's Unix seconds to steps of 128 and so loses the order of events",
    hint: "Write the column as int64 from the original data.",
  });
}

function neededColumn(table: Table, roles: InteractionColumns, role: "rating" | "event", flag: string): string {
  const column = roles[role];
  if (column !== undefined) return column;
  throw new PrismrecError("DATA_FORMAT", `${table.path} has no ${role} column`, {
    expected: `a column for ${flag}`,
    received: `columns ${table.columns.map((name) => `"${name}"`).join(", ")}`.slice(0, 400),
    hint: `Name it with --${role}-column, or leave ${flag} out.`,
  });
}

/** What is asked of a row beyond a user, an item and a time. */
interface Filters {
  readonly rating?: { readonly column: string; readonly minimum: number };
  readonly event?: { readonly column: string; readonly counted: readonly CountedEvent[] };
}

/** Rows of one reason that were dropped while reading: all are counted, the first few kept. */
interface Pending {
  count: number;
  readonly examples: { readonly ordinal: number; readonly text: string }[];
}

/** Rows that have a user and an item and passed the filters, as they were read. */
interface Rows {
  /** Rows that the table delivered. */
  readonly read: number;
  readonly users: IdTable;
  readonly items: IdTable;
  readonly columns: { readonly users: Uint32Array; readonly items: Uint32Array; readonly rows: Uint32Array };
  readonly behaviours?: Uint32Array;
  readonly kinds: TextCoder;
  readonly weights?: Float32Array;
  readonly times: TimeColumn;
  /** Rows with something in the column of times. */
  readonly timesFilled: number;
  /** Texts of the first times that could not be read, by place. */
  readonly badTimes: ReadonlyMap<number, string>;
  readonly eventRows: Uint32Array;
  /** Some kinds of events that were not asked for. */
  readonly otherEvents: ReadonlySet<string>;
  readonly pending: ReadonlyMap<DropReason, Pending>;
}

async function readRows(
  table: Table,
  roles: InteractionColumns,
  { rating, event }: Filters,
  run: RunOptions,
): Promise<Rows> {
  const filtered = [rating?.column, event?.column].filter((column) => column !== undefined);
  const wanted = [...new Set([roles.user, roles.item, ...roles.timestamp, ...filtered])];
  // What is only kept may be missing from a row: it does not decide whether the row can be used.
  const keptBeside = [roles.behaviour, roles.weight].filter((column) => column !== undefined);
  const chosen = [...new Set([...wanted, ...keptBeside])];
  const placeOf = (column: string | undefined): number => (column === undefined ? -1 : chosen.indexOf(column));
  const at = {
    user: placeOf(roles.user),
    item: placeOf(roles.item),
    times: roles.timestamp.map(placeOf),
    rating: placeOf(rating?.column),
    event: placeOf(event?.column),
    behaviour: placeOf(roles.behaviour),
    weight: placeOf(roles.weight),
  };
  const users = new IdTable();
  const items = new IdTable();
  const columns = { users: new Uint32Column(), items: new Uint32Column(), rows: new Uint32Column() };
  const kinds = new TextCoder();
  const behaviours = new Uint32Column();
  const weights = new Float32Column();
  const times = new TimeColumn();
  const badTimes = new Map<number, string>();
  const pending = new Map<DropReason, Pending>();
  const places = new Map(event?.counted.map(({ name }, place) => [name.toLowerCase(), place]));
  const eventRows = new Uint32Array(places.size);
  const otherEvents = new Set<string>();
  let timesFilled = 0;
  let read = 0;
  for await (const cells of table.read(chosen, run.signal, wanted.length)) {
    const count = cells[0]?.length ?? 0;
    for (let r = 0; r < count; r++) {
      read++;
      const cell = (place: number): string => cells[place]?.[r]?.trim() ?? "";
      const [userId, itemId] = [cell(at.user), cell(at.item)];
      const kind = at.event < 0 ? undefined : cell(at.event);
      const place = kind === undefined ? undefined : places.get(kind.toLowerCase());
      const value = rating === undefined ? undefined : ratingOf(cell(at.rating));
      let reason: DropReason | undefined;
      if (userId === "" && itemId === "" && table.format === "jsonl" && wanted.every((_, c) => cell(c) === "")) {
        reason = "malformed";
      } else if (userId === "") reason = "missing-user";
      else if (itemId === "") reason = "missing-item";
      else if (kind !== undefined && place === undefined) {
        reason = "other-event";
        if (otherEvents.size < SHOWN_EVENTS) otherEvents.add(kind);
      } else if (rating !== undefined && value === undefined) reason = "bad-rating";
      else if (rating !== undefined && value! < rating.minimum) reason = "below-min-rating";
      if (reason !== undefined) {
        const dropped = pending.get(reason) ?? { count: 0, examples: [] };
        pending.set(reason, dropped);
        dropped.count++;
        if (dropped.examples.length < EXAMPLES) {
          dropped.examples.push({ ordinal: read, text: wanted.map((_, c) => cell(c)).join(", ") });
        }
        continue;
      }
      if (place !== undefined) eventRows[place]!++;
      if (at.times.length > 0) {
        const time = at.times.length === 1 ? cell(at.times[0]!) : at.times.map(cell).join(" ").trim();
        if (!isNoTime(time)) timesFilled++;
        if (!times.push(time) && badTimes.size < EXAMPLES) badTimes.set(columns.rows.length, time);
      }
      columns.users.push(users.codeOf(userId));
      columns.items.push(items.codeOf(itemId));
      columns.rows.push(read);
      if (at.behaviour >= 0) {
        const behaviour = cell(at.behaviour);
        behaviours.push(isNoText(behaviour) ? 0 : kinds.codeOf(behaviour));
      }
      if (at.weight >= 0) weights.push(ratingOf(cell(at.weight)) ?? Number.NaN);
    }
    run.onProgress?.({ stage: "import", done: read, unit: "rows" });
  }
  if (columns.rows.length > MAX_EVENTS) {
    throw new PrismrecError("DATA_FORMAT", `${table.path} holds more events than fit`, {
      expected: `at most ${MAX_EVENTS}`,
      received: String(columns.rows.length),
    });
  }
  return {
    ...{ read, users, items, times, timesFilled, badTimes, eventRows, otherEvents, pending },
    columns: { users: columns.users.toArray(), items: columns.items.toArray(), rows: columns.rows.toArray() },
    kinds,
    ...(at.behaviour < 0 ? {} : { behaviours: behaviours.toArray() }),
    ...(at.weight < 0 ? {} : { weights: weights.toArray() }),
  };
}

/** Hands the rows that were dropped while reading to `drops`; the number of those that the table did not deliver. */
function countDropped(table: Table, { pending }: Rows, drops: DropCounter): number {
  const malformed = table.malformed();
  drops.addCounted("interactions", "malformed", malformed.count, malformed.examples);
  for (const [reason, { count, examples }] of pending) {
    const shown = examples.map(({ ordinal, text }) => ({ row: table.rowOf(ordinal), text }));
    drops.addCounted("interactions", reason, count, shown);
  }
  return malformed.count;
}

type Usable = Pick<
  RawEvents,
  | "users"
  | "items"
  | "rows"
  | "times"
  | "behaviours"
  | "kinds"
  | "weights"
  | "userIds"
  | "itemIds"
  | "ticks"
  | "timedShare"
  | "noTimes"
  | "notes"
  | "warnings"
>;

/** The rows whose ids and times hold once the whole file is known; the others go to `drops`. */
function usableRows(
  path: string,
  table: Table,
  roles: InteractionColumns,
  rows: Rows,
  options: ImportOptions,
  drops: DropCounter,
): Usable {
  const { columns, users, items, badTimes } = rows;
  const ids = { user: users.ids, item: items.ids };
  const user = judgeIds("user", ids.user, rowsOfIds(columns.users, ids.user.length));
  const item = judgeIds("item", ids.item, rowsOfIds(columns.items, ids.item.length));
  const settled = rows.timesFilled > 0 ? settleTimes(path, rows.times, options) : undefined;
  const lacking = new Map<DropReason, number[]>();
  const kept = Uint32Array.from(columns.rows.keys()).filter((place) => {
    let reason: DropReason;
    if (user.missing.has(columns.users[place]!)) reason = "missing-user";
    else if (item.missing.has(columns.items[place]!)) reason = "missing-item";
    else if (settled !== undefined && !settled.known(place)) reason = "bad-timestamp";
    else return true;
    const places = lacking.get(reason);
    if (places === undefined) lacking.set(reason, [place]);
    else places.push(place);
    return false;
  });
  for (const [reason, places] of lacking) {
    drops.addAll("interactions", reason, places, (place) => {
      const cells = [ids.user[columns.users[place]!], ids.item[columns.items[place]!], badTimes.get(place)];
      return {
        row: table.rowOf(columns.rows[place]!),
        text: cells.filter((cell) => cell !== undefined).join(", "),
      };
    });
  }
  const take = (column: Uint32Array): Uint32Array =>
    kept.length === column.length ? column : kept.map((place) => column[place]!);
  const { behaviours, weights } = rows;
  const timed = settled === undefined ? 0 : columns.rows.filter((_, place) => settled.known(place)).length;
  return {
    users: take(columns.users),
    items: take(columns.items),
    rows: take(columns.rows),
    ...(settled === undefined ? {} : { times: BigInt64Array.from(kept, (place) => settled.values[place]!) }),
    ...(behaviours === undefined ? {} : { behaviours: take(behaviours) }),
    kinds: rows.kinds.dictionary,
    ...(weights === undefined ? {} : { weights: Float32Array.from(kept, (place) => weights[place]!) }),
    userIds: ids.user,
    itemIds: ids.item,
    ticks: settled?.ticksPerSecond ?? 1,
    timedShare: columns.rows.length === 0 ? 0 : timed / columns.rows.length,
    noTimes: whyNoTimes(table, roles, options),
    notes: [...user.notes, ...item.notes, ...(settled?.notes ?? [])],
    warnings: [...(settled?.warnings ?? []), ...user.warnings, ...item.warnings],
  };
}

function whyNoTimes({ columns }: Table, { timestamp }: InteractionColumns, options: ImportOptions): string {
  if (timestamp.length > 0) return `the time column "${timestamp.join(",")}" is empty`;
  if (options.columns?.timestamp === NO_COLUMN) return "no time column is to be read";
  return `no time column was recognised among ${columns.map((name) => `"${name}"`).join(", ")}`;
}

function noUsableEvent(
  path: string,
  rowsRead: number,
  drops: DropCounter,
  otherEvents: ReadonlySet<string>,
  { event }: Filters,
): PrismrecError {
  const reasons = drops.list().map((drop) => `${drop.count} ${drop.reason}`);
  return new PrismrecError(rowsRead === 0 ? "DATA_EMPTY" : "DATA_FORMAT", `${path} holds no usable event`, {
    expected: "rows with a user, an item and a readable time",
    received: rowsRead === 0 ? "a header without rows" : `${rowsRead} rows, dropped: ${reasons.join(", ")}`,
    ...(event === undefined || otherEvents.size === 0
      ? {}
      : { hint: `Of the column "${event.column}", --events may name: ${[...otherEvents].join(", ")}.`.slice(0, 400) }),
  });
}

/** A warning where a column has another id in every row, as the number of a row has. */
function everyRow(role: string, column: string, ids: number, rows: number): string[] {
  return rows >= MANY_ROWS && ids === rows
    ? [`the ${role} column "${column}" differs in every row: is it the number of the row?`]
    : [];
}

/** What is to be said of ratings and kinds of events that count for nothing. */
function unusedColumns(
  roles: InteractionColumns,
  sample: Sample,
  { rating, event }: Filters,
): { readonly notes: readonly string[]; readonly warnings: readonly string[] } {
  const notes: string[] = [];
  const warnings: string[] = [];
  if (rating === undefined && roles.rating !== undefined) {
    notes.push(
      `ratings in "${roles.rating}" are ignored: the lowest counts like the highest (--min-rating N leaves low ones out)`,
    );
  }
  if (event === undefined && roles.event !== undefined) {
    const kinds = new Set(sample.cells[sample.columns.indexOf(roles.event)]);
    kinds.delete("");
    if (kinds.size > 1) {
      const some = [...kinds].slice(0, 5).join(", ");
      warnings.push(
        `every event counts alike, whatever "${roles.event}" says (${some}): --events NAMES chooses those that count`,
      );
    }
  }
  return { notes, warnings };
}

function settleTimes(path: string, times: TimeColumn, options: ImportOptions): ColumnTimes {
  const settled = times.finish(options.dateOrder);
  if (settled.undecided === undefined) return settled;
  throw new PrismrecError("DATA_FORMAT", `${path}: day and month of its dates cannot be told apart`, {
    expected: "a date that can be read in one way only, such as 2019-02-01 or 25/02/2019",
    received: `dates such as ${settled.undecided.example}`,
    hint: "Say which comes first: --date-order day-first, or --date-order month-first.",
  });
}

function ratingOf(text: string): number | undefined {
  const value = Number(text.replace(",", "."));
  return text === "" || !Number.isFinite(value) ? undefined : value;
}

function rowsOfIds(codes: Uint32Array, ids: number): Uint32Array {
  const counts = new Uint32Array(ids);
  for (const code of codes) counts[code]!++;
  return counts;
}
