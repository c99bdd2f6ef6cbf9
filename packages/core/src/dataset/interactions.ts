import type { DuckDBConnection } from "@duckdb/node-api";
import { PrismrecError } from "../errors/errors.js";
import type { RunOptions } from "../runtime/run-options.js";
import { chooseColumns, type InteractionColumns, NO_COLUMN } from "./columns.js";
import type { DropCounter } from "./drops.js";
import { type EventColumns, IdTable } from "./events.js";
import { Uint32Column } from "./growing.js";
import { judgeIds } from "./ids.js";
import type { ImportOptions } from "./import.js";
import { type Sample, sampleTable } from "./profile.js";
import type { ColumnsUsed, DropReason, ImportReport } from "./report.js";
import { openTable } from "./tables/open-table.js";
import { type ColumnTimes, isNoTime, TimeColumn } from "./timestamps.js";

const MAX_EVENTS = 2 ** 31;
const MANY_ROWS = 20;
/** Unreadable times whose text is kept to be shown. */
const SHOWN_TIMES = 5;

/** A kind of event that counts. */
export interface CountedEvent {
  readonly name: string;
  readonly weight: number;
}

/** The usable rows of an interactions file, as columns. */
export interface RawEvents extends EventColumns {
  readonly userIds: readonly string[];
  readonly itemIds: readonly string[];
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
  // The sample is a reading of its own, so that the rows it stumbles over are not counted twice.
  const sample = await sampleTable(await openTable(connection, path), run.signal);
  const table = await openTable(connection, path);
  const roles = chooseColumns(path, sample, options.columns ?? {});
  const narrow = roles.timestamp.find((column) => table.float32?.has(column) === true);
  if (narrow !== undefined) {
    throw new PrismrecError("DATA_FORMAT", `${path}: the time column "${narrow}" is 32-bit floating point`, {
      expected: "64-bit integers, timestamps or text",
      received: "FLOAT, which rounds today's Unix seconds to steps of 128 and so loses the order of events",
      hint: "Write the column as int64 from the original data.",
    });
  }
  const needed = (role: "rating" | "event", setting: string): string => {
    const column = roles[role];
    if (column !== undefined) return column;
    throw new PrismrecError("DATA_FORMAT", `${path} has no ${role} column`, {
      expected: `a column for ${setting}`,
      received: `columns ${table.columns.map((name) => `"${name}"`).join(", ")}`.slice(0, 400),
      hint: `Name it with --${role}-column, or leave ${setting} out.`,
    });
  };
  const rating = options.minRating === undefined ? undefined : needed("rating", "--min-rating");
  const event = counted === undefined ? undefined : needed("event", "--events");
  const wanted = [
    ...new Set([roles.user, roles.item, ...roles.timestamp, ...[rating, event].filter((name) => name !== undefined)]),
  ];
  const placeOf = (column: string | undefined): number => (column === undefined ? -1 : wanted.indexOf(column));
  const [userAt, itemAt, ratingAt, eventAt] = [roles.user, roles.item, rating, event].map(placeOf) as [
    number,
    number,
    number,
    number,
  ];
  const timesAt = roles.timestamp.map(placeOf);
  const timed = timesAt.length > 0;
  const users = new IdTable();
  const items = new IdTable();
  const columns = { users: new Uint32Column(), items: new Uint32Column(), rows: new Uint32Column() };
  const times = new TimeColumn();
  const badTimes = new Map<number, string>();
  let timesFilled = 0;
  const pending: { readonly reason: DropReason; readonly ordinal: number; readonly text: string }[] = [];
  const weightOf = new Map(counted?.map(({ name }, place) => [name.toLowerCase(), place]));
  const eventRows = new Uint32Array(counted?.length ?? 0);
  const otherEvents = new Set<string>();
  let ordinal = 0;
  for await (const cells of table.read(wanted, run.signal)) {
    const count = cells[0]?.length ?? 0;
    for (let r = 0; r < count; r++) {
      ordinal++;
      const cell = (at: number): string => cells[at]?.[r]?.trim() ?? "";
      const [userId, itemId] = [cell(userAt), cell(itemAt)];
      let reason: DropReason | undefined;
      if (userId === "" && itemId === "" && table.format === "jsonl" && wanted.every((_, at) => cell(at) === "")) {
        reason = "malformed";
      } else if (userId === "") reason = "missing-user";
      else if (itemId === "") reason = "missing-item";
      else if (eventAt >= 0) {
        const kind = cell(eventAt);
        const place = weightOf.get(kind.toLowerCase());
        if (place === undefined) {
          reason = "other-event";
          if (otherEvents.size < 10) otherEvents.add(kind);
        } else eventRows[place]!++;
      }
      if (reason === undefined && ratingAt >= 0) {
        const value = ratingOf(cell(ratingAt));
        if (value === undefined) reason = "bad-rating";
        else if (value < options.minRating!) reason = "below-min-rating";
      }
      if (reason !== undefined) {
        pending.push({ reason, ordinal, text: wanted.map((_, at) => cell(at)).join(", ") });
        continue;
      }
      if (timed) {
        const time = timesAt.length === 1 ? cell(timesAt[0]!) : timesAt.map(cell).join(" ").trim();
        if (!isNoTime(time)) timesFilled++;
        if (!times.push(time) && badTimes.size < SHOWN_TIMES) badTimes.set(columns.rows.length, time);
      }
      columns.users.push(users.codeOf(userId));
      columns.items.push(items.codeOf(itemId));
      columns.rows.push(ordinal);
    }
    run.onProgress?.({ stage: "import", done: ordinal, unit: "rows" });
  }
  if (columns.rows.length > MAX_EVENTS) {
    throw new PrismrecError("DATA_FORMAT", `${path} holds more events than fit`, {
      expected: `at most ${MAX_EVENTS}`,
      received: String(columns.rows.length),
    });
  }
  const malformed = table.malformed();
  const rowOf = (at: number): number => table.rowOf(at);
  drops.addCounted("interactions", "malformed", malformed.count, malformed.examples);
  for (const { reason, ordinal: at, text } of pending) drops.add("interactions", reason, rowOf(at), text);
  const rowsRead = ordinal + malformed.count;

