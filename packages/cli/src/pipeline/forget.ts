import { createReadStream, existsSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { fromFileError, PrismrecError, systemCode, writeJsonAtomic } from "@prismrec/core/base";
import type { Dataset } from "@prismrec/core/data";
import { Forgotten, openTable, usersIn, withDuckDb } from "@prismrec/core/data/import";
import { clustererNamed } from "@prismrec/llm";
import { CONFIG_FILE } from "../config/load.js";
import { ABOUT_HISTORIES } from "./answers.js";
import type { OnEvent } from "./events.js";
import {
  dropInputs,
  folderOfInput,
  readForgotten,
  stemOf,
  TABLES,
  type TableColumns,
  type TableName,
  tableSettings,
  withoutForgotten,
  writeForgotten,
} from "./inputs.js";
import { dropFormer, dropTuned, readParts, writeParts } from "./lineage.js";
import { openRun, type Run, type StageResult } from "./run.js";
import { RunDirectory } from "./run-directory/run-directory.js";
import { MARKER } from "./run-directory/run-format.js";
import { settingsToKeep, storedSettings } from "./settings-file.js";
import { columnsOf, handOnAsked, keptInputs, requireRun, trainingStages } from "./update.js";

export interface ForgetOptions {
  readonly signal?: AbortSignal;
  readonly onEvent?: OnEvent;
  /** false: what was made of the users' rows is only removed. */
  readonly remake?: boolean;
}

export interface ForgetResult {
  readonly run: string;
  /** How many users were asked to be forgotten. */
  readonly users: number;
  /** Rows of theirs that were removed from the inputs. */
  readonly rows: number;
  /** What was removed from the run directory, relative to it. */
  readonly removed: readonly string[];
  /** Files of others in the run directory that may name a user, and were left as they are. */
  readonly suspect: readonly string[];
  /** What was made again. */
  readonly stages: readonly StageResult[];
}

type Tables = Readonly<Record<TableName, readonly string[]>>;

/** What a run is made again from; everything else in its directory was made of the users' rows, or is nobody's. */
const KEPT = new Set([MARKER, CONFIG_FILE, "forgotten.json", "inputs", "cache", "lineage", ".lock"]);
const TABLE = /\.(?:csv|tsv|jsonl|ndjson|json|parquet)(?:\.gz)?$/i;

/**
 * Removes users from a run directory: their rows from its inputs, and all that was made with these rows, which is then made
 * again without them, models included (nothing goes on from what was learned). What stays of them is a salted hash, which
 * keeps them out when a later log brings them back. A call that was interrupted goes on when it is made again.
 *
 * @throws PrismrecError UNKNOWN_USER where the run knows one of them not, RUN_INVALID where there is no run or its inputs are
 *   gone, DATA_EMPTY where nobody would be left; nothing has changed then. What the stages throw: the users are gone then
 */
export async function forgetUsers(
  dir: string,
  users: readonly string[],
  options: ForgetOptions = {},
): Promise<ForgetResult> {
  const { remake = true, ...surroundings } = options;
  if (users.length === 0) throw new PrismrecError("INVALID_ARGUMENT", "name at least one user to forget");
  await requireRun(dir);
  await using directory = await RunDirectory.open(dir);
  const { path } = directory;
  let erased: Omit<ForgetResult, "stages">;
  let reported: boolean;
  {
    await using run = await openRun(path, undefined, { ...surroundings, directory, readOnly: true });
    reported = (await run.manifest("report")) !== undefined || (await run.manifest("import")) === undefined;
    erased = await erase(run, users, options);
  }
  if (!remake) return { ...erased, stages: [] };
  await using run = await openRun(path, undefined, { ...surroundings, directory });
  return { ...erased, stages: await run.run(reported ? {} : { to: "index" }) };
}

async function erase(
  run: Run,
  users: readonly string[],
  options: ForgetOptions,
): Promise<Omit<ForgetResult, "stages">> {
  const { signal, onEvent } = options;
  const { directory } = run;
  const { path } = directory;
  const settings = await storedSettings(path);
  const before = await readForgotten(path);
  const imported = await run.find("import");
  const inputs = await keptInputs(run, settings, signal);
  const columns = await columnsOf(run);
  const ids = users.map((id) => id.trim());
  await requireKnown(ids, inputs, columns, imported?.dataset, before, signal);
  const forgotten = (before ?? Forgotten.empty()).with(ids);
  if (imported?.dataset.log.userIds.every((id) => forgotten.has(id)) === true) {
    throw new PrismrecError("DATA_EMPTY", "a run has to know somebody, and nobody would be left", {
      expected: "users beside those that are to be forgotten",
      received: `${imported.dataset.log.userCount} users, all of them`,
      hint: "Remove the run directory.",
    });
  }
  if (directory.hasBeside) {
    onEvent?.({ type: "warning", text: "an update that was interrupted is given up: give its files again" });
  }
  // From here on the users stay out, whatever happens: each step may be done again.
  await writeForgotten(path, forgotten);
  const known = await readParts(directory, run.settings);
  if (imported !== undefined) {
    await writeParts(directory, run.settings, imported.dataset, known?.parts, (id) => forgotten.has(id));
  }
  if (imported !== undefined) await handOnAsked(run, directory);
  await dropFormer(
    directory,
    trainingStages(run).map(({ name }) => name),
  );
  await dropTuned(directory);
  const { tables, rows } = await withoutRows(path, inputs, columns, forgotten, signal);
  const former = [settings.splitFile, settings.truth, ...TABLES.flatMap((table) => settings[table])].filter(
    (value): value is string => typeof value === "string",
  );
  const kept = {
    ...settings,
    ...Object.fromEntries(TABLES.map((table) => [table, undefined])),
    ...tableSettings(tables),
  };
  await writeJsonAtomic(join(path, CONFIG_FILE), settingsToKeep(kept, path));
  await dropInputs(path, Object.values(tables).flat(), { all: true });
  const removed = [...(await removeMade(path)), ...(await removeAnswers(run))];
  const others = await removeOthers(path, ids, new Set(former), signal);
  for (const file of others.suspect) {
    onEvent?.({
      type: "warning",
      text: `${file} in the run directory may name a user: it is none of the run's files, and stays`,
    });
  }
  if (typeof settings.llmCache === "string") {
    onEvent?.({
      type: "warning",
      text: `answers of the language model in ${settings.llmCache} are kept outside of the run: they stay`,
    });
  }
  return { run: path, users: ids.length, rows, removed: [...removed, ...others.removed], suspect: others.suspect };
}

/** UNKNOWN_USER unless each is in the dataset, in the inputs, or was forgotten before. */
async function requireKnown(
  ids: readonly string[],
  inputs: Tables,
  columns: TableColumns,
  dataset: Dataset | undefined,
  before: Forgotten | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  const open = new Set(ids.filter((id) => dataset?.log.indexOf(id) === undefined && before?.has(id) !== true));
  for (const table of ["interactions", "users"] as const) {
    for (const file of inputs[table]) {
      if (open.size === 0) return;
      const kind =
        table === "users" ? ({ kind: "users", userColumn: columns.userColumn } as const) : ({ kind: table } as const);
      const found = await usersIn(file, kind, columns.named, open, signal === undefined ? {} : { signal });
      for (const id of found) open.delete(id);
    }
  }
  const [unknown] = open;
  if (unknown === undefined) return;
  throw new PrismrecError("UNKNOWN_USER", `this run knows no user ${unknown}`, {
    expected: "ids of users in the run's interactions or users",
    received: [...open].slice(0, 5).join(", "),
    hint: "Nobody was forgotten. Ids are compared as texts: 7 and 07 are two users.",
  });
}

/** The inputs without the rows of those who are to be forgotten, each in a file of its own where it held any. */
async function withoutRows(
  dir: string,
  inputs: Tables,
  columns: TableColumns,
  forgotten: Forgotten,
  signal: AbortSignal | undefined,
): Promise<{ readonly tables: Tables; readonly rows: number }> {
  const tables: Record<TableName, string[]> = { interactions: [], items: [...inputs.items], users: [] };
  let rows = 0;
  for (const table of ["interactions", "users"] as const) {
    for (const file of inputs[table]) {
      const copy = join(await folderOfInput(dir, file, signal), `${stemOf(file)}.jsonl`);
      const left = await withoutForgotten(file, copy, table, columns, forgotten, signal);
      rows += left?.removed ?? 0;
      if (left === undefined) tables[table].push(file);
      else if (left.kept > 0) tables[table].push(copy);
    }
  }
  return { tables, rows };
}

/** Removes what stages have left, finished, begun or set aside; what it was, by name. */
async function removeMade(dir: string): Promise<string[]> {
  const removed: string[] = [];
  try {
    for (const entry of await readdir(dir)) {
      if (KEPT.has(entry) || entry.startsWith(".lock")) continue;
      const path = join(dir, entry);
      const isMade = existsSync(join(path, "manifest.json")) || /^\.(?:update|.+\.(?:old|partial))$/.test(entry);
      if (!isMade) continue;
      await rm(path, { recursive: true, force: true });
      removed.push(entry);
    }
  } catch (error) {
    throw fromFileError(error, dir, "write");
  }
  return removed;
}

/** Removes the answers of a language model about histories: which of them were a user's cannot be told from their keys. */
async function removeAnswers(run: Run): Promise<string[]> {
  const folder = join(run.directory.path, "cache", "llm");
  const { clusterer: name } = run.settings;
  const clusterer = name === undefined ? undefined : clustererNamed(name);
  // Before answers about histories were kept apart they stood among the others.
  const all = clusterer?.needs === "model" && clusterer.asksAbout !== "items";
  const names = await readdir(folder).catch((error: unknown) => {
    if (systemCode(error) === "ENOENT") return [];
    throw fromFileError(error, folder, "read");
  });
  const removed = names.filter((name) => all || name.includes(ABOUT_HISTORIES));
  for (const name of removed) await rm(join(folder, name), { force: true });
  return removed.map((name) => join("cache", "llm", name));
}

/**
 * Of the files that others have put into a run directory: tables with a cell that is one of the ids are copies of what the run
 * said, and go; the user's own inputs, and files that hold an id as a word, are named.
 */
async function removeOthers(
  dir: string,
  ids: readonly string[],
  own: ReadonlySet<string>,
  signal: AbortSignal | undefined,
): Promise<{ readonly removed: readonly string[]; readonly suspect: readonly string[] }> {
  const wanted = new Set(ids);
  const removed: string[] = [];
  const suspect: string[] = [];
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const name = path.slice(dir.length + 1);
    const [top = ""] = name.split(/[\\/]/);
    if (KEPT.has(top) || top.startsWith(".lock")) continue;
    signal?.throwIfAborted();
    if (TABLE.test(name) && (await hasCell(path, wanted, signal))) {
      if (own.has(path)) suspect.push(name);
      else {
        await rm(path, { force: true });
        removed.push(name);
      }
    } else if (await holdsWord(path, ids)) suspect.push(name);
  }
  return { removed, suspect };
}

