import { type Column, type Columns, listColumn, MISSING_BOOLEAN, recoded, TextCoder } from "../columns.js";
import type { KeptColumn } from "../report.js";
import { isNoText } from "./ids.js";
import { listTexts, splitCategories } from "./item-text.js";

/** A column whose cells are collected; `separator`: it holds lists, taken apart there. */
export interface CellColumn {
  readonly name: string;
  readonly separator?: string;
}

/** Between the members of a list in a column that nobody has said a separator of. */
const LIST_SEPARATOR = "|";
/** Of a column's distinct texts, the share that holds the separator where it is a list. */
const LIST_SHARE = 0.1;
/** Mean length of a list's members: prose with a bar in it is no list. */
const LIST_MEMBER_LENGTH = 40;
/** Above this share of numbers it is worth a word that a column is none. */
const NEARLY = 0.9;
/** What stands for nothing among numbers and flags only: elsewhere these may be words. */
const NOTHING = /^(?:none|na)$/i;
const PLAIN_NUMBER = /^-?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?$/i;
const FLAGS: readonly (readonly [string, string, "alone" | "both"])[] = [
  ["true", "false", "alone"],
  ["yes", "no", "alone"],
  ["t", "f", "both"],
  ["y", "n", "both"],
];

/**
 * The further columns of a table of items or users: cells are held as codes while they are read, and every column is judged
 * as a whole, by its distinct texts, when all are there. Row 0 stands for nobody and is never put.
 */
export class CellTable {
  readonly #columns: readonly { readonly column: CellColumn; readonly codes: Uint32Array; readonly texts: TextCoder }[];

  /** @param rows number of rows without row 0 */
  constructor(columns: readonly CellColumn[], rows: number) {
    this.#columns = columns.map((column) => ({ column, codes: new Uint32Array(rows + 1), texts: new TextCoder() }));
  }

  /** Puts a cell of column `c`, trimmed; what programs write for nothing (`""`, `NULL`, `nan`, `\N`) is missing. */
  put(row: number, c: number, text: string): void {
    const { codes, texts } = this.#columns[c]!;
    codes[row] = isNoText(text) ? 0 : texts.codeOf(text);
  }

  /** The typed columns of the given rows, in that order, and what was found. */
  finish(rows: Uint32Array): {
    readonly columns: Columns;
    readonly kept: readonly KeptColumn[];
    readonly notes: readonly string[];
  } {
    const columns = new Map<string, Column>();
    const kept: KeptColumn[] = [];
    const notes: string[] = [];
    for (const { column, codes, texts } of this.#columns) {
      const { name, separator } = column;
      const distinct = texts.dictionary.slice(1);
      const judged = separator === undefined ? judge(distinct) : listsOf(distinct, separator);
      if (judged.kind === "text") notes.push(...nearlyNumbers(name, distinct));
      const made = columnOf(
        judged,
        texts.dictionary,
        Uint32Array.from(rows, (row) => codes[row]!),
      );
      columns.set(name, made);
      kept.push({ name, kind: made.kind, ...countOf(made) });
    }
    return { columns, kept, notes };
  }
}

/** The values of a column's distinct texts. */
type Judged =
  | { readonly kind: "number"; readonly values: readonly number[] }
  | { readonly kind: "boolean"; readonly values: readonly (boolean | undefined)[] }
  | { readonly kind: "list"; readonly values: readonly (readonly string[])[] }
  | { readonly kind: "text" };

