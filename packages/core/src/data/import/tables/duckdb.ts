import type { DuckDBConnection } from "@duckdb/node-api";
import { threadBudget } from "../../../base/threads.js";

/** Runs `use` with a private in-memory DuckDB that reaches no network and keeps to the thread budget. */
export async function withDuckDb<T>(use: (connection: DuckDBConnection) => Promise<T>): Promise<T> {
  // Loaded when a table is to be read or written: importing this module costs nothing.
  const { DuckDBInstance } = await import("@duckdb/node-api");
  const instance = await DuckDBInstance.create(":memory:", {
    threads: String(threadBudget()),
    autoinstall_known_extensions: "false",
    autoload_known_extensions: "false",
  });
  try {
    const connection = await instance.connect();
    try {
      return await use(connection);
    } finally {
      connection.closeSync();
    }
  } finally {
    instance.closeSync();
  }
}
