import { PrismrecError } from "../../base/errors.js";
import { hashJson, sha256File } from "../../base/hash.js";
import { createRandom } from "../../base/random.js";
import type { RunOptions } from "../../base/run-options.js";
import { createCatalog, createLog } from "../catalog.js";
import { recoded } from "../columns.js";
import type { DateOrder } from "../read-time.js";
import type { DropReason, ImportReport, KeptColumn } from "../report.js";
import { applySplit, DEFAULT_SPLIT_SEED, type SplitOptions, type SplitPart } from "../split.js";
import type { Catalog, Dataset, Item, Split } from "../types.js";
import { readAssignment } from "./assignment.js";
import { DropCounter } from "./drops.js";
import { byUser, type CoreMode, compareIds, coreFilter, type DrawnOrder, orderEvents } from "./events.js";
import type { Forgotten } from "./forgotten.js";
import { differentForm } from "./ids.js";
import { parseEvents, type RawEvents, readInteractions } from "./interactions.js";
import { type ItemFile, readItems } from "./items.js";
import { type Sorting, sortedByColumn, sortedByItem } from "./sortedness.js";
import { pathsOf, spoolInputs } from "./spool-inputs.js";
import { withDuckDb } from "./tables/duckdb.js";
import { readUsers, type UserFile } from "./users.js";

export interface ImportOptions {
  /**
   * CSV, TSV, JSONL or Parquet with one event a row: user, item and, where known, time. Several files are one log in the order in
   * which it came: they have the same columns, and what a later one has exactly as an earlier one is counted once.
   */
  readonly interactions: string | readonly string[];
  /** CSV, TSV, JSONL or Parquet with one item a row: id, title, categories. Rows of later files stand over earlier ones. */
  readonly items?: string | readonly string[];
  /** CSV, TSV, JSONL or Parquet with one user a row: its columns are kept as the log's `profile`. */
  readonly users?: string | readonly string[];
  /**
   * Names of columns; those left out are found by their usual names and their values. `timestamp`, `rating` and `event`
   * may be `none`, and `behaviour` and `weight`; a date and a time of day in two columns are one `timestamp` joined by a comma.
   */
  readonly columns?: {
    readonly user?: string;
    readonly item?: string;
    readonly timestamp?: string;
    readonly rating?: string;
    readonly event?: string;
    /** Kinds of events, kept beside them; default: the column of `event`. */
    readonly behaviour?: string;
    /** Ratings or quantities, kept beside the events; default: the column of `rating`, else one of quantities. */
    readonly weight?: string;
    /** The id column of the users file. */
    readonly userId?: string;
    /** The id column of the items file. */
    readonly itemId?: string;
    readonly title?: string;
    readonly categories?: string;
    readonly year?: string;
  };
  /** Between the categories of one item (default `|`; JSON arrays and Parquet lists need none). */
  readonly categorySeparator?: string;
  /** Rows rated lower are left out; ratings mean nothing else. */
  readonly minRating?: number;
  /** Kinds of events that count, each a name or `name=weight`; all by default. Weights are kept in the report. */
  readonly events?: readonly string[];
  /** Events before this date or time, in any form that a log may have it, are left out. */
  readonly since?: string;
  /** Events from this date or time on are left out. */
  readonly until?: string;
  /** Users whose rows are left out, and shown nowhere. */
  readonly forgotten?: Forgotten;
  /** Of a repeated user and item the earliest event (default), or all of them. */
  readonly repeats?: "earliest" | "keep";
  /** What orders a user's events where there are no times: a draw (default), or the file. */
  readonly order?: "random" | "file";
  /** What orders a user's events of one time: the file (default), or a draw. */
  readonly ties?: "file" | "random";
  /** How dates such as 01/02/2019 are read where the column itself does not tell. */
  readonly dateOrder?: DateOrder;
  /** Default: users and items with at least 5 events, iteratively. Repeats do not count. */
  readonly core?: { readonly mode?: CoreMode; readonly minimum?: number };
  /** Its seed draws the order of events too. */
  readonly split?: Omit<SplitOptions, "assignment"> & {
    /** Table with the columns user and part (train, valid, test). */
    readonly file?: string;
  };
}

/** Raised when the meaning of an import changes: part of every fingerprint. */
export const IMPORT_VERSION = 3;
/** Ties that are worth a word. */
const TIED_SHARE = 0.01;

