import type { DuckDBConnection } from "@duckdb/node-api";
import { PrismrecError } from "../../../base/errors.js";
import { literalPath, quoteName } from "../sql.js";
import { type Cells, RowCount, type Table } from "./table.js";

/**
 * Opens a Parquet file: lists, structs and maps come out as JSON, points in time as UTC texts whatever the machine's
 * time zone is. Throws DATA_FORMAT.
 */
export async function openParquet(connection: DuckDBConnection, path: string): Promise<Table> {
  const types = new Map<string, string>();
  try {
    const described = await connection.runAndReadAll("DESCRIBE SELECT * FROM read_parquet($1)", [literalPath(path)]);
    for (const [name, type] of described.getRowsJS()) types.set(String(name), String(type));
  } catch (error) {
    throw readFailure(error, path);
  }
  let count = new RowCount();
  return {
    path,
    format: "parquet",
    columns: [...types.keys()],
    notes: [],
    float32: new Set([...types].flatMap(([name, type]) => (type === "FLOAT" ? [name] : []))),
    malformed: () => count.malformed(),
    rowOf: (ordinal) => count.rowOf(ordinal),
    async *read(columns, signal) {
      count = new RowCount();
      const texts = columns.map((column) => asText(quoteName(column), types.get(column) ?? "VARCHAR"));
      const sql = `SELECT ${texts.join(", ")} FROM read_parquet($1)`;
      for await (const cells of stream(connection, path, sql, signal)) {
        count.deliver(cells[0]?.length ?? 0);
        yield cells;
      }
    },
  };
}

/** A column of a type as SQL that makes text of it. */
function asText(name: string, type: string): string {
  if (/\[\d*\]$|^(?:STRUCT|MAP|UNION)\b/.test(type)) return `to_json(${name})::VARCHAR`;
  // Text that its writer did not mark as such.
  if (type === "BLOB") return `coalesce(try(decode(${name})), ${name}::VARCHAR)`;
  if (type === "TIMESTAMP_NS") {
    // By arithmetic: strftime's %n writes wrong bytes where anything follows it.
    const rest = `((epoch_ns(${name}) % 1000 + 1000) % 1000)`;
    const micros = `make_timestamp((epoch_ns(${name}) - ${rest}) // 1000)`;
    return `strftime(${micros}, '%Y-%m-%dT%H:%M:%S.%f') || lpad(${rest}::VARCHAR, 3, '0') || 'Z'`;
  }
  if (/^TIMESTAMP WITH TIME ZONE|^TIMESTAMPTZ/.test(type)) {
    return `strftime(make_timestamp(epoch_us(${name})), '%Y-%m-%dT%H:%M:%S.%fZ')`;
  }
  if (/^(?:TIMESTAMP|DATE)/.test(type)) return `strftime(${name}::TIMESTAMP, '%Y-%m-%dT%H:%M:%S.%fZ')`;
  return `${name}::VARCHAR`;
}

async function* stream(
  connection: DuckDBConnection,
  path: string,
  sql: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<Cells> {
  try {
    const result = await connection.stream(sql, [literalPath(path)]);
    for (;;) {
      signal?.throwIfAborted();
      const chunk = await result.fetchChunk();
      if (chunk === null || chunk.rowCount === 0) return;
      yield chunk.getColumns().map((column) => column.map((value) => (value === null ? null : String(value))));
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw readFailure(error, path);
  }
}

function readFailure(error: unknown, path: string): PrismrecError {
  if (error instanceof PrismrecError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new PrismrecError("DATA_FORMAT", `${path} cannot be read`, {
    received: message.split("\n", 1)[0] ?? message,
    hint: "The file may be cut short or damaged: write or download it again.",
    cause: error,
  });
}