/** @param texts distinct and filled */
function judge(texts: readonly string[]): Judged {
  const telling = texts.filter((text) => !NOTHING.test(text));
  if (telling.length === 0) return { kind: "text" };
  if (telling.every(isNumber)) {
    return { kind: "number", values: texts.map((text) => (NOTHING.test(text) ? Number.NaN : Number(text))) };
  }
  const words = new Set(telling.map((text) => text.toLowerCase()));
  const flags = FLAGS.find(([yes, no, need]) => {
    const found = Number(words.has(yes)) + Number(words.has(no));
    return found === words.size && (need === "alone" || found === 2);
  });
  if (flags !== undefined) {
    const [yes, no] = flags;
    const flagOf = (word: string): boolean | undefined => (word === yes ? true : word === no ? false : undefined);
    return { kind: "boolean", values: texts.map((text) => flagOf(text.toLowerCase())) };
  }
  if (texts.every((text) => listTexts(text) !== undefined)) return listsOf(texts, LIST_SEPARATOR);
  const separated = texts.filter((text) => text.includes(LIST_SEPARATOR));
  if (separated.length === 0 || separated.length < LIST_SHARE * texts.length) return { kind: "text" };
  const members = separated.flatMap((text) => text.split(LIST_SEPARATOR));
  const length = members.reduce((sum, member) => sum + member.length, 0);
  return length > LIST_MEMBER_LENGTH * members.length ? { kind: "text" } : listsOf(texts, LIST_SEPARATOR);
}

/**
 * Numbers that lose nothing as one: a leading zero or plus sign, and whole numbers beyond 2^53, belong to ids and codes.
 */
function isNumber(text: string): boolean {
  if (!PLAIN_NUMBER.test(text)) return false;
  const value = Number(text);
  return Number.isFinite(value) && (!/^-?\d+$/.test(text) || Number.isSafeInteger(value));
}

function listsOf(texts: readonly string[], separator: string): Judged {
  return { kind: "list", values: texts.map((text) => splitCategories(text, separator)) };
}

function nearlyNumbers(name: string, texts: readonly string[]): string[] {
  const others = texts.filter((text) => !isNumber(text));
  const [example] = others;
  if (example === undefined || others.length > (1 - NEARLY) * texts.length) return [];
  return [`"${name}" is kept as text: "${example.slice(0, 40)}" is no number`];
}

/** @param codes [rows] places among the texts, whose entry 0 is missing */
function columnOf(judged: Judged, texts: readonly string[], codes: Uint32Array): Column {
  switch (judged.kind) {
    case "number": {
      const { values } = judged;
      return { kind: "number", values: Float64Array.from(codes, (code) => values[code - 1] ?? Number.NaN) };
    }
    case "boolean": {
      const places = judged.values.map((value) => (value === undefined ? MISSING_BOOLEAN : Number(value)));
      return { kind: "boolean", values: Uint8Array.from(codes, (code) => places[code - 1] ?? MISSING_BOOLEAN) };
    }
    case "text":
      return recoded(codes, texts);
    case "list":
      return listColumn(Array.from(codes, (code) => judged.values[code - 1] ?? []));
  }
}

function countOf(column: Column): { readonly filled: number; readonly distinct: number } {
  switch (column.kind) {
    case "number": {
      const there = column.values.filter((value) => !Number.isNaN(value));
      return { filled: there.length, distinct: new Set(there).size };
    }
    case "boolean": {
      const there = column.values.filter((value) => value !== MISSING_BOOLEAN);
      return { filled: there.length, distinct: new Set(there).size };
    }
    case "text":
      return { filled: column.codes.filter((code) => code > 0).length, distinct: column.dictionary.length - 1 };
    case "list": {
      const { indptr } = column;
      const filled = indptr.filter((end, row) => row > 0 && end > indptr[row - 1]!).length;
      return { filled, distinct: column.dictionary.length - 1 };
    }
  }
}

/**
 * The columns of a table that are kept beside those that play a part, under names of which each is there once: one that is
 * called as `taken` says is kept as `name_2`.
 */
export function furtherColumns(
  columns: readonly string[],
  played: ReadonlySet<string>,
  taken: readonly string[],
): { readonly source: string; readonly name: string }[] {
  const names = new Set([...taken, ...columns]);
  return columns
    .filter((source) => !played.has(source))
    .map((source) => {
      if (!taken.includes(source)) return { source, name: source };
      let n = 2;
      while (names.has(`${source}_${n}`)) n++;
      names.add(`${source}_${n}`);
      return { source, name: `${source}_${n}` };
    });
}