/**
 * Reads interactions and items into a dataset: ids stay text, times stay 64-bit, of a repeated (user, item) the earliest
 * event is kept, users and items below the core go, each user's events are ordered by time (ties in file order), and
 * the split is applied. Without times the order is drawn from the split's seed: the order of a file is not time. Every
 * row that is dropped is counted in the report under its reason, and every guess is told there. Every further column of the
 * items and users files is kept, typed by its values; no model reads them unless it says so.
 * Throws FILE_NOT_FOUND, DATA_FORMAT, DATA_EMPTY, SPLIT_INVALID or CONFIG_INVALID.
 */
export async function importDataset(
  given: ImportOptions,
  run: RunOptions = {},
): Promise<{ readonly dataset: Dataset; readonly report: ImportReport }> {
  await using inputs = await spoolInputs(given, run.signal);
  const { options } = inputs;
  const settings = resolve(options);
  const fingerprint = await fingerprintOf(options, settings, run.signal);
  return await withDuckDb(async (connection) => {
    const drops = new DropCounter();
    const raw = await readInteractions(connection, options, drops, run);
    const itemFile = await readItems(
      connection,
      options,
      settings.categorySeparator,
      raw.columns.item,
      raw.itemIds,
      drops,
      run,
    );
    const userFile = await readUsers(connection, options, raw.columns.user, raw.userIds, drops, run);
    const assignment = await readAssignment(connection, settings.split.file, run.signal);
    const kept = keepEvents(raw, settings, assignment, drops);
    const log = groupByUser(raw, kept);
    const outcome = applySplit(settings.repeats === "keep" ? { ...log, items: log.itemCodes } : log, {
      ...settings.split,
      ...(assignment === undefined ? {} : { assignment }),
    });
    const { catalog, items, kept: itemColumns, notes: itemNotes } = buildCatalog(raw, log, outcome.split, itemFile);
    const users = userFile?.cells.finish(log.userCodes.map((code) => code + 1));
    const dataset: Dataset = {
      fingerprint,
      catalog,
      log: createLog({
        userIds: log.userIds,
        indptr: log.indptr,
        items,
        ...(log.timestamps === undefined ? {} : { timestamps: log.timestamps }),
        ...eventColumns(raw, log),
        ...(raw.times === undefined && settings.order === "random" ? { unordered: true } : {}),
        ...(users === undefined ? {} : { profile: users.columns }),
      }),
      split: outcome.split,
    };
    const withTitle = catalog.items.filter((item) => item.title !== "").length;
    const timed = timing(log, raw.ticks);
    const ordered = describeOrder(raw, kept, timed, settings, options, itemFile);
    const report: ImportReport = {
      format: {
        interactions: raw.format,
        ...(itemFile === undefined ? {} : { items: itemFile.format }),
        ...(userFile === undefined ? {} : { users: userFile.format }),
      },
      columns: {
        ...raw.columns,
        ...itemFile?.columns,
        ...(userFile === undefined ? {} : { userId: userFile.userId }),
      },
      rowsRead: raw.rowsRead,
      itemRowsRead: itemFile?.rowsRead ?? 0,
      ...(userFile === undefined ? {} : { userRowsRead: userFile.rowsRead }),
      kept: { users: log.userIds.length, items: catalog.size, events: items.length },
      drops: drops.list(),
      split: {
        protocol: outcome.split.protocol,
        train: outcome.split.train.users.length,
        valid: outcome.split.valid.users.length,
        test: outcome.split.test.users.length,
        leftOut: outcome.leftOut.length + kept.usersOutsideSplit,
      },
      timing: timed,
      order: {
        by: raw.times === undefined ? settings.order : "time",
        ties: raw.times === undefined ? settings.order : settings.ties,
        timedShare: raw.timedShare,
      },
      repeats: settings.repeats,
      ...(options.minRating === undefined ? {} : { minRating: options.minRating }),
      ...(raw.events === undefined ? {} : { events: raw.events }),
      ...(raw.perFile === undefined ? {} : { files: raw.perFile }),
      passedOver: raw.passedOver,
      ...(itemColumns.length === 0 ? {} : { itemColumns }),
      ...(users === undefined ? {} : { userColumns: users.kept }),
      titleShare: catalog.size === 0 ? 0 : withTitle / catalog.size,
      notes: [
        ...raw.notes,
        ...ordered.notes,
        ...[...(itemFile?.notes ?? []), ...itemNotes].map((note) => `items: ${note}`),
        ...[...(userFile?.notes ?? []), ...(users?.notes ?? [])].map((note) => `users: ${note}`),
      ],
      warnings: [
        ...raw.warnings,
        ...ordered.warnings,
        ...(itemFile?.warnings ?? []),
        ...withoutRows(catalog, itemFile, pathsOf(options.items).join(", ")),
        ...(userFile?.warnings ?? []),
        ...usersWithoutRows(log, userFile, pathsOf(options.users).join(", ")),
      ],
    };
    return { dataset, report };
  });
}