const IN_WORD = /[\p{L}\p{N}_-]/u;

/** Whether a file holds one of the ids as a word of its own. */
async function holdsWord(path: string, ids: readonly string[]): Promise<boolean> {
  const longest = Math.max(...ids.map(({ length }) => length));
  let text = "";
  const isIn = (isEnd: boolean): boolean =>
    ids.some((id) => {
      for (let at = text.indexOf(id); at >= 0; at = text.indexOf(id, at + 1)) {
        const [before = "", after] = [text[at - 1], text[at + id.length]];
        // What stands behind it may still come.
        if (after === undefined && !isEnd) return false;
        if (!IN_WORD.test(before) && !IN_WORD.test(after ?? "")) return true;
      }
      return false;
    });
  for await (const chunk of createReadStream(path, { encoding: "utf8" })) {
    text += String(chunk);
    if (isIn(false)) return true;
    text = text.slice(-longest - 1);
  }
  return isIn(true);
}

async function hasCell(path: string, wanted: ReadonlySet<string>, signal: AbortSignal | undefined): Promise<boolean> {
  try {
    return await withDuckDb(async (connection) => {
      const table = await openTable(connection, path);
      for await (const cells of table.read(table.columns, signal, 0)) {
        if (cells.some((column) => column.some((cell) => wanted.has(cell?.trim() ?? "")))) return true;
      }
      return false;
    });
  } catch (error) {
    // What is called like a table and is none is looked through as it is.
    if (error instanceof PrismrecError) return false;
    throw error;
  }
}
