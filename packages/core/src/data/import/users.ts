import type { DuckDBConnection } from "@duckdb/node-api";
import { PrismrecError } from "../../base/errors.js";
import type { RunOptions } from "../../base/run-options.js";
import type { DropReason } from "../report.js";
import { CellTable } from "./cells.js";
import { idColumn } from "./columns.js";
import type { DropCounter } from "./drops.js";
import type { ImportOptions } from "./import.js";
import { openTable } from "./tables/open-table.js";

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
 * Reads a users file; rows without an id, and later rows of a user, go to `drops`.
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
  const path = options.users;
  if (path === undefined) return undefined;
  const table = await openTable(connection, path);
  const id = idColumn(path, table.columns, "user", options.columns?.userId, userColumn);
  const further = table.columns.filter((column) => column !== id);
  const cellTable = new CellTable(
    further.map((name) => ({ name })),
    userIds.length,
  );
  const codes = new Map(userIds.map((userId, code) => [userId, code]));
  const found = new Uint8Array(userIds.length);
  const seen = new Set<string>();
  const pending: { readonly reason: DropReason; readonly ordinal: number; readonly text: string }[] = [];
  let ordinal = 0;
  for await (const cells of table.read([id, ...further], run.signal, 1)) {
    const rows = cells[0]?.length ?? 0;
    for (let r = 0; r < rows; r++) {
      ordinal++;
      const userId = cells[0]?.[r]?.trim() ?? "";
      if (userId === "" || seen.has(userId)) {
        pending.push({ reason: userId === "" ? "missing-user" : "duplicate-user", ordinal, text: userId });
        continue;
      }
      seen.add(userId);
      const code = codes.get(userId);
      if (code === undefined) continue;
      found[code] = 1;
      for (let c = 0; c < further.length; c++) cellTable.put(code + 1, c, cells[c + 1]?.[r]?.trim() ?? "");
    }
  }
  const malformed = table.malformed();
  drops.addCounted("users", "malformed", malformed.count, malformed.examples);
  for (const { reason, ordinal: at, text } of pending) drops.add("users", reason, table.rowOf(at), text);
  const rowsRead = ordinal + malformed.count;
  if (seen.size === 0) {
    throw new PrismrecError("DATA_EMPTY", `${path} holds no users`, {
      expected: "rows with a user id",
      received: `${ordinal} rows without one`,
    });
  }
  return {
    cells: cellTable,
    found,
    rowsRead,
    format: table.format,
    userId: id,
    notes: table.notes,
    warnings: drops.judge("users", path, rowsRead),
  };
}
