import { z } from "zod";
import { PrismrecError } from "../base/errors.js";
import { suggest } from "../base/suggest.js";
import { type Column, itemColumn, itemColumnNames, MISSING_BOOLEAN } from "../data/columns.js";
import type { Catalog } from "../data/types.js";

export type FilterScalar = string | number | boolean;

/** Both ends belong to it; one of them may be left out. Texts compare by code unit, as ISO dates do by time. */
export interface FilterRange {
  readonly from?: string | number;
  readonly to?: string | number;
}

/**
 * What items must be, by column: equal to a value, to any of several, or within a range. All columns must hold. A list
 * matches where any of its members does, and what is missing never matches. Columns are those that the import kept, and
 * `id`, `title`, `categories` and `year`.
 *
 * @example { inStock: true, category: ["a", "b"], price: { from: 5, to: 20 } }
 */
export type ItemFilter = { readonly [column: string]: FilterScalar | readonly FilterScalar[] | FilterRange };

const scalar = z.union([z.string(), z.number(), z.boolean()]);
const end = z.union([z.string(), z.number()]);

/** The form of a filter; whether a catalog has its columns and they such values is for `compileFilter` to say. */
export const itemFilterSchema = z
  .record(
    z.string(),
    z.union([scalar, z.array(scalar), z.strictObject({ from: end.exactOptional(), to: end.exactOptional() })]),
  )
  .describe(
    'what the items must be, by column: {"inStock": true, "category": ["a", "b"], "price": {"from": 5, "to": 20}}',
  );

/** What one value of a column must be. */
type Test<T> = (value: T) => boolean;

/**
 * The items that a filter lets through, as bits for a search: dense id i + 1 is bit i % 32 of word i / 32.
 *
 * @returns [ceil(N / 32)]
 * @throws PrismrecError INVALID_ARGUMENT for a column that is not there, or a condition that its type has no values for
 */
export function compileFilter(catalog: Catalog, filter: ItemFilter): Uint32Array {
  const bits = new Uint32Array(Math.ceil(catalog.size / 32));
  for (let i = 0; i < catalog.size; i++) bits[i >> 5]! |= 1 << (i & 31);
  for (const [name, condition] of Object.entries(filter)) {
    const column = itemColumn(catalog, name);
    if (column === undefined) throw unknownColumn(catalog, name);
    const matches = matcher(name, column, condition);
    for (let i = 0; i < catalog.size; i++) if (!matches(i + 1)) bits[i >> 5]! &= ~(1 << (i & 31));
  }
  return bits;
}

/** A text that no two filters share, those that are refused included: JSON alone leaves out or alters what it has no word for. */
export function filterKey(filter: ItemFilter): string {
  return JSON.stringify(filter, function (this: Readonly<Record<string, unknown>>, name) {
    const value = this[name];
    return typeof value === "object" && value !== null ? value : `${typeof value} ${String(value)}`;
  });
}

/** Whether a row of a column matches a condition. */
function matcher(name: string, column: Column, condition: unknown): (row: number) => boolean {
  switch (column.kind) {
    case "number": {
      const { values } = column;
      const test = numberTest(name, values, condition);
      return (row) => !Number.isNaN(values[row]!) && test(values[row]!);
    }
    case "boolean": {
      const { values } = column;
      const wanted = new Set(alternatives(name, "boolean", condition, isBoolean).map(Number));
      return (row) => values[row] !== MISSING_BOOLEAN && wanted.has(values[row]!);
    }
    default: {
      const { codes, dictionary } = column;
      const test = textTest(name, column.kind, condition);
      // A text is tested once, however many rows hold it; place 0 is the missing.
      const passes = Uint8Array.from(dictionary, (text, code) => (code > 0 && test(text) ? 1 : 0));
      if (column.kind === "text") return (row) => passes[codes[row]!] === 1;
      const { indptr } = column;
      return (row) => {
        for (let at = indptr[row]!; at < indptr[row + 1]!; at++) if (passes[codes[at]!] === 1) return true;
        return false;
      };
    }
  }
}

const isNumber = (value: unknown): value is number => typeof value === "number" && !Number.isNaN(value);
const isText = (value: unknown): value is string => typeof value === "string";
const isBoolean = (value: unknown): value is boolean => typeof value === "boolean";

