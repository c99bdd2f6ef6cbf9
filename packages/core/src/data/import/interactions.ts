import { basename } from "node:path";
import type { DuckDBConnection } from "@duckdb/node-api";
import { PrismrecError } from "../../base/errors.js";
import type { RunOptions } from "../../base/run-options.js";
import { TextCoder } from "../columns.js";
import { isNoTime } from "../read-time.js";
import type { ColumnsUsed, DropReason, ImportReport } from "../report.js";
import { chooseColumns, type InteractionColumns, NO_COLUMN } from "./columns.js";
import { DropCounter } from "./drops.js";
import { byUser, type EventColumns, IdTable } from "./events.js";
import type { Forgotten } from "./forgotten.js";
import { Float32Column, Uint32Column } from "./growing.js";
import { isNoText, judgeIds } from "./ids.js";
import type { ImportOptions } from "./import.js";
import { type Period, readPeriod } from "./period.js";
import { type Sample, sampleTable } from "./profile.js";
import { pathsOf } from "./spool-inputs.js";
import { openTable } from "./tables/open-table.js";
import type { Cells, Table } from "./tables/table.js";
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

/** The usable rows of the interactions files, as columns. */
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
  /** Where there are several files: what each of them brought. */
  readonly perFile?: ImportReport["files"];
  readonly notes: readonly string[];
  readonly warnings: readonly string[];
  /** A row to be shown, by its place in `rows`. */
  example(ordinal: number, text: string): Example;
}

type Example = ImportReport["drops"][number]["examples"][number];

/** The files of a log in the order in which they came: ordinals count the rows that they delivered together, from 1. */
class Log {
  /** [files] Rows that were delivered up to the end of each. */
  readonly #ends: number[] = [];

  constructor(readonly tables: readonly Table[]) {}

  ended(read: number): void {
    this.#ends.push(read);
  }

  fileOf(ordinal: number): number {
    return this.#ends.findIndex((end) => ordinal <= end);
  }

