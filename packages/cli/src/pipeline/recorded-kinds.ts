import { PrismrecError } from "@prismrec/core/base";
import { openTable, type Table, withDuckDb } from "@prismrec/core/data/import";

type Connection = Parameters<typeof openTable>[0];

/** Whether there is such a table as `readRecordedKinds` reads. Throws FILE_NOT_FOUND, DATA_FORMAT. */
export async function checkRecordedKinds(path: string): Promise<void> {
  await withDuckDb((connection) => openKinds(connection, path));
}

/** Reads a table with the columns id and kind, what a language model said of items before: kinds by external id. */
export async function readRecordedKinds(path: string, signal: AbortSignal): Promise<Map<string, string>> {
  return withDuckDb(async (connection) => {
    const table = await openKinds(connection, path);
    const kinds = new Map<string, string>();
    for await (const [ids = [], texts = []] of table.read(["id", "kind"], signal, 1)) {
      ids.forEach((id, r) => {
        if (id !== null) kinds.set(id.trim(), texts[r]?.trim() ?? "");
      });
    }
    return kinds;
  });
}

async function openKinds(connection: Connection, path: string): Promise<Table> {
  const table = await openTable(connection, path);
  for (const column of ["id", "kind"]) {
    if (table.columns.includes(column)) continue;
    throw new PrismrecError("DATA_FORMAT", `${path} has no column ${column}`, {
      expected: "columns id and kind",
      received: table.columns.join(", ").slice(0, 200),
    });
  }
  return table;
}
