import type { DuckDBConnection } from "@duckdb/node-api";
import { PrismrecError } from "../../base/errors.js";
import type { SplitPart } from "../split.js";
import { requireColumn } from "./columns.js";
import { openTable } from "./tables/open-table.js";

const PARTS: ReadonlyMap<string, SplitPart> = new Map([
  ["train", "train"],
  ["valid", "valid"],
  ["validation", "valid"],
  ["test", "test"],
]);

/** Part of each user by a split file; SPLIT_INVALID where a row does not say so. */
export async function readAssignment(
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
      const id = textOf(users[r]);
      const part = PARTS.get(textOf(parts[r]).toLowerCase());
      const earlier = assignment.get(id);
      if (id !== "" && part !== undefined && (earlier === undefined || earlier === part)) {
        assignment.set(id, part);
        continue;
      }
      throw new PrismrecError("SPLIT_INVALID", `row ${row} of ${path} does not assign a user to one part`, {
        expected: "a user id that no other part has, and train, valid or test",
        received: `user "${id}", part "${textOf(parts[r])}"${earlier === undefined ? "" : `, earlier "${earlier}"`}`,
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

function textOf(cell: string | null | undefined): string {
  return cell?.trim() ?? "";
}
