import { PrismrecError, writeFileAtomic, yieldToEventLoop } from "@prismrec/core/base";

/** What a cell may hold; null and undefined are missing. A Date is written as its ISO text. */
export type Cell = string | number | bigint | boolean | Date | readonly (string | number)[] | null | undefined;

/** One event, item or user, by column name: `{ user: "u1", item: "i7", time: 1700000000 }`. */
export interface Row {
  readonly [column: string]: Cell;
}

/** A table: rows at hand, rows as they come, or the path of a CSV, TSV, JSON or Parquet file. */
export type Rows = string | Iterable<Row> | AsyncIterable<Row>;

/** Rows between two looks at the event loop. */
const BATCH = 1000;

/**
 * Writes rows as JSON lines, which the import reads like any file of the user's own; the file is there when it is whole.
 *
 * @throws PrismrecError INVALID_ARGUMENT for a row or a cell that is none; IO, DISK_FULL; an aborted signal rejects with
 *   its reason
 */
export function writeRows(
  path: string,
  rows: Iterable<Row> | AsyncIterable<Row>,
  what: string,
  signal?: AbortSignal,
): Promise<void> {
  return writeFileAtomic(path, lines(rows, what, signal));
}

async function* lines(
  rows: Iterable<Row> | AsyncIterable<Row>,
  what: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<string> {
  let text = "";
  let count = 0;
  for await (const row of rows) {
    text += `${lineOf(row, `${what}[${count}]`)}\n`;
    if (++count % BATCH > 0) continue;
    yield text;
    text = "";
    await yieldToEventLoop(signal);
  }
  if (text !== "") yield text;
}

function lineOf(row: unknown, place: string): string {
  if (typeof row !== "object" || row === null || Array.isArray(row)) {
    throw new PrismrecError("INVALID_ARGUMENT", `${place} is not a row`, {
      expected: "an object of cells by column name",
      received: Array.isArray(row) ? "an array" : String(row),
      hint: 'Give rows such as { user: "u1", item: "i7", time: 1700000000 }.',
    });
  }
  const cells = Object.entries(row).flatMap(([column, cell]) => {
    const value = plainCell(cell, `${place}.${column}`);
    return value === null ? [] : [[column, value] as const];
  });
  return JSON.stringify(Object.fromEntries(cells));
}

function plainCell(cell: unknown, place: string): string | number | boolean | readonly (string | number)[] | null {
  switch (typeof cell) {
    case "undefined":
      return null;
    case "string":
    case "boolean":
      return cell;
    case "bigint":
      return String(cell);
    case "number":
      return Number.isFinite(cell) ? cell : null;
    default:
      if (cell === null) return null;
      if (cell instanceof Date && !Number.isNaN(cell.valueOf())) return cell.toISOString();
      if (Array.isArray(cell) && cell.every((part) => typeof part === "string" || typeof part === "number"))
        return cell;
  }
  throw new PrismrecError("INVALID_ARGUMENT", `${place} is not a cell`, {
    expected: "a text, a number, a boolean, a valid Date, or a list of texts",
    received: cell instanceof Date ? "an invalid Date" : typeof cell,
  });
}
