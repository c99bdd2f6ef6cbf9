import { constants, existsSync } from "node:fs";
import { copyFile, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, extname, join, sep } from "node:path";
import { fromFileError, sha256File, syncFolder, systemCode, writeJsonAtomic } from "@prismrec/core/base";
import { Forgotten, type ImportOptions, pathsOf, writeWithoutUsers } from "@prismrec/core/data/import";
import { z } from "zod";
import { readDocument } from "./read-document.js";
import { inputsOf } from "./run-directory/run-directory.js";

/** The tables that a run is made from, each in one file or several. */
export const TABLES = ["interactions", "items", "users"] as const;
export type TableName = (typeof TABLES)[number];

/** A copy lies in a folder that is named by the content that it was taken from: the same file twice is one input. */
const COPY = /^[0-9a-f]{16}$/;
const LETTERS = 16;
const FORGOTTEN = "forgotten.json";

const forgottenSchema = z.object({ salt: z.string().min(32), users: z.array(z.string()) });

/** The users whom a run is not to know any more. Throws RUN_INVALID where the list is damaged: nobody must come back by that. */
export async function readForgotten(dir: string): Promise<Forgotten | undefined> {
  const path = join(dir, FORGOTTEN);
  if (!existsSync(path)) return undefined;
  const hint = "It says who is to be left out: put it back from a copy, or make the run anew.";
  const { salt, users } = await readDocument(path, forgottenSchema, hint);
  return new Forgotten(salt, users);
}

export async function writeForgotten(dir: string, forgotten: Forgotten): Promise<void> {
  const { salt, hashes } = forgotten;
  await writeJsonAtomic(join(dir, FORGOTTEN), { salt, users: hashes } satisfies z.infer<typeof forgottenSchema>);
}

/** Whether a file lies among the inputs that a run keeps. */
export function isKept(dir: string, path: string): boolean {
  return path.startsWith(`${inputsOf(dir)}${sep}`);
}

/** The copy of a content that a run keeps, undefined where it keeps none. */
export async function keptCopy(dir: string, sha256: string): Promise<string | undefined> {
  const folder = folderOf(dir, sha256);
  const [name] = (await entriesOf(folder)).filter((entry) => !entry.endsWith(".tmp"));
  return name === undefined ? undefined : join(folder, name);
}

/** Where the copy of a kept file lies, or would lie. */
export async function folderOfInput(dir: string, path: string, signal?: AbortSignal): Promise<string> {
  const folder = dirname(path);
  return COPY.test(basename(folder)) ? folder : folderOf(dir, await sha256File(path, signal));
}

function folderOf(dir: string, sha256: string): string {
  return join(inputsOf(dir), sha256.slice(0, LETTERS));
}

async function entriesOf(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return [];
    throw fromFileError(error, folder, "read");
  }
}

/** How the columns of a run's tables are found. */
export interface TableColumns {
  readonly named: NonNullable<ImportOptions["columns"]>;
  /** What the interactions call the user's id. */
  readonly userColumn: string;
}

/**
 * Takes a file in among a run's inputs, without the rows of those who are to be forgotten, and gives the copy. One that lies
 * there already is left as it is.
 *
 * @throws PrismrecError FILE_NOT_FOUND, IO, DISK_FULL, DATA_FORMAT
 */
export async function takeIn(
  dir: string,
  path: string,
  table: TableName,
  columns: TableColumns,
  forgotten: Forgotten | undefined,
  signal?: AbortSignal,
): Promise<string> {
  if (isKept(dir, path)) return path;
  const sha256 = await sha256File(path, signal);
  const known = await keptCopy(dir, sha256);
  if (known !== undefined) return known;
  const folder = folderOf(dir, sha256);
  if (forgotten !== undefined && table !== "items") {
    const copy = join(folder, `${stemOf(path)}.jsonl`);
    if ((await withoutForgotten(path, copy, table, columns, forgotten, signal)) !== undefined) return copy;
  }
  const target = join(folder, basename(path));
  const partial = `${target}.tmp`;
  try {
    await mkdir(folder, { recursive: true });
    // Where the disk can, the copy takes no room.
    await copyFile(path, partial, constants.COPYFILE_FICLONE);
    await using copy = await open(partial, "r");
    await copy.sync();
    await rename(partial, target);
    await syncFolder(folder);
  } catch (error) {
    await rm(partial, { force: true });
    throw fromFileError(error, target, "write");
  }
  return target;
}

/** The name of a table file without what says its form. */
export function stemOf(path: string): string {
  const name = basename(path).replace(/\.gz$/i, "");
  return basename(name, extname(name));
}

/** `writeWithoutUsers` for a table of a run. */
export function withoutForgotten(
  source: string,
  target: string,
  table: Exclude<TableName, "items">,
  { named, userColumn }: TableColumns,
  forgotten: Forgotten,
  signal?: AbortSignal,
): ReturnType<typeof writeWithoutUsers> {
  const kind = table === "users" ? ({ kind: "users", userColumn } as const) : ({ kind: "interactions" } as const);
  return writeWithoutUsers(source, target, kind, named, forgotten, signal === undefined ? {} : { signal });
}

/** Removes the inputs that nobody needs any more; `all`: those too that were written there and not copied. */
export async function dropInputs(dir: string, needed: Iterable<string>, { all = false } = {}): Promise<void> {
  const keep = new Set(needed);
  try {
    for (const name of await entriesOf(inputsOf(dir))) {
      const entry = join(inputsOf(dir), name);
      if (!COPY.test(name)) {
        if (all && !keep.has(entry)) await rm(entry, { recursive: true, force: true });
        continue;
      }
      const files = await entriesOf(entry);
      const left = files.filter((file) => keep.has(join(entry, file)));
      if (left.length === 0) await rm(entry, { recursive: true, force: true });
      else for (const file of files) if (!left.includes(file)) await rm(join(entry, file), { force: true });
    }
  } catch (error) {
    throw fromFileError(error, inputsOf(dir), "write");
  }
}

/** The files that settings name for each table. */
export function tablesOf(settings: Readonly<Record<string, unknown>>): Record<TableName, readonly string[]> {
  const files = (table: TableName): readonly string[] =>
    [settings[table] ?? []].flat().filter((path): path is string => typeof path === "string");
  return { interactions: files("interactions"), items: files("items"), users: files("users") };
}

/** The settings of `tablesOf`: one file by itself, several as a list, none left out. */
export function tableSettings(tables: Readonly<Record<TableName, readonly string[]>>): Record<string, unknown> {
  return Object.fromEntries(
    TABLES.flatMap((table) => {
      const [first, ...others] = tables[table];
      return first === undefined ? [] : [[table, others.length === 0 ? first : [first, ...others]]];
    }),
  );
}

/** Copies the tables of an import among the run's inputs, so that they are there when more comes. */
export async function keepInputs(
  dir: string,
  options: ImportOptions,
  columns: TableColumns,
  signal?: AbortSignal,
): Promise<string[]> {
  const kept: string[] = [];
  for (const table of TABLES) {
    for (const path of pathsOf(options[table])) {
      kept.push(await takeIn(dir, path, table, columns, options.forgotten, signal));
    }
  }
  return kept;
}

export async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch (error) {
    if (systemCode(error) === "ENOENT") return false;
    throw fromFileError(error, path, "read");
  }
}