  const notes = [...table.notes.map((note) => `interactions: ${note}`), ...roles.notes];
  const warnings = [...roles.warnings];
  const raw = { users: columns.users.toArray(), items: columns.items.toArray(), rows: columns.rows.toArray() };
  const userJudgement = judgeIds("user", users.ids, rowsOfIds(raw.users, users.ids.length));
  const itemJudgement = judgeIds("item", items.ids, rowsOfIds(raw.items, items.ids.length));
  let noTimes = `no time column was recognised among ${table.columns.map((name) => `"${name}"`).join(", ")}`;
  if (options.columns?.timestamp === NO_COLUMN && !timed) noTimes = "no time column is to be read";
  const settled = timed && timesFilled > 0 ? settleTimes(path, times, options) : undefined;
  if (timed && settled === undefined && raw.rows.length > 0) {
    noTimes = `the time column "${roles.timestamp.join(",")}" is empty`;
  }
  const lacking = new Map<DropReason, number[]>();
  const kept = Uint32Array.from(raw.rows.keys()).filter((place) => {
    let reason: DropReason;
    if (userJudgement.missing.has(raw.users[place]!)) reason = "missing-user";
    else if (itemJudgement.missing.has(raw.items[place]!)) reason = "missing-item";
    else if (settled !== undefined && !settled.known(place)) reason = "bad-timestamp";
    else return true;
    const places = lacking.get(reason);
    if (places === undefined) lacking.set(reason, [place]);
    else places.push(place);
    return false;
  });
  for (const [reason, places] of lacking) {
    drops.addAll("interactions", reason, places, (place) => {
      const text = [users.ids[raw.users[place]!], items.ids[raw.items[place]!], badTimes.get(place)];
      return { row: rowOf(raw.rows[place]!), text: text.filter((part) => part !== undefined).join(", ") };
    });
  }
  warnings.unshift(...drops.judge("interactions", path, rowsRead));
  if (kept.length === 0) {
    const reasons = drops.list().map((drop) => `${drop.count} ${drop.reason}`);
    throw new PrismrecError(rowsRead === 0 ? "DATA_EMPTY" : "DATA_FORMAT", `${path} holds no usable event`, {
      expected: "rows with a user, an item and a readable time",
      received: rowsRead === 0 ? "a header without rows" : `${rowsRead} rows, dropped: ${reasons.join(", ")}`,
      ...(otherEvents.size === 0
        ? {}
        : { hint: `Of the column "${event}", --events may name: ${[...otherEvents].join(", ")}.`.slice(0, 400) }),
    });
  }
  const take = (column: Uint32Array): Uint32Array =>
    kept.length === column.length ? column : kept.map((place) => column[place]!);
  const usable = { users: take(raw.users), items: take(raw.items), rows: take(raw.rows) };
  const timedShare =
    settled === undefined ? 0 : raw.rows.filter((_, place) => settled.known(place)).length / raw.rows.length;
  const instants = settled === undefined ? undefined : BigInt64Array.from(kept, (place) => settled.values[place]!);

  notes.push(...userJudgement.notes, ...itemJudgement.notes, ...(settled?.notes ?? []));
  warnings.push(...(settled?.warnings ?? []), ...userJudgement.warnings, ...itemJudgement.warnings);
  for (const [role, ids] of [
    ["user", users.ids],
    ["item", items.ids],
  ] as const) {
    if (ordinal >= MANY_ROWS && ids.length === ordinal) {
      warnings.push(`the ${role} column "${roles[role]}" differs in every row: is it the number of the row?`);
    }
  }
  for (const [place, { name }] of (counted ?? []).entries()) {
    if (eventRows[place] === 0) warnings.push(`no row has the event "${name}"`);
  }
  if (counted === undefined && roles.event !== undefined) {
    const kinds = new Set(sample.cells[sample.columns.indexOf(roles.event)]);
    kinds.delete("");
    if (kinds.size > 1) {
      const some = [...kinds].slice(0, 5).join(", ");
      warnings.push(
        `every event counts alike, whatever "${roles.event}" says (${some}): --events NAMES chooses those that count`,
      );
    }
  }
  if (rating === undefined && roles.rating !== undefined) {
    notes.push(
      `ratings in "${roles.rating}" are ignored: the lowest counts like the highest (--min-rating N leaves low ones out)`,
    );
  }
  return {
    ...usable,
    ...(instants === undefined ? {} : { times: instants }),
    userIds: users.ids,
    itemIds: items.ids,
    rowsRead,
    format: table.format,
    columns: {
      user: roles.user,
      item: roles.item,
      ...(timed ? { timestamp: roles.timestamp.join(",") } : {}),
      ...(rating === undefined ? {} : { rating }),
      ...(event === undefined ? {} : { event }),
    },
    roles,
    sample,
    ticks: settled?.ticksPerSecond ?? 1,
    timedShare,
    noTimes,
    ...(counted === undefined ? {} : { events: counted.map((kind, place) => ({ ...kind, rows: eventRows[place]! })) }),
    passedOver: roles.passedOver,
    notes,
    warnings,
    rowOf,
  };
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
