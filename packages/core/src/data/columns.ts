import type { Catalog } from "./types.js";

/** A number for each row; NaN: missing. */
export interface NumberColumn {
  readonly kind: "number";
  /** [rows] */
  readonly values: Float64Array;
}

/** `values` of a boolean column where the cell is missing. */
export const MISSING_BOOLEAN = 255;

/** True or false for each row. */
export interface BooleanColumn {
  readonly kind: "boolean";
  /** [rows] 1: true, 0: false, `MISSING_BOOLEAN`: missing */
  readonly values: Uint8Array;
}

/** A text for each row, each distinct one held once. */
export interface TextColumn {
  readonly kind: "text";
  /** [rows] places in the dictionary; 0: missing */
  readonly codes: Uint32Array;
  /** Distinct texts from place 1, in the order of the rows that hold them first; entry 0 is "". */
  readonly dictionary: readonly string[];
}

/** Any number of texts for each row: row r holds `codes[indptr[r] .. indptr[r + 1])`; none: missing. */
export interface ListColumn {
  readonly kind: "list";
  /** [rows + 1] */
  readonly indptr: Uint32Array;
  /** Places in the dictionary, none of them 0. */
  readonly codes: Uint32Array;
  /** As a text column's. */
  readonly dictionary: readonly string[];
}

export type Column = NumberColumn | BooleanColumn | TextColumn | ListColumn;
export type ColumnKind = Column["kind"];

/** Columns of one length, by name. */
export type Columns = ReadonlyMap<string, Column>;

/** How many rows a column has. */
export function rowsOf(column: Column): number {
  switch (column.kind) {
    case "list":
      return column.indptr.length - 1;
    case "text":
      return column.codes.length;
    default:
      return column.values.length;
  }
}

/** The value of each row as a category, "" where it is missing: a number and a truth value as they are written. */
export function categoryTexts(column: Exclude<Column, ListColumn>): (row: number) => string {
  switch (column.kind) {
    case "text":
      return (row) => column.dictionary[column.codes[row]!]!;
    case "number":
      return (row) => (Number.isNaN(column.values[row]!) ? "" : String(column.values[row]!));
    default:
      return (row) => (column.values[row] === MISSING_BOOLEAN ? "" : String(column.values[row] === 1));
  }
}

/** What a row holds, as a program would write it; undefined where it is missing. */
export function cellOf(column: Column, row: number): string | number | boolean | readonly string[] | undefined {
  switch (column.kind) {
    case "number":
      return Number.isNaN(column.values[row]!) ? undefined : column.values[row]!;
    case "boolean":
      return column.values[row] === MISSING_BOOLEAN ? undefined : column.values[row] === 1;
    case "text":
      return column.codes[row] === 0 ? undefined : column.dictionary[column.codes[row]!]!;
    case "list": {
      const codes = column.codes.subarray(column.indptr[row], column.indptr[row + 1]);
      return codes.length === 0 ? undefined : Array.from(codes, (code) => column.dictionary[code]!);
    }
  }
}

/** What is wrong with a column of that many rows; undefined: nothing. */
export function columnFault(column: Column, rows: number): string | undefined {
  if (rowsOf(column) !== rows) return `${rowsOf(column)} rows, not ${rows}`;
  switch (column.kind) {
    case "number":
      return undefined;
    case "boolean":
      return column.values.every((value) => value <= 1 || value === MISSING_BOOLEAN) ? undefined : "no boolean";
    default: {
      const { codes, dictionary } = column;
      if (dictionary[0] !== "") return "a dictionary that does not begin with the missing";
      const least = column.kind === "list" ? 1 : 0;
      if (!codes.every((code) => code >= least && code < dictionary.length)) return "a code outside the dictionary";
      if (column.kind === "text") return undefined;
      const { indptr } = column;
      if (indptr[0] !== 0 || indptr[rows] !== codes.length) return "offsets that do not cover the codes";
      return indptr.every((end, row) => row === 0 || end >= indptr[row - 1]!) ? undefined : "offsets that fall";
    }
  }
}

/** A text column of the given texts; "" is missing. */
export function textColumn(texts: Iterable<string>): TextColumn {
  const coder = new TextCoder();
  return { kind: "text", codes: Uint32Array.from(texts, (text) => coder.codeOf(text)), dictionary: coder.dictionary };
}

/** A text column of codes into other texts: its dictionary holds those that occur. */
export function recoded(codes: Uint32Array, texts: readonly string[]): TextColumn {
  const coder = new TextCoder();
  return { kind: "text", codes: codes.map((code) => coder.codeOf(texts[code]!)), dictionary: coder.dictionary };
}

/** A list column of the given lists; texts that repeat in a row are kept once. */
export function listColumn(lists: Iterable<Iterable<string>>): ListColumn {
  const coder = new TextCoder();
  const codes: number[] = [];
  const indptr = [0];
  for (const list of lists) {
    for (const text of new Set(list)) if (text !== "") codes.push(coder.codeOf(text));
    indptr.push(codes.length);
  }
  return {
    kind: "list",
    indptr: Uint32Array.from(indptr),
    codes: Uint32Array.from(codes),
    dictionary: coder.dictionary,
  };
}

/** Gives texts the places of a dictionary by first appearance; "" is place 0. */
export class TextCoder {
  readonly dictionary: string[] = [""];
  readonly #codes = new Map<string, number>([["", 0]]);

  codeOf(text: string): number {
    let code = this.#codes.get(text);
    if (code === undefined) {
      code = this.dictionary.length;
      this.#codes.set(text, code);
      this.dictionary.push(text);
    }
    return code;
  }
}

/** What every catalog has, whatever its file was like; no other column goes by these names. */
export const ITEM_COLUMNS = ["id", "title", "categories", "year"] as const;

const ownColumns = new WeakMap<Catalog, Map<string, Column>>();

/**
 * A column of the items by name, [N + 1] with a missing row for the padding: one that the import kept, or `id`, `title`,
 * `categories` and `year`, which are made of the items when they are asked for first. undefined: there is none.
 */
export function itemColumn(catalog: Catalog, name: string): Column | undefined {
  const kept = catalog.columns?.get(name);
  if (kept !== undefined) return kept;
  let made = ownColumns.get(catalog);
  if (made === undefined) {
    made = new Map();
    ownColumns.set(catalog, made);
  }
  let column = made.get(name);
  if (column === undefined) {
    column = makeColumn(catalog, name);
    if (column !== undefined) made.set(name, column);
  }
  return column;
}

function makeColumn({ items }: Catalog, name: string): Column | undefined {
  switch (name as (typeof ITEM_COLUMNS)[number]) {
    case "id":
      return textColumn(items.map(({ id }) => id));
    case "title":
      return textColumn(items.map(({ title }) => title));
    case "categories":
      return listColumn(items.map(({ categories }) => categories));
    case "year":
      return { kind: "number", values: Float64Array.from(items, ({ year }) => year ?? Number.NaN) };
    default:
      return undefined;
  }
}

/** The names that `itemColumn` knows: the four that every catalog has, then those that the import kept. */
export function itemColumnNames(catalog: Catalog): string[] {
  return [...new Set([...ITEM_COLUMNS, ...(catalog.columns?.keys() ?? [])])];
}
