import { writeFileAtomic } from "../../base/atomic-file.js";
import type { RunOptions } from "../../base/run-options.js";
import { chooseColumns, idColumn } from "./columns.js";
import type { Forgotten } from "./forgotten.js";
import type { ImportOptions } from "./import.js";
import { sampleTable } from "./profile.js";
import { withDuckDb } from "./tables/duckdb.js";
import { openTable } from "./tables/open-table.js";
import type { Table } from "./tables/table.js";

/** Characters that are handed on at once. */
const CHUNK = 1 << 16;

/** What became of the rows of a table. */
export interface WithoutUsers {
  readonly kept: number;
  readonly removed: number;
  /** Rows that could not be split into columns: whose they are is not known, so they are not in the copy either. */
  readonly malformed: number;
}

/** A table in which users have rows. */
export type UserTable =
  | { readonly kind: "interactions" }
  /** `userColumn`: what the interactions call the column of its ids. */
  | { readonly kind: "users"; readonly userColumn: string };

type NamedColumns = NonNullable<ImportOptions["columns"]>;

/**
 * Which of some users have a row in a table.
 *
 * @throws PrismrecError FILE_NOT_FOUND, DATA_FORMAT, DATA_EMPTY, IO
 */
export function usersIn(
  source: string,
  table: UserTable,
  named: NamedColumns,
  wanted: ReadonlySet<string>,
  run: RunOptions = {},
): Promise<ReadonlySet<string>> {
  return withDuckDb(async (connection) => {
    const opened = await openTable(connection, source);
    const [user = ""] = await neededColumns(source, opened, table, named, run);
    const found = new Set<string>();
    for await (const [ids = []] of opened.read([user], run.signal, 0)) {
      for (const cell of ids) {
        const id = cell?.trim() ?? "";
        if (wanted.has(id)) found.add(id);
      }
    }
    return found;
  });
}

/**
 * Copies a table of interactions or of users as JSON lines, all cells as text, without the rows of users who are to be
 * forgotten. Imported, the copy gives what the table gives without them.
 *
 * @returns undefined where no row of theirs is in the table: nothing is written then
 * @throws PrismrecError FILE_NOT_FOUND, DATA_FORMAT, DATA_EMPTY, IO, DISK_FULL
 */
export async function writeWithoutUsers(
  source: string,
  target: string,
  table: UserTable,
  named: NamedColumns,
  forgotten: Forgotten,
  run: RunOptions = {},
): Promise<WithoutUsers | undefined> {
  return withDuckDb(async (connection) => {
    const opened = await openTable(connection, source);
    const { columns } = opened;
    const needed = await neededColumns(source, opened, table, named, run);
    const chosen = [...new Set([...needed, ...columns])];
    const isTheirs = (cell: string | null | undefined): boolean => forgotten.has(cell?.trim() ?? "");
    let removed = 0;
    for await (const [ids = []] of opened.read(chosen, run.signal, needed.length))
      removed += ids.filter(isTheirs).length;
    if (removed === 0 && opened.malformed().count === 0) return undefined;
    let kept = 0;
    async function* rows(): AsyncGenerator<string> {
      let text = "";
      for await (const cells of opened.read(chosen, run.signal, needed.length)) {
        const count = cells[0]?.length ?? 0;
        for (let r = 0; r < count; r++) {
          if (isTheirs(cells[0]?.[r])) continue;
          kept++;
          // Cells that are missing are written too: the first record says which columns there are.
          text += `${JSON.stringify(Object.fromEntries(chosen.map((name, c) => [name, cells[c]?.[r] ?? null])))}\n`;
          if (text.length < CHUNK) continue;
          yield text;
          text = "";
        }
      }
      if (text !== "") yield text;
    }
    await writeFileAtomic(target, rows());
    return { kept, removed, malformed: opened.malformed().count };
  });
}

/** What the import needs of a row, the user first: a row that lacks one of these is no use there. */
async function neededColumns(
  source: string,
  opened: Table,
  table: UserTable,
  named: NamedColumns,
  run: RunOptions,
): Promise<string[]> {
  if (table.kind === "users") return [idColumn(source, opened.columns, "user", named.userId, table.userColumn)];
  const { user, item, timestamp } = chooseColumns(source, await sampleTable(opened, run.signal), named);
  return [user, item, ...timestamp];
}
