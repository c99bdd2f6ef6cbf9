import type { DuckDBConnection } from "@duckdb/node-api";
import { PrismrecError } from "../errors/errors.js";
import { hashJson, sha256File } from "../runtime/hash.js";
import type { RunOptions } from "../runtime/run-options.js";
import { createCatalog, createLog, splitCategories, splitTitle } from "./catalog.js";
import { findColumn, requireColumn } from "./columns.js";
import { type CoreMode, compareIds, coreFilter, type EventColumns, IdTable, orderEvents } from "./events.js";
import type { ColumnsUsed, Drop, DropReason, ImportReport } from "./report.js";
import { applySplit, type SplitOptions, type SplitPart } from "./split.js";
import { withDuckDb } from "./tables/duckdb.js";
import { openTable } from "./tables/open-table.js";
import { ticksPerSecond, timestampParser } from "./timestamps.js";
import type { Catalog, Dataset, Item, Split } from "./types.js";

export interface ImportOptions {
  /** CSV, TSV, JSONL or Parquet with one event a row: user, item and, where known, time. */
  readonly interactions: string;
  /** CSV, TSV, JSONL or Parquet with one item a row: id, title, categories. */
  readonly items?: string;
  /** Names of columns; those left out are found by their usual names. */
  readonly columns?: {
    readonly user?: string;
    readonly item?: string;
    readonly timestamp?: string;
    /** The id column of the items file. */
    readonly itemId?: string;
    readonly title?: string;
    readonly categories?: string;
    readonly year?: string;
  };
  /** Between the categories of one item (default `|`; JSON arrays and Parquet lists need none). */
  readonly categorySeparator?: string;
  /** Default: users and items with at least 5 events, iteratively. */
  readonly core?: { readonly mode?: CoreMode; readonly minimum?: number };
  readonly split?: Omit<SplitOptions, "assignment"> & {
    /** Table with the columns user and part (train, valid, test). */
    readonly file?: string;
  };
}

/** Raised when the meaning of an import changes: part of every fingerprint. */
const IMPORT_VERSION = 1;
const MAX_EVENTS = 2 ** 31;

/**
 * Reads interactions and items into a dataset: ids stay text, times stay 64-bit, of a repeated (user, item) the earliest
 * event is kept, users and items below the core go, each user's events are ordered by time (ties in file order), and
 * the split is applied. Every row that is dropped is counted in the report under its reason.
 * Throws FILE_NOT_FOUND, DATA_FORMAT, DATA_EMPTY, SPLIT_INVALID or CONFIG_INVALID.
 */
export async function importDataset(
  options: ImportOptions,
  run: RunOptions = {},
): Promise<{ readonly dataset: Dataset; readonly report: ImportReport }> {
  const settings = resolve(options);
  const fingerprint = await fingerprintOf(options, settings, run.signal);
  return await withDuckDb(async (connection) => {
    const drops = new DropCounter();
    const raw = await readEvents(connection, options, drops, run);
    const itemFile = await readItems(connection, options, settings.categorySeparator, drops, run);
    const assignment = await readAssignment(connection, settings.split.file, run.signal);
    const kept = keepEvents(raw, settings.core, assignment, drops);
    const log = groupByUser(raw, kept);
    const outcome = applySplit(log, {
      ...settings.split,
      ...(assignment === undefined ? {} : { assignment }),
    });
    const { catalog, items } = buildCatalog(raw, log, outcome.split, itemFile);
    const dataset: Dataset = {
      fingerprint,
      catalog,
      log: createLog({
        userIds: log.userIds,
        indptr: log.indptr,
        items,
        ...(log.timestamps === undefined ? {} : { timestamps: log.timestamps }),
      }),
      split: outcome.split,
    };
    const withTitle = catalog.items.filter((item) => item.title !== "").length;
    const withoutRow = catalog.items.slice(1).filter((item) => itemFile?.items.get(item.id) === undefined).length;
    const report: ImportReport = {
      format: { interactions: raw.format, ...(itemFile === undefined ? {} : { items: itemFile.format }) },
      columns: { ...raw.columns, ...itemFile?.columns },
      rowsRead: raw.rowsRead,
      itemRowsRead: itemFile?.rowsRead ?? 0,
      kept: { users: log.userIds.length, items: catalog.size, events: items.length },
      drops: drops.list(),
      split: {
        protocol: outcome.split.protocol,
        train: outcome.split.train.users.length,
        valid: outcome.split.valid.users.length,
        test: outcome.split.test.users.length,
        leftOut: outcome.leftOut.length + kept.usersOutsideSplit,
      },
      timing: timing(log, raw.ticks),
      titleShare: catalog.size === 0 ? 0 : withTitle / catalog.size,
      warnings:
        itemFile !== undefined && withoutRow > 0
          ? [`${withoutRow} of ${catalog.size} items have no row in ${options.items}: they have no title`]
          : [],
    };
    return { dataset, report };
  });
}