interface Settings extends Required<Pick<ImportOptions, "categorySeparator" | "repeats" | "order" | "ties">> {
  readonly core: { readonly mode: CoreMode; readonly minimum: number };
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
  if (options.minRating !== undefined && !Number.isFinite(options.minRating)) {
    throw new PrismrecError("CONFIG_INVALID", "the least rating is not a number", {
      expected: "a finite number",
      received: String(options.minRating),
    });
  }
  const { categorySeparator = "|", repeats = "earliest", order = "random", ties = "file", split = {} } = options;
  return { core: { mode, minimum }, categorySeparator, repeats, order, ties, split };
}

async function fingerprintOf(options: ImportOptions, settings: Settings, signal?: AbortSignal): Promise<string> {
  const { file, known, ...split } = settings.split;
  const { core, categorySeparator, repeats, order, ties } = settings;
  const contentOf = async (files: string | readonly string[]): Promise<string | string[]> => {
    const [first, ...others] = await Promise.all(pathsOf(files).map((path) => sha256File(path, signal)));
    return others.length === 0 ? (first ?? []) : [first!, ...others];
  };
  return hashJson({
    version: IMPORT_VERSION,
    interactions: await contentOf(options.interactions),
    items: options.items === undefined ? null : await contentOf(options.items),
    users: options.users === undefined ? undefined : await contentOf(options.users),
    since: options.since,
    until: options.until,
    forgotten: options.forgotten?.hashes,
    splitFile: file === undefined ? null : await sha256File(file, signal),
    columns: options.columns ?? {},
    ...{ core, categorySeparator, repeats, order, ties },
    minRating: options.minRating,
    events: options.events === undefined ? undefined : parseEvents(options.events),
    dateOrder: options.dateOrder,
    split: { ...split, ...(known === undefined ? {} : { known: [...known] }) },
  });
}

/** What is to be said of the items that the items file lacks. */
function withoutRows(catalog: Catalog, itemFile: ItemFile | undefined, path: string): string[] {
  if (itemFile === undefined) return [];
  const lacking = catalog.items
    .slice(1)
    .map(({ id }) => id)
    .filter((id) => !itemFile.items.has(id));
  if (lacking.length === 0) return [];
  const form = differentForm(lacking, itemFile.items.keys());
  const strangers = lacking.length === catalog.size ? [...itemFile.items.keys()].slice(0, 3) : [];
  const more =
    form ??
    (strangers.length === 0
      ? undefined
      : `the events name ${lacking.slice(0, 3).join(", ")}, the file ${strangers.join(", ")}: --item-id names its id column`);
  return [
    `${lacking.length} of ${catalog.size} items have no row in ${path}: they have no title` +
      (more === undefined ? "" : ` (${more})`),
  ];
}

function usersWithoutRows(log: UserLog, userFile: UserFile | undefined, path: string): string[] {
  if (userFile === undefined) return [];
  const lacking = log.userCodes.filter((code) => userFile.found[code] === 0).length;
  return lacking === 0 ? [] : [`${lacking} of ${log.userIds.length} users have no row in ${path}`];
}

interface KeptEvents {
  /** Places into the raw events: grouped by user code, each user's by time. */
  readonly order: Uint32Array;
  readonly usersOutsideSplit: number;
}

