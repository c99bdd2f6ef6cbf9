import { PrismrecError } from "../../base/errors.js";
import { type Column, categoryTexts, MISSING_BOOLEAN } from "../../data/columns.js";
import type { UserProfile } from "../../data/history.js";

/** A column of the users' profiles that a network reads, as one of some categories or as a number. */
export type UserField =
  | {
      readonly kind: "category";
      readonly name: string;
      /** The values that it tells apart, in the order of its own parameters; entry 0 stands for all others and for none. */
      readonly vocabulary: readonly string[];
    }
  | { readonly kind: "number"; readonly name: string };

/** The fields of a batch's users that the network reads, by name. */
export interface UserFields {
  /** [B] place in the field's vocabulary; 0: not known. */
  readonly categories: ReadonlyMap<string, Uint32Array>;
  /** [B] as the column has it, of a truth value 1 or 0; NaN: not known. */
  readonly numbers: ReadonlyMap<string, Float64Array>;
}

/** What a network says of the profiles that it reads. */
export interface UserReader {
  /** Absent: none. */
  readonly userFields?: readonly UserField[];
}

/** Reads a field of the profile in a row; undefined: not known. */
type Read = (row: number) => number | undefined;

/** Fills the fields of a batch, user by user; undefined where the network reads none. */
export class UserPacker {
  readonly fields: UserFields;
  readonly #wanted: readonly UserField[];
  /** Of the last column met under each field: the users of one log share theirs. */
  readonly #readers = new Map<UserField, { readonly column: Column; readonly read: Read }>();

  private constructor(wanted: readonly UserField[], users: number) {
    this.#wanted = wanted;
    const ofKind = (kind: UserField["kind"]) => wanted.filter((field) => field.kind === kind);
    this.fields = {
      categories: new Map(ofKind("category").map(({ name }) => [name, new Uint32Array(users)])),
      numbers: new Map(ofKind("number").map(({ name }) => [name, new Float64Array(users).fill(Number.NaN)])),
    };
  }

  /** @param users B */
  static of({ userFields = [] }: UserReader, users: number): UserPacker | undefined {
    return userFields.length === 0 ? undefined : new UserPacker(userFields, users);
  }

  /**
   * Writes the profile of user `b` of the batch, as far as it has the fields.
   *
   * @throws PrismrecError CONFIG_INVALID for a column whose kind the network cannot read
   */
  put(b: number, { columns, row }: UserProfile): void {
    for (const field of this.#wanted) {
      const column = columns.get(field.name);
      if (column === undefined) continue;
      const value = this.#reader(field, column)(row);
      if (value === undefined) continue;
      const values = field.kind === "category" ? this.fields.categories : this.fields.numbers;
      values.get(field.name)![b] = value;
    }
  }

  #reader(field: UserField, column: Column): Read {
    const known = this.#readers.get(field);
    if (known?.column === column) return known.read;
    const read =
      field.kind === "number" ? numbersOf(field.name, column) : codesOf(field.name, field.vocabulary, column);
    this.#readers.set(field, { column, read });
    return read;
  }
}

function codesOf(name: string, vocabulary: readonly string[], column: Column): Read {
  if (column.kind === "list") throw unreadable(name, "one value a user", "lists of texts");
  const places = new Map(vocabulary.flatMap((text, code) => (code === 0 ? [] : [[text, code] as const])));
  const texts = categoryTexts(column);
  return (row) => places.get(texts(row));
}

function numbersOf(name: string, column: Column): Read {
  if (column.kind === "number") return (row) => column.values[row];
  if (column.kind === "boolean") {
    return (row) => (column.values[row] === MISSING_BOOLEAN ? undefined : column.values[row]);
  }
  throw unreadable(name, "numbers", column.kind === "text" ? "texts" : "lists of texts");
}

function unreadable(name: string, expected: string, received: string): PrismrecError {
  return new PrismrecError("CONFIG_INVALID", `the model cannot read the column "${name}" of the users`, {
    expected,
    received,
    hint: "A column is judged as a whole: one word among numbers makes texts of all.",
  });
}