interface Settings {
  readonly core: { readonly mode: CoreMode; readonly minimum: number };
  readonly categorySeparator: string;
  readonly split: NonNullable<ImportOptions["split"]>;
}

function resolve(options: ImportOptions): Settings {
  const { mode = "iterative_kcore", minimum = 5 } = options.core ?? {};
  if (!Number.isInteger(minimum) || minimum < 1) {
    throw new PrismrecError("CONFIG_INVALID", "the core needs a whole number of events", {
      expected: "core.minimum >= 1",
      received: String(minimum),
    });
  }
  return { core: { mode, minimum }, categorySeparator: options.categorySeparator ?? "|", split: options.split ?? {} };
}

async function fingerprintOf(options: ImportOptions, settings: Settings, signal?: AbortSignal): Promise<string> {
  const { file, ...split } = settings.split;
  return hashJson({
    version: IMPORT_VERSION,
    interactions: await sha256File(options.interactions, signal),
    items: options.items === undefined ? null : await sha256File(options.items, signal),
    splitFile: file === undefined ? null : await sha256File(file, signal),
    columns: options.columns ?? {},
    core: settings.core,
    categorySeparator: settings.categorySeparator,
    split,
  });
}

interface RawEvents extends EventColumns {
  readonly userIds: readonly string[];
  readonly itemIds: readonly string[];
  readonly rowsRead: number;
  readonly format: string;
  readonly columns: ColumnsUsed;
  /** Units of time a second. */
  readonly ticks: number;
  rowOf(ordinal: number): number;
}