function keepEvents(
  raw: RawEvents,
  settings: Settings,
  assignment: ReadonlyMap<string, SplitPart> | undefined,
  drops: DropCounter,
): KeptEvents {
  const { core, repeats } = settings;
  const sizes = { users: raw.userIds.length, items: raw.itemIds.length };
  const { order, repeated, all } = orderEvents(raw, sizes.users, sizes.items, drawnOrder(raw, settings));
  const inCore = coreFilter(raw, order, sizes, core.minimum, core.mode);
  if (inCore.length === 0) {
    throw new PrismrecError("DATA_EMPTY", `no user and item are left with ${core.minimum} events each`, {
      expected: `a core of at least ${core.minimum} events a user and an item (${core.mode})`,
      received:
        `${order.length} distinct events of ${sizes.users} users (column "${raw.columns.user}") and ` +
        `${sizes.items} items (column "${raw.columns.item}")`,
      hint: "Lower core.minimum (--min-core), name other columns, or bring more data.",
    });
  }
  const counted = repeats === "keep" ? all : order;
  const ofCore = repeats === "keep" ? repeatsOf(raw, all, inCore, sizes) : inCore;
  const inSplit =
    assignment === undefined ? ofCore : ofCore.filter((place) => assignment.has(raw.userIds[raw.users[place]!]!));
  const left: readonly [DropReason, Uint32Array][] = [
    ["duplicate", repeats === "keep" ? new Uint32Array(0) : repeated],
    ["below-core", difference(counted, ofCore, raw.users.length)],
    ["not-in-split", difference(ofCore, inSplit, raw.users.length)],
  ];
  for (const [reason, places] of left) {
    drops.addAll("interactions", reason, places, (place) =>
      raw.example(raw.rows[place]!, `${raw.userIds[raw.users[place]!]}, ${raw.itemIds[raw.items[place]!]}`),
    );
  }
  const distinctUsers = (places: Uint32Array): number => new Set(places.map((place) => raw.users[place]!)).size;
  return { order: inSplit, usersOutsideSplit: distinctUsers(ofCore) - distinctUsers(inSplit) };
}

/** All events of the users and items that the core holds: it was judged by distinct items. */
function repeatsOf(
  raw: RawEvents,
  all: Uint32Array,
  inCore: Uint32Array,
  sizes: { readonly users: number; readonly items: number },
): Uint32Array {
  const [users, items] = [new Uint8Array(sizes.users), new Uint8Array(sizes.items)];
  for (const place of inCore) {
    users[raw.users[place]!] = 1;
    items[raw.items[place]!] = 1;
  }
  return all.filter((place) => users[raw.users[place]!] === 1 && items[raw.items[place]!] === 1);
}

/** The draw that takes the place of the file's order; undefined where that order is to count. */
function drawnOrder(raw: RawEvents, { order, ties, split }: Settings): DrawnOrder | undefined {
  if ((raw.times === undefined ? order : ties) === "file") return undefined;
  const seed = split.seed ?? DEFAULT_SPLIT_SEED;
  return {
    itemRanks: ranksOf(raw.itemIds, compareIds(raw.itemIds)),
    randomOf: (user, file) => createRandom(seed, `order/${raw.userIds[user]!}${file === 0 ? "" : `/${file}`}`),
  };
}

/** [ids] place of each in the given order. */
function ranksOf(ids: readonly string[], compare: (a: string, b: string) => number): Uint32Array {
  const ranks = new Uint32Array(ids.length);
  Uint32Array.from(ids.keys())
    .sort((a, b) => compare(ids[a]!, ids[b]!))
    .forEach((code, rank) => {
      ranks[code] = rank;
    });
  return ranks;
}

/** What is to be said of the order of events: that it was drawn, that it is the file's, and by what that is sorted. */
function describeOrder(
  raw: RawEvents,
  kept: KeptEvents,
  { tiedShare }: ImportReport["timing"],
  settings: Settings,
  options: ImportOptions,
  itemFile: ItemFile | undefined,
): { readonly notes: readonly string[]; readonly warnings: readonly string[] } {
  const timed = raw.times !== undefined;
  if (timed && tiedShare < TIED_SHARE) return { notes: [], warnings: [] };
  const sorting = sortingOf(raw, kept, itemFile);
  const sorted =
    sorting === undefined ? "" : `sorted by "${sorting.column}"${sorting.descending ? ", largest first" : ""}`;
  if (timed) {
    const share = `${(100 * tiedShare).toFixed(1)} % of events share their time with another of the same user`;
    if (settings.ties === "random") return { notes: [`${share}: their order is drawn from the seed`], warnings: [] };
    if (sorting === undefined) {
      return { notes: [`${share}: they stay in file order (--ties random draws it)`], warnings: [] };
    }
    return { notes: [], warnings: [`${share}, and the file has them ${sorted}: --ties random draws their order`] };
  }
  if (settings.order === "file") {
    return sorting === undefined
      ? { notes: [`${raw.noTimes}: the file's order stands for times`], warnings: [] }
      : {
          notes: [],
          warnings: [
            `${raw.noTimes}: the file's order stands for times, but each user's rows are ${sorted}, which need not be an order of time`,
          ],
        };
  }
  const drawn =
    `${raw.noTimes}: each user's order is drawn from the seed (--order file takes the file's)` +
    (sorting === undefined ? "" : `; in the file each user's rows are ${sorted}`);
  return options.order === undefined ? { notes: [], warnings: [drawn] } : { notes: [drawn], warnings: [] };
}

