import { randomBytes } from "node:crypto";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname, extname } from "node:path";
import type { DuckDBConnection } from "@duckdb/node-api";
import { syncFolder } from "../../base/atomic-file.js";
import { PrismrecError } from "../../base/errors.js";
import { fromFileError, systemCode } from "../../base/file-errors.js";
import type { RunOptions } from "../../base/run-options.js";
import { literalPath, quoteName, quoteText } from "./sql.js";
import { withDuckDb } from "./tables/duckdb.js";

/** Types of a column as DuckDB names them. */
export type ColumnType = "VARCHAR" | "BIGINT" | "FLOAT" | "DOUBLE" | "VARCHAR[]" | "FLOAT[]";

export interface TableColumn {
  readonly name: string;
  readonly type: ColumnType;
}

/** A row by column name; null and absent are both nothing. */
export type TableRow = Readonly<Record<string, string | number | null | readonly string[] | readonly number[]>>;

/** Extensions of the tables that `writeTable` can write. */
export const TABLE_EXTENSIONS = [".csv", ".tsv", ".parquet"] as const;

/** Rows that are handed to the disk at once, in characters. */
const CHUNK = 1 << 16;

/**
 * Streams rows into a table file whose extension says what it is: CSV or TSV with a header, lists as JSON text, or Parquet with
 * lists as lists. Only a part of the rows is in memory at a time: they stand in a file beside the table meanwhile,
 * which takes about as much room as JSON lines. The table is there whole or not at all; one that was there before
 * stands until then. Throws INVALID_ARGUMENT for another extension, DISK_FULL or IO, or what the
 * rows reject with.
 */
export async function writeTable(
  path: string,
  columns: readonly TableColumn[],
  rows: AsyncIterable<TableRow> | Iterable<TableRow>,
  options: RunOptions = {},
): Promise<void> {
  const copyOptions = copyOptionsOf(path);
  const temporary = `${path}.${process.pid}-${randomBytes(4).toString("hex")}`;
  const [source, target] = [`${temporary}.jsonl.tmp`, `${temporary}.tmp`];
  try {
    await mkdir(dirname(path), { recursive: true });
    const empty = (await writeRows(source, rows, options.signal)) === 0;
    await withDuckDb((connection) =>
      copy(connection, empty ? undefined : source, target, columns, copyOptions, options),
    );
    const file = await open(target, "r+");
    try {
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(target, path);
  } catch (error) {
    options.signal?.throwIfAborted();
    // What the rows themselves rejected with is not a failure of the file.
    throw systemCode(error) === undefined ? error : fromFileError(error, path, "write");
  } finally {
    // A temporary file that cannot be removed must not hide why the write failed.
    await Promise.allSettled([source, target].map((name) => rm(name, { force: true })));
  }
  await syncFolder(dirname(path));
}

function copyOptionsOf(path: string): string {
  switch (extname(path).toLowerCase()) {
    case ".csv":
      return "FORMAT csv, HEADER";
    case ".tsv":
      return "FORMAT csv, HEADER, DELIMITER '\t'";
    case ".parquet":
      return "FORMAT parquet, COMPRESSION zstd";
    default:
      throw new PrismrecError("INVALID_ARGUMENT", `it is not known what kind of table ${path} is to be`, {
        expected: TABLE_EXTENSIONS.join(", "),
        received: extname(path) || "no extension",
      });
  }
}

/** Writes rows as JSON lines and returns how many there were. */
async function writeRows(
  path: string,
  rows: AsyncIterable<TableRow> | Iterable<TableRow>,
  signal: AbortSignal | undefined,
): Promise<number> {
  const file = await open(path, "wx");
  let count = 0;
  let text = "";
  try {
    for await (const row of rows) {
      text += `${JSON.stringify(row)}\n`;
      count++;
      if (text.length < CHUNK) continue;
      signal?.throwIfAborted();
      await file.writeFile(text);
      text = "";
    }
    await file.writeFile(text);
  } finally {
    await file.close();
  }
  return count;
}

async function copy(
  connection: DuckDBConnection,
  source: string | undefined,
  target: string,
  columns: readonly TableColumn[],
  copyOptions: string,
  { signal }: RunOptions,
): Promise<void> {
  const text = copyOptions.includes("csv");
  const types = columns.map(({ name, type }) => `${quoteText(name)}: '${type}'`).join(", ");
  const chosen = columns.map(({ name, type }) => {
    const quoted = quoteName(name);
    return text && type.endsWith("[]") ? `to_json(${quoted})::VARCHAR AS ${quoted}` : quoted;
  });
  const from =
    source === undefined
      ? `(SELECT ${columns.map(({ name, type }) => `NULL::${type} AS ${quoteName(name)}`).join(", ")} LIMIT 0)`
      : `read_json(${quoteText(literalPath(source))}, format='newline_delimited', maximum_object_size=${1 << 30}, ` +
        `columns={${types}})`;
  const interrupt = (): void => connection.interrupt();
  signal?.addEventListener("abort", interrupt, { once: true });
  try {
    await connection.run(`COPY (SELECT ${chosen.join(", ")} FROM ${from}) TO ${quoteText(target)} (${copyOptions})`);
  } catch (error) {
    throw copyFailure(error, target);
  } finally {
    signal?.removeEventListener("abort", interrupt);
  }
}

/** DuckDB tells of a full disk in its message only. */
function copyFailure(error: unknown, path: string): PrismrecError {
  const full = error instanceof Error && /no space left on device|disk quota exceeded/i.test(error.message);
  return fromFileError(full ? Object.assign(new Error(error.message), { code: "ENOSPC" }) : error, path, "write");
}
