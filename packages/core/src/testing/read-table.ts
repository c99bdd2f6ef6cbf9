import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DuckDBConnection } from "@duckdb/node-api";
import { withDuckDb } from "../data/import/tables/duckdb.js";
import { openTable } from "../data/import/tables/open-table.js";
import type { MalformedRows } from "../data/import/tables/table.js";

export interface ReadTable {
  readonly format: string;
  readonly columns: readonly string[];
  readonly rows: (string | null)[][];
  readonly malformed: MalformedRows;
  readonly notes: readonly string[];
  /** Data row of every delivered row. */
  readonly numbers: number[];
}

/** Opens a file and reads all of its columns, or the chosen ones. */
export async function readTableFile(
  connection: DuckDBConnection,
  path: string,
  chosen?: readonly string[],
): Promise<ReadTable> {
  const table = await openTable(connection, path);
  const rows: (string | null)[][] = [];
  for await (const cells of table.read(chosen ?? table.columns)) {
    for (let r = 0; r < (cells[0]?.length ?? 0); r++) rows.push(cells.map((column) => column[r] ?? null));
  }
  const { format, columns, notes } = table;
  const numbers = rows.map((_, place) => table.rowOf(place + 1));
  return { format, columns, rows, malformed: table.malformed(), notes, numbers };
}

export interface TableReader {
  /** Writes `content` to a file of that name and reads it. */
  read(content: string | Uint8Array, name?: string, chosen?: readonly string[]): Promise<ReadTable>;
}

/** Runs `use` with a reader of files in a temporary folder, whose name needs quoting wherever it is used. */
export async function withTableReader<T>(use: (reader: TableReader) => Promise<T>): Promise<T> {
  const dir = await mkdtemp(join(tmpdir(), "prismrec tables [*"));
  try {
    return await withDuckDb((connection) =>
      use({
        async read(content, name = "table.csv", chosen) {
          await writeFile(join(dir, name), content);
          return await readTableFile(connection, join(dir, name), chosen);
        },
      }),
    );
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** `withTableReader` for one file. */
export function readContent(...file: Parameters<TableReader["read"]>): Promise<ReadTable> {
  return withTableReader((reader) => reader.read(...file));
}