  /** Of each of ascending ordinals. */
  filesOf(ordinals: Uint32Array): Uint32Array {
    let file = 0;
    return ordinals.map((ordinal) => {
      while (ordinal > this.#ends[file]!) file++;
      return file;
    });
  }

  example(ordinal: number, text: string): Example {
    const file = this.fileOf(ordinal);
    const table = this.tables[file]!;
    const row = table.rowOf(ordinal - (this.#ends[file - 1] ?? 0));
    return { row, text: this.tables.length === 1 ? text : `${basename(table.path)}: ${text}` };
  }

  /** Rows that a file delivered. */
  delivered(file: number): number {
    return this.#ends[file]! - (this.#ends[file - 1] ?? 0);
  }
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
 * Reads the interactions files as one log: the columns that are chosen in the first are those of all, ids are text, and times
 * are settled over the whole column. Rows without a usable user, item, time or rating, rows that the filters leave out, and
 * events of a later file that an earlier one has exactly, go to `drops`.
 */
export async function readInteractions(
  connection: DuckDBConnection,
  options: ImportOptions,
  drops: DropCounter,
  run: RunOptions,
): Promise<RawEvents> {
  const paths = pathsOf(options.interactions);
  const counted = options.events === undefined ? undefined : parseEvents(options.events);
  const [first, ...others] = paths;
  if (first === undefined) throw new PrismrecError("CONFIG_INVALID", "there are no interactions to read");
  const table = await openTable(connection, first);
  const sample = await sampleTable(table, run.signal);
  const roles = chooseColumns(first, sample, options.columns ?? {});
  const filters: Filters = {
    ...(options.minRating === undefined
      ? {}
      : { rating: { column: neededColumn(table, roles, "rating", "--min-rating"), minimum: options.minRating } }),
    ...(counted === undefined ? {} : { event: { column: neededColumn(table, roles, "event", "--events"), counted } }),
  };
  const log = new Log([table, ...(await openOthers(connection, others, table, roles, filters))]);
  for (const { path, float32 } of log.tables) refuseNarrowTimes(path, float32, roles.timestamp);
  const rows = await readRows(log, roles, filters, options.forgotten, run);
  const counters = log.tables.map(() => new DropCounter());
  const malformed = countDropped(log, rows, counters);
  const rowsRead = rows.read + malformed.reduce((sum, count) => sum + count, 0);
  const usable = usableRows(log, roles, rows, options, counters);
  // Each by itself: a file that was misread must not hide behind a large one that was not.
  const unreadable = counters.flatMap((counter, file) =>
    counter.judge("interactions", log.tables[file]!.path, log.delivered(file) + malformed[file]!),
  );
  for (const counter of counters) drops.take(counter);
  if (usable.rows.length === 0) {
    throw noUsableEvent(paths.join(", "), rowsRead, drops, rows.otherEvents, filters, options);
  }
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
    ...(log.tables.length === 1
      ? {}
      : {
          perFile: log.tables.map(({ path }, file) => ({
            name: basename(path),
            rows: log.delivered(file) + malformed[file]!,
            alreadyThere: counters[file]!.count("already-there"),
            events: usable.files?.filter((of) => of === file).length ?? 0,
          })),
        }),
    notes: [
      ...log.tables.flatMap(({ path, notes }) => {
        const what = log.tables.length === 1 ? "interactions" : basename(path);
        return notes.map((note) => `${what}: ${note}`);
      }),
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
    example: (ordinal, text) => log.example(ordinal, text),
  };
}

/** Opens the files after the first, which must have the columns that are read of that one; DATA_FORMAT where one has not. */
async function openOthers(
  connection: DuckDBConnection,
  paths: readonly string[],
  first: Table,
  roles: InteractionColumns,
  { rating, event }: Filters,
): Promise<Table[]> {
  const { user, item, timestamp, behaviour, weight } = roles;
  const read = new Set([user, item, ...timestamp, rating?.column, event?.column, behaviour, weight]);
  read.delete(undefined);
  const tables: Table[] = [];
  for (const path of paths) {
    const table = await openTable(connection, path);
    const lacking = [...read].filter((column) => column !== undefined && !table.columns.includes(column));
    if (lacking.length > 0) {
      throw new PrismrecError("DATA_FORMAT", `${path} has other columns than ${first.path}`, {
        expected: `columns ${[...read].map((name) => `"${name}"`).join(", ")}`.slice(0, 400),
        received: `columns ${table.columns.map((name) => `"${name.slice(0, 40)}"`).join(", ")}`.slice(0, 400),
        hint: "Files of one log have the same columns under the same names: write this one as the first is.",
      });
    }
    tables.push(table);
  }
  return tables;
}

function refuseNarrowTimes(path: string, float32: Table["float32"], timestamp: readonly string[]): void {
  const narrow = timestamp.find((column) => float32?.has(column) === true);
  if (narrow === undefined) return;
  throw new PrismrecError("DATA_FORMAT", `${path}: the time column "${narrow}" is 32-bit floating point`, {
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

/** Rows of one file and reason that were dropped while reading: all are counted, the first few kept. */
interface Pending {
  readonly file: number;
  readonly reason: DropReason;
  count: number;
  readonly examples: { readonly ordinal: number; readonly text: string }[];
}

/** Rows that have a user and an item and passed the filters, as they were read. */
interface Rows {
  /** Rows that the tables delivered. */
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
  readonly pending: Iterable<Pending>;
}

async function readRows(
  log: Log,
  roles: InteractionColumns,
  { rating, event }: Filters,
  forgotten: Forgotten | undefined,
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
  const pending = new Map<string, Pending>();
  const places = new Map(event?.counted.map(({ name }, place) => [name.toLowerCase(), place]));
  const eventRows = new Uint32Array(places.size);
  const otherEvents = new Set<string>();
  let timesFilled = 0;
  let read = 0;
  for (const [file, table] of log.tables.entries()) {
    for await (const cells of table.read(chosen, run.signal, wanted.length)) readChunk(file, table, cells);
    log.ended(read);
  }

  function readChunk(file: number, table: Table, cells: Cells): void {
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
      else if (forgotten?.has(userId) === true) reason = "forgotten";
      else if (itemId === "") reason = "missing-item";
      else if (kind !== undefined && place === undefined) {
        reason = "other-event";
        if (otherEvents.size < SHOWN_EVENTS) otherEvents.add(kind);
      } else if (rating !== undefined && value === undefined) reason = "bad-rating";
      else if (rating !== undefined && value! < rating.minimum) reason = "below-min-rating";
      if (reason !== undefined) {
        const key = `${file} ${reason}`;
        const dropped = pending.get(key) ?? { file, reason, count: 0, examples: [] };
        pending.set(key, dropped);
        dropped.count++;
        // Whoever is to be forgotten must not be shown.
        if (dropped.examples.length < EXAMPLES && reason !== "forgotten") {
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
    throw new PrismrecError(
      "DATA_FORMAT",
      `${log.tables.map(({ path }) => path).join(", ")} holds more events than fit`,
      {
        expected: `at most ${MAX_EVENTS}`,
        received: String(columns.rows.length),
      },
    );
  }
  return {
    ...{ read, users, items, times, timesFilled, badTimes, eventRows, otherEvents },
    pending: pending.values(),
    columns: { users: columns.users.toArray(), items: columns.items.toArray(), rows: columns.rows.toArray() },
    kinds,
    ...(at.behaviour < 0 ? {} : { behaviours: behaviours.toArray() }),
    ...(at.weight < 0 ? {} : { weights: weights.toArray() }),
  };
}

/** Hands the rows that were dropped while reading to their file's counter; [files] rows that a table did not deliver. */
function countDropped(log: Log, { pending }: Rows, counters: readonly DropCounter[]): number[] {
  const malformed = log.tables.map((table) => table.malformed());
  for (const [file, { count, examples }] of malformed.entries()) {
    counters[file]!.addCounted("interactions", "malformed", count, examples);
  }
  for (const { file, reason, count, examples } of pending) {
    const shown = examples.map(({ ordinal, text }) => log.example(ordinal, text));
    counters[file]!.addCounted("interactions", reason, count, shown);
  }
  return malformed.map(({ count }) => count);
}

type Usable = Pick<
  RawEvents,
  | "users"
  | "items"
  | "rows"
  | "files"
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

/** The rows whose ids and times hold once all files are known; the others go to the counter of their file. */
function usableRows(
  log: Log,
  roles: InteractionColumns,
  rows: Rows,
  options: ImportOptions,
  counters: readonly DropCounter[],
): Usable {
  const { columns, users, items, badTimes } = rows;
  const ids = { user: users.ids, item: items.ids };
  const user = judgeIds("user", ids.user, rowsOfIds(columns.users, ids.user.length));
  const item = judgeIds("item", ids.item, rowsOfIds(columns.items, ids.item.length));
  const path = log.tables.map((table) => table.path).join(", ");
  const settled = rows.timesFilled > 0 ? settleTimes(path, rows.times, options) : undefined;
  const noTimes = whyNoTimes(log.tables[0]!, roles, options);
  const period = readPeriod(options, settled, noTimes);
  const files = log.tables.length === 1 ? undefined : log.filesOf(columns.rows);
  const there =
    files === undefined ? undefined : alreadyThere(columns, ids.user.length, files, settled?.values, rows.behaviours);
  const lacking = new Map<DropReason, number[]>();
  const kept = Uint32Array.from(columns.rows.keys()).filter((place) => {
    let reason: DropReason;
    if (user.missing.has(columns.users[place]!)) reason = "missing-user";
    else if (item.missing.has(columns.items[place]!)) reason = "missing-item";
    else if (settled !== undefined && !settled.known(place)) reason = "bad-timestamp";
    else {
      const outside = settled === undefined ? undefined : outsideOf(settled.values[place]!, period);
      if (outside === undefined && there?.[place] !== 1) return true;
      reason = outside ?? "already-there";
    }
    const places = lacking.get(reason);
    if (places === undefined) lacking.set(reason, [place]);
    else places.push(place);
    return false;
  });
  for (const [reason, places] of lacking) {
    for (const [file, counter] of counters.entries()) {
      const own = files === undefined ? places : places.filter((place) => files[place] === file);
      counter.addAll("interactions", reason, own, (place) => {
        const cells = [ids.user[columns.users[place]!], ids.item[columns.items[place]!], badTimes.get(place)];
        return log.example(columns.rows[place]!, cells.filter((cell) => cell !== undefined).join(", "));
      });
    }
  }
  const take = (column: Uint32Array): Uint32Array =>
    kept.length === column.length ? column : kept.map((place) => column[place]!);
  const { behaviours, weights } = rows;
  const timed = settled === undefined ? 0 : columns.rows.filter((_, place) => settled.known(place)).length;
  return {
    users: take(columns.users),
    items: take(columns.items),
    rows: take(columns.rows),
    ...(files === undefined ? {} : { files: take(files) }),
    ...(settled === undefined ? {} : { times: BigInt64Array.from(kept, (place) => settled.values[place]!) }),
    ...(behaviours === undefined ? {} : { behaviours: take(behaviours) }),
    kinds: rows.kinds.dictionary,
    ...(weights === undefined ? {} : { weights: Float32Array.from(kept, (place) => weights[place]!) }),
    userIds: ids.user,
    itemIds: ids.item,
    ticks: settled?.ticksPerSecond ?? 1,
    timedShare: columns.rows.length === 0 ? 0 : timed / columns.rows.length,
    noTimes,
    notes: [...user.notes, ...item.notes, ...(settled?.notes ?? [])],
    warnings: [...(settled?.warnings ?? []), ...user.warnings, ...item.warnings],
  };
}

function outsideOf(time: bigint, { since, until }: Period): "before-since" | "from-until" | undefined {
  if (since !== undefined && time < since) return "before-since";
  return until !== undefined && time >= until ? "from-until" : undefined;
}

/**
 * [events] 1 where a later file has an event whose user, item, time and kind an earlier file has: logs overlap. What one file
 * says twice is left to `repeats`.
 */
function alreadyThere(
  { users, items }: Rows["columns"],
  userCount: number,
  files: Uint32Array,
  times: BigInt64Array | undefined,
  behaviours: Uint32Array | undefined,
): Uint8Array {
  const found = new Uint8Array(files.length);
  const { starts, places } = byUser(users, userCount);
  for (let user = 0; user < userCount; user++) {
    const own = places.subarray(starts[user], starts[user + 1]);
    // Places ascend with files: whoever has events in one file alone has no other to be found in.
    if (own.length === 0 || files[own[0]!] === files[own.at(-1)!]) continue;
    const firstFiles = new Map<string, number>();
    for (const place of own) {
      const key = `${items[place]} ${times?.[place] ?? ""} ${behaviours?.[place] ?? ""}`;
      const first = firstFiles.get(key);
      if (first === undefined) firstFiles.set(key, files[place]!);
      else if (files[place]! > first) found[place] = 1;
    }
  }
  return found;
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
  { since, until }: ImportOptions,
): PrismrecError {
  const reasons = drops.list().map((drop) => `${drop.count} ${drop.reason}`);
  if (drops.count("before-since") + drops.count("from-until") > 0) {
    const asked = [since === undefined ? [] : [`since ${since}`], until === undefined ? [] : [`until ${until}`]].flat();
    return new PrismrecError("DATA_EMPTY", `${path} holds no usable event ${asked.join(" and ")}`, {
      expected: "events in that period",
      received: `${rowsRead} rows, dropped: ${reasons.join(", ")}`,
      hint: "Choose another period with --since and --until.",
    });
  }
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