async function readEvents(
  connection: DuckDBConnection,
  options: ImportOptions,
  drops: DropCounter,
  run: RunOptions,
): Promise<RawEvents> {
  const path = options.interactions;
  const table = await openTable(connection, path);
  const user = requireColumn(path, table.columns, "user", options.columns?.user);
  const item = requireColumn(path, table.columns, "item", options.columns?.item);
  const timestamp = findColumn(path, table.columns, "timestamp", options.columns?.timestamp);
  const users = new IdTable();
  const items = new IdTable();
  const columns = { users: new NumberColumn(), items: new NumberColumn(), rows: new NumberColumn() };
  const times: bigint[] = [];
  const parser = timestampParser();
  const pending: { readonly reason: DropReason; readonly ordinal: number; readonly text: string }[] = [];
  let ordinal = 0;
  const wanted = [user, item, ...(timestamp === undefined ? [] : [timestamp])];
  for await (const [userCells = [], itemCells = [], timeCells] of table.read(wanted, run.signal)) {
    for (let r = 0; r < userCells.length; r++) {
      ordinal++;
      const [userId, itemId] = [text(userCells[r]), text(itemCells[r])];
      const time = timeCells === undefined ? undefined : text(timeCells[r]);
      const parsed = timeCells === undefined || time === undefined || time === "" ? undefined : parser.parse(time);
      let reason: DropReason | undefined;
      if (table.format === "jsonl" && userId === "" && itemId === "" && !time) reason = "malformed";
      else if (userId === "") reason = "missing-user";
      else if (itemId === "") reason = "missing-item";
      else if (timeCells !== undefined && parsed === undefined) reason = "bad-timestamp";
      if (reason !== undefined) {
        pending.push({ reason, ordinal, text: [userId, itemId, time].filter((cell) => cell !== undefined).join(", ") });
        continue;
      }
      columns.users.push(users.codeOf(userId));
      columns.items.push(items.codeOf(itemId));
      columns.rows.push(ordinal);
      if (parsed !== undefined) times.push(parsed);
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
  drops.addCounted("interactions", "malformed", malformed.count, malformed.examples);
  for (const { reason, ordinal: at, text } of pending) drops.add("interactions", reason, table.rowOf(at), text);
  const rowsRead = ordinal + malformed.count;
  if (columns.rows.length === 0) {
    const reasons = drops.list().map((drop) => `${drop.count} ${drop.reason}`);
    throw new PrismrecError(rowsRead === 0 ? "DATA_EMPTY" : "DATA_FORMAT", `${path} holds no usable event`, {
      expected: "rows with a user, an item and a readable time",
      received: rowsRead === 0 ? "a header without rows" : `${rowsRead} rows, dropped: ${reasons.join(", ")}`,
      hint: "Times may be integers, decimal seconds or ISO 8601 texts, of one kind in the whole file.",
    });
  }
  return {
    users: columns.users.toArray(),
    items: columns.items.toArray(),
    rows: columns.rows.toArray(),
    ...(timestamp === undefined ? {} : { times: BigInt64Array.from(times) }),
    userIds: users.ids,
    itemIds: items.ids,
    rowsRead,
    format: table.format,
    columns: { user, item, ...(timestamp === undefined ? {} : { timestamp }) },
    ticks: ticksPerSecond(parser.style() ?? "integer", times[times.length >> 1] ?? 0n),
    rowOf: table.rowOf,
  };
}

function text(cell: string | null | undefined): string {
  return cell?.trim() ?? "";
}

interface ItemFile {
  readonly items: ReadonlyMap<string, Item>;
  readonly rowsRead: number;
  readonly format: string;
  readonly columns: { readonly itemId: string; readonly title?: string; readonly categories?: string };
}

async function readItems(
  connection: DuckDBConnection,
  options: ImportOptions,
  separator: string,
  drops: DropCounter,
  run: RunOptions,
): Promise<ItemFile | undefined> {
  const path = options.items;
  if (path === undefined) return undefined;
  const table = await openTable(connection, path);
  const id = requireColumn(path, table.columns, "item", options.columns?.itemId);
  const optional = {
    title: findColumn(path, table.columns, "title", options.columns?.title),
    categories: findColumn(path, table.columns, "categories", options.columns?.categories),
    year: findColumn(path, table.columns, "year", options.columns?.year),
  };
  const chosen = [...new Set([id, ...Object.values(optional).filter((column) => column !== undefined)])];
  const place = (column: string | undefined): number => (column === undefined ? -1 : chosen.indexOf(column));
  const places = { title: place(optional.title), categories: place(optional.categories), year: place(optional.year) };
  const items = new Map<string, Item>();
  const pending: { readonly reason: DropReason; readonly ordinal: number; readonly text: string }[] = [];
  let ordinal = 0;
  // A title and categories may be missing, at the end of the row too.
  for await (const cells of table.read(chosen, run.signal, 1)) {
    const rows = cells[0]?.length ?? 0;
    for (let r = 0; r < rows; r++) {
      ordinal++;
      const itemId = text(cells[0]?.[r]);
      const fullTitle = text(cells[places.title]?.[r]);
      if (itemId === "" || items.has(itemId)) {
        const reason = itemId === "" ? "missing-item" : "duplicate-item";
        pending.push({ reason, ordinal, text: `${itemId}, ${fullTitle}` });
        continue;
      }
      const { title, year: titleYear } = splitTitle(fullTitle);
      const yearCell = text(cells[places.year]?.[r]);
      const year = /^\d{4}$/.test(yearCell) ? Number(yearCell) : titleYear;
      const categories = splitCategories(text(cells[places.categories]?.[r]), separator);
      items.set(itemId, { id: itemId, title, categories, ...(year === undefined ? {} : { year }) });
    }
  }
  const malformed = table.malformed();
  drops.addCounted("items", "malformed", malformed.count, malformed.examples);
  for (const { reason, ordinal: at, text } of pending) drops.add("items", reason, table.rowOf(at), text);
  if (items.size === 0) {
    throw new PrismrecError("DATA_EMPTY", `${path} holds no items`, {
      expected: "rows with an item id",
      received: `${ordinal} rows without one`,
    });
  }
  return {
    items,
    rowsRead: ordinal + malformed.count,
    format: table.format,
    columns: {
      itemId: id,
      ...(optional.title === undefined ? {} : { title: optional.title }),
      ...(optional.categories === undefined ? {} : { categories: optional.categories }),
    },
  };
}

const PARTS: ReadonlyMap<string, SplitPart> = new Map([
  ["train", "train"],
  ["valid", "valid"],
  ["validation", "valid"],
  ["test", "test"],
]);

async function readAssignment(
  connection: DuckDBConnection,
  path: string | undefined,
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<string, SplitPart> | undefined> {
  if (path === undefined) return undefined;
  const table = await openTable(connection, path);
  const user = requireColumn(path, table.columns, "user", undefined);
  if (!table.columns.includes("part")) {
    throw new PrismrecError("SPLIT_INVALID", `${path} has no part column`, {
      expected: "columns user and part",
      received: table.columns.join(", ").slice(0, 200),
    });
  }
  const assignment = new Map<string, SplitPart>();
  let row = 0;
  for await (const [users = [], parts = []] of table.read([user, "part"], signal)) {
    for (let r = 0; r < users.length; r++) {
      row++;
      const id = text(users[r]);
      const part = PARTS.get(text(parts[r]).toLowerCase());
      const earlier = assignment.get(id);
      if (id !== "" && part !== undefined && (earlier === undefined || earlier === part)) {
        assignment.set(id, part);
        continue;
      }
      throw new PrismrecError("SPLIT_INVALID", `row ${row} of ${path} does not assign a user to one part`, {
        expected: "a user id that no other part has, and train, valid or test",
        received: `user "${id}", part "${text(parts[r])}"${earlier === undefined ? "" : `, earlier "${earlier}"`}`,
      });
    }
  }
  const [malformed] = table.malformed().examples;
  if (malformed !== undefined) {
    throw new PrismrecError("SPLIT_INVALID", `row ${malformed.row} of ${path} cannot be read`, {
      expected: "a user and a part",
      received: malformed.text,
    });
  }
  return assignment;
}

interface KeptEvents {
  /** Places into the raw events: grouped by user code, each user's by time. */
  readonly order: Uint32Array;
  readonly usersOutsideSplit: number;
}

function keepEvents(
  raw: RawEvents,
  core: Settings["core"],
  assignment: ReadonlyMap<string, SplitPart> | undefined,
  drops: DropCounter,
): KeptEvents {
  const sizes = { users: raw.userIds.length, items: raw.itemIds.length };
  const { order, repeated } = orderEvents(raw, sizes.users, sizes.items);
  const inCore = coreFilter(raw, order, sizes, core.minimum, core.mode);
  if (inCore.length === 0) {
    throw new PrismrecError("DATA_EMPTY", `no user and item are left with ${core.minimum} events each`, {
      expected: `a core of at least ${core.minimum} events a user and an item (${core.mode})`,
      received: `${order.length} distinct events of ${sizes.users} users and ${sizes.items} items`,
      hint: "Lower core.minimum, or bring more data.",
    });
  }
  const inSplit =
    assignment === undefined ? inCore : inCore.filter((place) => assignment.has(raw.userIds[raw.users[place]!]!));
  const left: readonly [DropReason, Uint32Array][] = [
    ["duplicate", repeated],
    ["below-core", difference(order, inCore, raw.users.length)],
    ["not-in-split", difference(inCore, inSplit, raw.users.length)],
  ];
  for (const [reason, places] of left) {
    drops.addAll("interactions", reason, places, (place) => ({
      row: raw.rowOf(raw.rows[place]!),
      text: `${raw.userIds[raw.users[place]!]}, ${raw.itemIds[raw.items[place]!]}`,
    }));
  }
  const distinctUsers = (places: Uint32Array): number => new Set(places.map((place) => raw.users[place]!)).size;
  return { order: inSplit, usersOutsideSplit: distinctUsers(inCore) - distinctUsers(inSplit) };
}

/** Places of `all` that `kept` lacks, ascending. */
function difference(all: Uint32Array, kept: Uint32Array, size: number): Uint32Array {
  const isKept = new Uint8Array(size);
  for (const place of kept) isKept[place] = 1;
  return all.filter((place) => isKept[place] === 0).sort();
}

interface UserLog {
  readonly userIds: readonly string[];
  readonly indptr: Uint32Array;
  /** Raw item codes. */
  readonly itemCodes: Uint32Array;
  readonly timestamps?: BigInt64Array;
}

/** Users in id order, so that neither the file's order nor a hash decides what a seed selects. */
function groupByUser(raw: RawEvents, { order }: KeptEvents): UserLog {
  const ranges = new Map<number, { start: number; end: number }>();
  order.forEach((place, at) => {
    const range = ranges.get(raw.users[place]!);
    if (range === undefined) ranges.set(raw.users[place]!, { start: at, end: at + 1 });
    else range.end = at + 1;
  });
  const idOf = (code: number): string => raw.userIds[code]!;
  const compare = compareIds([...ranges.keys()].map(idOf));
  const codes = [...ranges.keys()].sort((a, b) => compare(idOf(a), idOf(b)));
  const indptr = new Uint32Array(codes.length + 1);
  const places = new Uint32Array(order.length);
  codes.forEach((code, user) => {
    const { start, end } = ranges.get(code)!;
    places.set(order.subarray(start, end), indptr[user]!);
    indptr[user + 1] = indptr[user]! + (end - start);
  });
  const { times } = raw;
  return {
    userIds: codes.map(idOf),
    indptr,
    itemCodes: places.map((place) => raw.items[place]!),
    ...(times === undefined ? {} : { timestamps: BigInt64Array.from(places, (place) => times[place]!) }),
  };
}

/** Dense ids by descending number of training events, ties by external id; every item of the log is in the catalog. */
function buildCatalog(
  raw: RawEvents,
  log: UserLog,
  split: Split,
  itemFile: ItemFile | undefined,
): { readonly catalog: Catalog; readonly items: Uint32Array } {
  const counts = new Uint32Array(raw.itemIds.length);
  split.train.users.forEach((user, j) => {
    const start = log.indptr[user]!;
    for (let at = start; at < start + split.train.ends[j]!; at++) counts[log.itemCodes[at]!]!++;
  });
  const idOf = (code: number): string => raw.itemIds[code]!;
  const present = [...new Set(log.itemCodes)];
  const compare = compareIds(present.map(idOf));
  const codes = present.sort((a, b) => counts[b]! - counts[a]! || compare(idOf(a), idOf(b)));
  const dense = new Uint32Array(raw.itemIds.length);
  codes.forEach((code, rank) => {
    dense[code] = rank + 1;
  });
  const padding: Item = { id: "", title: "", categories: [] };
  const items = codes.map((code): Item => {
    const id = idOf(code);
    return itemFile?.items.get(id) ?? { id, title: "", categories: [] };
  });
  const popularity = Uint32Array.from([0, ...codes.map((code) => counts[code]!)]);
  return { catalog: createCatalog([padding, ...items], popularity), items: log.itemCodes.map((code) => dense[code]!) };
}

function timing({ timestamps, indptr }: UserLog, ticks: number): ImportReport["timing"] {
  if (timestamps === undefined || timestamps.length === 0) return { timed: false, tiedShare: 0, withinMinuteShare: 0 };
  const minute = BigInt(60 * ticks);
  let tied = 0;
  let within = 0;
  for (let user = 0; user + 1 < indptr.length; user++) {
    for (let at = indptr[user]!; at < indptr[user + 1]!; at++) {
      const sinceLast = at > indptr[user]! ? timestamps[at]! - timestamps[at - 1]! : undefined;
      const untilNext = at + 1 < indptr[user + 1]! ? timestamps[at + 1]! - timestamps[at]! : undefined;
      if (sinceLast === 0n || untilNext === 0n) tied++;
      if (sinceLast !== undefined && sinceLast <= minute) within++;
    }
  }
  return { timed: true, tiedShare: tied / timestamps.length, withinMinuteShare: within / timestamps.length };
}

/** A growing column of numbers that costs no boxed element. */
class NumberColumn {
  #values = new Uint32Array(1 << 16);
  length = 0;

  push(value: number): void {
    if (this.length === this.#values.length) {
      const grown = new Uint32Array(this.length * 2);
      grown.set(this.#values);
      this.#values = grown;
    }
    this.#values[this.length++] = value;
  }

  toArray(): Uint32Array {
    return this.#values.slice(0, this.length);
  }
}

const EXAMPLES = 5;

class DropCounter {
  readonly #drops = new Map<string, { drop: Omit<Drop, "count" | "examples">; count: number; examples: Example[] }>();

  add(file: Drop["file"], reason: DropReason, row: number, text: string): void {
    this.addCounted(file, reason, 1, [{ row, text }]);
  }

  addAll(file: Drop["file"], reason: DropReason, places: ArrayLike<number>, example: (place: number) => Example): void {
    const first = Array.from({ length: Math.min(places.length, EXAMPLES) }, (_, i) => example(places[i]!));
    this.addCounted(file, reason, places.length, first);
  }

  /** `count` rows, the first of which are `examples`. */
  addCounted(file: Drop["file"], reason: DropReason, count: number, examples: readonly Example[]): void {
    if (count === 0) return;
    const key = `${file} ${reason}`;
    const entry = this.#drops.get(key) ?? { drop: { file, reason }, count: 0, examples: [] };
    this.#drops.set(key, entry);
    entry.count += count;
    for (const { row, text } of examples.slice(0, EXAMPLES - entry.examples.length)) {
      entry.examples.push({ row, text: text.slice(0, 80) });
    }
  }

  list(): Drop[] {
    return [...this.#drops.values()].map(({ drop, count, examples }) => ({ ...drop, count, examples }));
  }
}

type Example = Drop["examples"][number];
