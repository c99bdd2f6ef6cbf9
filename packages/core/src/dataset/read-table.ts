import { open, stat } from "node:fs/promises";
import { extname } from "node:path";
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import { PrismrecError } from "../errors/errors.js";
import { fromFileError } from "../runtime/file-errors.js";
import { threadBudget } from "../runtime/threads.js";
import { literalPath, quoteName, quoteText } from "./sql.js";

export type TableFormat = "csv" | "tsv" | "jsonl" | "parquet";

/** A row that could not be split into its columns. */
export interface MalformedRow {
  /** 1-based data row. */
  readonly row: number;
  readonly text: string;
}

/** A table file whose header has been read: every cell comes out as text, in file order. */
export interface Table {
  readonly path: string;
  readonly format: TableFormat;
  readonly columns: readonly string[];
  /**
   * Streams the chosen columns in chunks; `cells[c][r]` is null where the file holds nothing. Rows that cannot be
   * split into columns are skipped; `malformed()` names them once the stream has ended.
   */
  read(columns: readonly string[], signal?: AbortSignal): AsyncIterable<readonly (readonly (string | null)[])[]>;
  malformed(): readonly MalformedRow[];
}

/** Runs `use` with a private in-memory DuckDB that reaches no network and keeps to the thread budget. */
export async function withDuckDb<T>(use: (connection: DuckDBConnection) => Promise<T>): Promise<T> {
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

/**
 * Opens a CSV, TSV, JSONL or Parquet file: the format comes from its bytes and its extension, the columns from its
 * header, its first records or its schema. Throws FILE_NOT_FOUND, DATA_EMPTY or DATA_FORMAT.
 */
export async function openTable(connection: DuckDBConnection, path: string): Promise<Table> {
  const head = await readHead(path);
  switch (sniffFormat(path, head)) {
    case "parquet":
      return await openParquet(connection, path);
    case "jsonl":
      return openJsonLines(connection, path, head);
    case "csv":
      return openDelimited(connection, path, head, "csv");
    case "tsv":
      return openDelimited(connection, path, head, "tsv");
  }
}

const HEAD_BYTES = 1 << 18;

interface Head {
  readonly bytes: Buffer;
  readonly size: number;
}

async function readHead(path: string): Promise<Head> {
  try {
    const { size } = await stat(path);
    const file = await open(path, "r");
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(Math.min(size, HEAD_BYTES)), 0);
      return { bytes: buffer.subarray(0, bytesRead), size };
    } finally {
      await file.close();
    }
  } catch (error) {
    throw fromFileError(error, path, "read");
  }
}

function sniffFormat(path: string, { bytes, size }: Head): TableFormat {
  if (size === 0) throw empty(path, "the file has no bytes");
  const extension = extname(path).toLowerCase();
  if (bytes.subarray(0, 4).toString("latin1") === "PAR1" || extension === ".parquet") return "parquet";
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) {
    throw new PrismrecError("DATA_FORMAT", `${path} is compressed`, {
      expected: "CSV, TSV, JSONL or Parquet",
      received: "gzip",
      hint: `Unpack it first: gunzip -k ${path}`,
    });
  }
  if (bytes.includes(0)) {
    throw new PrismrecError("DATA_FORMAT", `${path} is not a text table`, {
      expected: "CSV, TSV, JSONL (UTF-8) or Parquet",
      received: `binary data (a NUL byte at ${bytes.indexOf(0)})`,
    });
  }
  if (extension === ".jsonl" || extension === ".ndjson") return "jsonl";
  if (extension === ".tsv" || extension === ".tab") return "tsv";
  if (extension !== ".csv" && headText({ bytes, size }).trimStart().startsWith("{")) return "jsonl";
  return "csv";
}

function headText({ bytes }: Head): string {
  return bytes.toString("utf8").replace(/^\uFEFF/, "");
}

function empty(path: string, received: string): PrismrecError {
  return new PrismrecError("DATA_EMPTY", `${path} holds no rows`, {
    expected: "a header and at least one row",
    received,
  });
}

const allVarchar = (columns: readonly string[]): string =>
  `{${columns.map((column) => `${quoteText(column)}: 'VARCHAR'`).join(", ")}}`;

