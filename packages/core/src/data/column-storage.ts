import { z } from "zod";
import { type Column, type Columns, columnFault } from "./columns.js";

const entrySchema = z.object({
  name: z.string(),
  kind: z.enum(["number", "boolean", "text", "list"]),
  /** Members of all lists together. */
  members: z.int().nonnegative().optional(),
});
const headSchema = z.object({ rows: z.int().nonnegative(), columns: z.array(entrySchema) });

/** Numbers of all columns one after the other, by type; the dictionaries are JSON, a line each. */
export interface StoredColumns {
  readonly head: string;
  readonly f64: Float64Array;
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly texts: string;
}

/** What a file of columns holds, in few pieces however many columns there are. */
export function packColumns(columns: Columns, rows: number): StoredColumns {
  const entries: z.infer<typeof entrySchema>[] = [];
  const pieces = { f64: [] as Float64Array[], u8: [] as Uint8Array[], u32: [] as Uint32Array[] };
  const lines: string[] = [];
  for (const [name, column] of columns) {
    entries.push({ name, kind: column.kind, ...(column.kind === "list" ? { members: column.codes.length } : {}) });
    if (column.kind === "number") pieces.f64.push(column.values);
    else if (column.kind === "boolean") pieces.u8.push(column.values);
    else {
      if (column.kind === "list") pieces.u32.push(column.indptr);
      pieces.u32.push(column.codes);
      lines.push(`${JSON.stringify(column.dictionary)}\n`);
    }
  }
  const sizeOf = (parts: readonly { readonly length: number }[]): number =>
    parts.reduce((n, part) => n + part.length, 0);
  const f64 = new Float64Array(sizeOf(pieces.f64));
  const u8 = new Uint8Array(sizeOf(pieces.u8));
  const u32 = new Uint32Array(sizeOf(pieces.u32));
  fill(f64, pieces.f64);
  fill(u8, pieces.u8);
  fill(u32, pieces.u32);
  return { head: `${JSON.stringify({ rows, columns: entries })}\n`, f64, u8, u32, texts: lines.join("") };
}

function fill<T extends Float64Array | Uint8Array | Uint32Array>(whole: T, parts: readonly T[]): void {
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
}

/**
 * The columns that `packColumns` took, as views of what was stored.
 *
 * @param rows how many they must have
 * @param damaged makes the error for what does not fit
 */
export function unpackColumns(
  { head, f64, u8, u32, texts }: StoredColumns,
  rows: number,
  damaged: (received: string) => Error,
): Columns {
  const parsed = headSchema.safeParse(JSON.parse(head));
  if (!parsed.success) throw damaged(z.prettifyError(parsed.error));
  const at = { f64: 0, u8: 0, u32: 0 };
  const take = <T extends Float64Array | Uint8Array | Uint32Array>(
    type: keyof typeof at,
    whole: T,
    count: number,
  ): T => {
    const part = whole.subarray(at[type], at[type] + count) as T;
    at[type] += count;
    return part;
  };
  const lines = texts.split("\n").values();
  const dictionary = (): string[] => z.array(z.string()).parse(JSON.parse(lines.next().value || "[]"));
  const columns = new Map<string, Column>();
  for (const { name, kind, members = 0 } of parsed.data.columns) {
    let column: Column;
    if (kind === "number") column = { kind, values: take("f64", f64, rows) };
    else if (kind === "boolean") column = { kind, values: take("u8", u8, rows) };
    else if (kind === "text") column = { kind, codes: take("u32", u32, rows), dictionary: dictionary() };
    else {
      const indptr = take("u32", u32, rows + 1);
      column = { kind, indptr, codes: take("u32", u32, members), dictionary: dictionary() };
    }
    const fault = columnFault(column, rows);
    if (fault !== undefined) throw damaged(`the column "${name}": ${fault}`);
    columns.set(name, column);
  }
  return columns;
}
