import type { DuckDBConnection } from "@duckdb/node-api";
import { PrismrecError } from "../../base/errors.js";
import type { RunOptions } from "../../base/run-options.js";
import type { DropReason } from "../report.js";
import { CellTable } from "./cells.js";
import { idColumn } from "./columns.js";
import { DropCounter } from "./drops.js";
import type { ImportOptions } from "./import.js";
import { pathsOf } from "./spool-inputs.js";
import { openTable } from "./tables/open-table.js";
import type { Table } from "./tables/table.js";

export interface UserFile {
  /** Every column but the id, for the users of the events: row c + 1 is the user of code c. */
  readonly cells: CellTable;
  /** [users of the events] whether the file has a row of each. */
  readonly found: Uint8Array;
  readonly rowsRead: number;
  readonly format: string;
  readonly userId: string;
  readonly notes: readonly string[];
  readonly warnings: readonly string[];
}

/**
 * Reads the users files; rows without an id, and later rows of a user in one file, go to `drops`. A row of a later file takes
 * the place of the user's in an earlier one, in the columns that the file has.
 *
 * @param userIds ids of the events' users by code: other users are not kept
 */
export async function readUsers(
  connection: DuckDBConnection,
  options: ImportOptions,
  userColumn: string,
  userIds: readonly string[],
  drops: DropCounter,
  run: RunOptions,
): Promise<UserFile | undefined> {
  const files: { readonly table: Table; readonly id: string; readonly further: readonly string[] }[] = [];
  for (const path of pathsOf(options.users)) {
    const table = await openTable(connection, path);
    const id = idColumn(path, table.columns, "user", options.columns?.userId, userColumn);
    files.push({ table, id, further: table.columns.filter((column) => column !== id) });
  }
  const [first] = files;
  if (first === undefined) return undefined;
  const names = [...new Set(files.flatMap(({ further }) => further))];
  const cells = new CellTable(
    names.map((name) => ({ name })),
    userIds.length,
  );
  const codes = new Map(userIds.map((userId, code) => [userId, code]));
  const found = new Uint8Array(userIds.length);
  const notes: string[] = [];
  const warnings: string[] = [];
  let rowsRead = 0;
  for (const { table, id, further } of files) {
    const own = new DropCounter();
    const put = further.map((name) => names.indexOf(name));
    const rows = await readUserFile(table, [id, ...further], options, own, run, (userId, row) => {
      const code = codes.get(userId);
      if (code === undefined) return;
      found[code] = 1;
      for (const [c, place] of put.entries()) cells.put(code + 1, place, row[c] ?? "");
    });
    rowsRead += rows;
    notes.push(...table.notes);
    warnings.push(...own.judge("users", table.path, rows));
    drops.take(own);
  }
  return { cells, found, rowsRead, format: first.table.format, userId: first.id, notes, warnings };
}

/** Hands on each user's cells; the number of rows. */
async function readUserFile(
  table: Table,
  columns: readonly string[],
  { forgotten }: ImportOptions,
  drops: DropCounter,
  run: RunOptions,
  take: (userId: string, cells: readonly string[]) => void,
): Promise<number> {
  const seen = new Set<string>();
  const pending: { readonly reason: DropReason; readonly ordinal: number; readonly text: string }[] = [];
  let ordinal = 0;
  let left = 0;
  for await (const cells of table.read(columns, run.signal, 1)) {
    const rows = cells[0]?.length ?? 0;
    for (let r = 0; r < rows; r++) {
      ordinal++;
      const userId = cells[0]?.[r]?.trim() ?? "";
      if (userId !== "" && forgotten?.has(userId) === true) {
        left++;
        continue;
      }
      if (userId === "" || seen.has(userId)) {
        pending.push({ reason: userId === "" ? "missing-user" : "duplicate-user", ordinal, text: userId });
        continue;
      }
      seen.add(userId);
      take(
        userId,
        cells.slice(1).map((column) => column[r]?.trim() ?? ""),
      );
    }
  }
  const malformed = table.malformed();
  drops.addCounted("users", "malformed", malformed.count, malformed.examples);
  drops.addCounted("users", "forgotten", left, []);
  for (const { reason, ordinal: at, text } of pending) drops.add("users", reason, table.rowOf(at), text);
  if (seen.size === 0 && left === 0) {
    throw new PrismrecError("DATA_EMPTY", `${table.path} holds no users`, {
      expected: "rows with a user id",
      received: `${ordinal} rows without one`,
    });
  }
  return ordinal + malformed.count;
}