async function* stream(
  connection: DuckDBConnection,
  path: string,
  sql: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<(string | null)[][]> {
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

async function openParquet(connection: DuckDBConnection, path: string): Promise<Table> {
  const types = new Map<string, string>();
  try {
    const described = await connection.runAndReadAll("DESCRIBE SELECT * FROM read_parquet($1)", [literalPath(path)]);
    for (const [name, type] of described.getRowsJS()) types.set(String(name), String(type));
  } catch (error) {
    throw readFailure(error, path);
  }
  const asText = (column: string): string => {
    const name = quoteName(column);
    const type = types.get(column) ?? "VARCHAR";
    if (type.endsWith("[]")) return `array_to_string(${name}, '|')`;
    if (/^(TIMESTAMP|DATE)/.test(type)) return `strftime(${name}::TIMESTAMP, '%Y-%m-%dT%H:%M:%S.%fZ')`;
    return `${name}::VARCHAR`;
  };
  return {
    path,
    format: "parquet",
    columns: [...types.keys()],
    malformed: () => [],
    read(columns, signal) {
      const narrow = columns.find((column) => types.get(column) === "FLOAT" && /time|ts|date/i.test(column));
      if (narrow !== undefined) {
        throw new PrismrecError("DATA_FORMAT", `${path}: the time column "${narrow}" is 32-bit floating point`, {
          expected: "64-bit integers, timestamps or text",
          received: "FLOAT, which rounds today's Unix seconds to steps of 128 and so loses the order of events",
          hint: "Write the column as int64 from the original data.",
        });
      }
      const sql = `SELECT ${columns.map(asText).join(", ")} FROM read_parquet($1)`;
      return stream(connection, path, sql, signal);
    },
  };
}

function openJsonLines(connection: DuckDBConnection, path: string, head: Head): Table {
  const lines = headText(head).split("\n");
  if (head.size > head.bytes.length) lines.pop();
  const keys = new Set<string>();
  let received = "no line with a JSON object";
  for (const line of lines.slice(0, 1000)) {
    if (line.trim() === "") continue;
    try {
      const record: unknown = JSON.parse(line);
      if (record !== null && typeof record === "object" && !Array.isArray(record)) {
        for (const key of Object.keys(record)) keys.add(key);
      }
    } catch (error) {
      received = error instanceof Error ? error.message : String(error);
    }
  }
  if (keys.size === 0) {
    throw new PrismrecError("DATA_FORMAT", `${path} is not JSON lines`, {
      expected: 'one object a line, e.g. {"user": "u1", "item": "i1", "timestamp": 1700000000}',
      received,
    });
  }
  const malformed: MalformedRow[] = [];
  return {
    path,
    format: "jsonl",
    columns: [...keys],
    malformed: () => malformed,
    read: (columns, signal) => {
      const source = `read_json($1, format='newline_delimited', ignore_errors=true, columns=${allVarchar(columns)})`;
      return stream(connection, path, `SELECT * FROM ${source}`, signal);
    },
  };
}

function openDelimited(connection: DuckDBConnection, path: string, head: Head, format: "csv" | "tsv"): Table {
  const text = headText(head);
  const line = text.split(/\r?\n/, 1)[0] ?? "";
  if (line.trim() === "") throw empty(path, "an empty first line");
  const delimiter = format === "tsv" ? "\t" : sniffDelimiter(line);
  const columns = splitHeader(line, delimiter);
  const repeated = columns.find((column, place) => columns.indexOf(column) !== place);
  if (repeated !== undefined) {
    throw new PrismrecError("DATA_FORMAT", `${path} has two columns of one name`, { received: `"${repeated}" twice` });
  }
  const rejects = `rejects_${nextRejectsTable++}`;
  const malformed: MalformedRow[] = [];
  const source = [
    "read_csv($1",
    "auto_detect=false",
    "header=true",
    `delim=${quoteText(delimiter)}`,
    `quote='"'`,
    `escape='"'`,
    "max_line_size=10000000",
    `columns=${allVarchar(columns)}`,
    "ignore_errors=true",
    "store_rejects=true",
    "rejects_limit=0",
    `rejects_table='${rejects}'`,
    `rejects_scan='${rejects}_scan')`,
  ].join(", ");
  return {
    path,
    format: delimiter === "\t" ? "tsv" : "csv",
    columns,
    malformed: () => malformed,
    async *read(chosen, signal) {
      yield* stream(connection, path, `SELECT ${chosen.map(quoteName).join(", ")} FROM ${source}`, signal);
      const reader = await connection.runAndReadAll(
        `SELECT line, any_value(csv_line), any_value(error_type::VARCHAR) FROM ${rejects} GROUP BY line ORDER BY line`,
      );
      for (const [fileLine, content, type] of reader.getRowsJS()) {
        const row = Number(fileLine) - 1;
        if (type === "UNQUOTED VALUE") {
          throw new PrismrecError("DATA_FORMAT", `${path}: a quote is opened and never closed`, {
            received: `row ${row}: ${String(content).trim().slice(0, 80)}`,
            hint: 'Write a quote inside a value twice ("") and put quotes around the whole value.',
          });
        }
        malformed.push({ row, text: String(content).trim().slice(0, 80) });
      }
    },
  };
}

let nextRejectsTable = 0;

function sniffDelimiter(header: string): string {
  const bare = header.replace(/"(?:[^"]|"")*"/g, "");
  const count = (delimiter: string): number => bare.split(delimiter).length;
  return ["\t", ",", ";", "|"].reduce((best, next) => (count(next) > count(best) ? next : best), ",");
}

function splitHeader(header: string, delimiter: string): string[] {
  const cells: string[] = [];
  let cell = "";
  let quoted = false;
  for (let i = 0; i < header.length; i++) {
    const character = header[i];
    if (quoted && character === '"' && header[i + 1] === '"') {
      cell += '"';
      i++;
    } else if (character === '"') quoted = !quoted;
    else if (character === delimiter && !quoted) {
      cells.push(cell);
      cell = "";
    } else cell += character;
  }
  cells.push(cell);
  return cells.map((name, place) => (name.trim() === "" ? `column ${place + 1}` : name.trim()));
}
