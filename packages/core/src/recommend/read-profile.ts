import { PrismrecError } from "../base/errors.js";
import { suggest } from "../base/suggest.js";
import { type Column, type ColumnKind, type Columns, listColumn, textColumn } from "../data/columns.js";
import type { UserProfile } from "../data/history.js";
import type { GivenProfile } from "./types.js";

/**
 * A profile as it was asked with, as columns of one row.
 *
 * @param known those of the log: what is given must be among them and of their kinds; undefined: there is no log to go
 *   by, and each value says its own kind
 * @throws PrismrecError INVALID_ARGUMENT for a column that is not there, or a value that its kind cannot have
 */
export function readProfile(given: GivenProfile, known: Columns | undefined): UserProfile {
  const columns = new Map<string, Column>();
  for (const [name, value] of Object.entries(given)) {
    const column = known?.get(name);
    if (known !== undefined && column === undefined) throw unknownColumn(name, known);
    if (value === null || value === undefined) continue;
    columns.set(name, columnOf(name, value, column?.kind ?? kindOf(value)));
  }
  return { columns, row: 0 };
}

const KINDS: Readonly<Record<string, ColumnKind>> = { number: "number", boolean: "boolean", string: "text" };

/** Of a value that is none, some kind that refuses it. */
function kindOf(value: unknown): ColumnKind {
  return Array.isArray(value) ? "list" : (KINDS[typeof value] ?? "text");
}

function columnOf(name: string, value: unknown, kind: ColumnKind): Column {
  switch (kind) {
    case "number":
      if (typeof value === "number" && Number.isFinite(value)) return { kind, values: Float64Array.of(value) };
      break;
    case "boolean":
      if (typeof value === "boolean") return { kind, values: Uint8Array.of(value ? 1 : 0) };
      break;
    case "text":
      if (typeof value === "string") return textColumn([value]);
      break;
    default: {
      const texts: readonly unknown[] = Array.isArray(value) ? value : [value];
      if (texts.every((text) => typeof text === "string")) return listColumn([texts]);
    }
  }
  throw new PrismrecError("INVALID_ARGUMENT", `the profile's value does not fit the column "${name}"`, {
    expected: WANTED[kind],
    received: typeof value === "string" ? JSON.stringify(value) : String(value),
    hint: "Leave out what is not known.",
  });
}

const WANTED: Readonly<Record<ColumnKind, string>> = {
  number: "a finite number",
  boolean: "true or false",
  text: "a text",
  list: "a text, or a list of texts",
};

function unknownColumn(name: string, known: Columns): PrismrecError {
  const names = [...known.keys()];
  const meant = suggest(name, names);
  return new PrismrecError("INVALID_ARGUMENT", `users have no column "${name}"`, {
    expected: names.length === 0 ? "no profile: there was no users file" : `one of: ${names.join(", ")}`.slice(0, 400),
    received: name,
    hint:
      meant === undefined
        ? "Columns are those of the users file at the import, under their names there."
        : `Did you mean "${meant}"?`,
  });
}