function sortingOf(raw: RawEvents, kept: KeptEvents, itemFile: ItemFile | undefined): Sorting | undefined {
  const isKept = new Uint8Array(raw.users.length);
  for (const place of kept.order) isKept[place] = 1;
  const places = byUser(raw.users, raw.userIds.length).places.filter((place) => isKept[place] === 1);
  const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
  const byId = compareIds([...new Set(kept.order.map((place) => raw.items[place]!))].map((code) => raw.itemIds[code]!));
  const idOrders = [ranksOf(raw.itemIds, byId), ranksOf(raw.itemIds, byText)];
  const byItem = sortedByItem(raw.columns.item, raw, places, idOrders);
  if (byItem !== undefined) return byItem;
  const byColumn = sortedByColumn(raw.sample, raw.roles);
  const title = itemFile?.columns.title;
  if (byColumn !== undefined || itemFile === undefined || title === undefined) return byColumn;
  const titles = raw.itemIds.map((id) => itemFile.items.get(id)?.title ?? "");
  return sortedByItem(title, raw, places, [ranksOf(titles, byText)]);
}

/** Places of `all` that `kept` lacks, ascending. */
function difference(all: Uint32Array, kept: Uint32Array, size: number): Uint32Array {
  const isKept = new Uint8Array(size);
  for (const place of kept) isKept[place] = 1;
  return all.filter((place) => isKept[place] === 0).sort();
}

interface UserLog {
  readonly userIds: readonly string[];
  /** [users] raw code of each. */
  readonly userCodes: Uint32Array;
  readonly indptr: Uint32Array;
  /** [events] places into the raw events. */
  readonly places: Uint32Array;
  /** [events] raw item codes. */
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
    userCodes: Uint32Array.from(codes),
    indptr,
    places,
    itemCodes: places.map((place) => raw.items[place]!),
    ...(times === undefined ? {} : { timestamps: BigInt64Array.from(places, (place) => times[place]!) }),
  };
}

/** Kinds and weights of the kept events. */
function eventColumns({ behaviours, kinds, weights }: RawEvents, { places }: UserLog) {
  return {
    ...(behaviours === undefined
      ? {}
      : {
          behaviours: recoded(
            places.map((place) => behaviours[place]!),
            kinds,
          ),
        }),
    ...(weights === undefined ? {} : { weights: Float32Array.from(places, (place) => weights[place]!) }),
  };
}

/** Dense ids by descending number of training users, ties by external id; every item of the log is in the catalog. */
function buildCatalog(
  raw: RawEvents,
  log: UserLog,
  split: Split,
  itemFile: ItemFile | undefined,
): {
  readonly catalog: Catalog;
  readonly items: Uint32Array;
  readonly kept: readonly KeptColumn[];
  readonly notes: readonly string[];
} {
  const counts = new Uint32Array(raw.itemIds.length);
  const lastUser = new Int32Array(raw.itemIds.length).fill(-1);
  split.train.users.forEach((user, j) => {
    const start = log.indptr[user]!;
    for (const item of log.itemCodes.subarray(start, start + split.train.ends[j]!)) {
      if (lastUser[item] !== user) counts[item]!++;
      lastUser[item] = user;
    }
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
  const {
    columns,
    kept = [],
    notes = [],
  } = itemFile?.cells.finish(Uint32Array.from([-1, ...codes], (code) => code + 1)) ?? {};
  return {
    catalog: createCatalog([padding, ...items], popularity, columns),
    items: log.itemCodes.map((code) => dense[code]!),
    kept,
    notes,
  };
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