function numberTest(name: string, values: Float64Array, condition: unknown): Test<number> {
  const range = rangeOf(name, "number", condition, isNumber);
  if (range !== undefined) return within(range);
  const flags = [condition].flat().some(isBoolean) && isFlags(values);
  const wanted = new Set(
    alternatives(name, "number", condition, (value): value is number | boolean => {
      return isNumber(value) || (flags && isBoolean(value));
    }).map(Number),
  );
  return (value) => wanted.has(value);
}

/** Whether a column of numbers holds nothing but 0 and 1: true and false may be asked of it. */
function isFlags(values: Float64Array): boolean {
  return values.every((value) => value === 0 || value === 1 || Number.isNaN(value));
}

function textTest(name: string, kind: "text" | "list", condition: unknown): Test<string> {
  const range = rangeOf(name, kind, condition, isText);
  if (range !== undefined) return within(range);
  const wanted = new Set(alternatives(name, kind, condition, isText));
  return (text) => wanted.has(text);
}

/** The value that a condition names, or the several. */
function alternatives<T>(
  name: string,
  kind: Column["kind"],
  condition: unknown,
  fits: (value: unknown) => value is T,
): readonly T[] {
  const values: readonly unknown[] = Array.isArray(condition) ? condition : [condition];
  return values.map((value) => {
    if (fits(value)) return value;
    throw wrongType(name, kind, value);
  });
}

interface Range<T> {
  readonly from: T | undefined;
  readonly to: T | undefined;
}

/** The range that a condition is; undefined: it is none. */
function rangeOf<T>(
  name: string,
  kind: Column["kind"],
  condition: unknown,
  fits: (value: unknown) => value is T,
): Range<T> | undefined {
  if (typeof condition !== "object" || condition === null || Array.isArray(condition)) return undefined;
  const ends: readonly [string, unknown][] = Object.entries(condition).filter(([, value]) => value !== undefined);
  if (ends.length === 0 || ends.some(([end]) => end !== "from" && end !== "to")) {
    throw new PrismrecError("INVALID_ARGUMENT", `the filter's range of "${name}" has no ends that are known`, {
      expected: "from, to, or both",
      received: ends.length === 0 ? "neither" : ends.map(([end]) => end).join(", "),
      hint: `Both ends belong to a range, as in { ${keyOf(name)}: { from: ${example(kind)} } }.`,
    });
  }
  const endOf = (wanted: string): T | undefined => {
    const value = ends.find(([end]) => end === wanted)?.[1];
    if (value === undefined || fits(value)) return value;
    throw wrongType(name, kind, value);
  };
  return { from: endOf("from"), to: endOf("to") };
}

function within<T extends string | number>({ from, to }: Range<T>): Test<T> {
  return (value) => (from === undefined || value >= from) && (to === undefined || value <= to);
}

function unknownColumn(catalog: Catalog, name: string): PrismrecError {
  const names = itemColumnNames(catalog);
  const meant = suggest(name, names);
  return new PrismrecError("INVALID_ARGUMENT", `items have no column "${name}" to be filtered by`, {
    expected: `one of: ${names.join(", ")}`.slice(0, 400),
    received: name,
    hint:
      meant === undefined
        ? "Columns are those of the items file at the import, under their names there."
        : `Did you mean "${meant}"?`,
  });
}

const WANTED: Readonly<Record<Column["kind"], string>> = {
  number: "a number, several, or a range { from, to } of numbers",
  boolean: "true or false",
  text: "a text, several, or a range { from, to } of texts",
  list: "a text, several, or a range { from, to } of texts, of which any member may be one",
};

function wrongType(name: string, kind: Column["kind"], value: unknown): PrismrecError {
  return new PrismrecError("INVALID_ARGUMENT", `the filter's value does not fit the column "${name}"`, {
    expected: `${WANTED[kind]}: the column is ${kind === "list" ? "a list of texts" : `a ${kind}`}`,
    received: shown(value),
    hint:
      value === null || value === undefined
        ? "What is missing never matches; leave the column out of the filter to let every item through."
        : `Such as { ${keyOf(name)}: ${example(kind)} }.`,
  });
}

function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value !== "object" || value === null) return String(value);
  return Array.isArray(value) ? "a list in a list" : `an object of ${Object.keys(value).join(", ")}`;
}

const keyOf = (name: string): string => (/^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name));

function example(kind: Column["kind"]): string {
  return kind === "number" ? "5" : kind === "boolean" ? "true" : '"a text"';
}
