import { type ColumnPattern, isNumber, patternOf } from "./column-pattern.js";

export interface Header {
  /** false: the first record is a row. */
  readonly present: boolean;
  readonly columns: readonly string[];
  /** How the cells of a column are turned into those of the table, where they are. */
  readonly convert: ReadonlyMap<number, (cell: string) => string>;
  /** Columns made of several others. */
  readonly derived: readonly Derived[];
  readonly notes: readonly string[];
}

export interface Derived {
  readonly column: string;
  readonly from: readonly number[];
  make(cells: readonly (string | null)[]): string | null;
}

type Sample = readonly (readonly (string | null)[])[];

/**
 * Judges whether a table's first record is a header, by what it has in common with the rows below it, and names the
 * columns. undefined: it is a row, and nothing tells what its columns mean.
 */
export function readHeader(first: readonly string[], sample: Sample, width: number): Header | undefined {
  const cells = first.map((cell) => cell.trim());
  if (isData(cells, sample)) return nameByPosition(cells, sample);
  const notes: string[] = [];
  const convert = new Map<number, (cell: string) => string>();
  let names = cells;
  if (cells.every((cell) => TYPED.test(cell))) {
    names = cells.map((cell) => cell.replace(TYPED, "$1"));
    notes.push("its header names types (as RecBole's does): columns go by their names without them");
    cells.forEach((cell, place) => {
      if (cell.endsWith("_seq")) convert.set(place, blankSeparated);
    });
  }
  if (width > names.length) {
    names = ["row name", ...names];
    notes.push("its rows have one cell more than its header: the first one was taken as the name of the row");
  }
  const columns = names.map((name, place) => (name === "" ? `column ${place + 1}` : name.replace(/\s+/g, " ")));
  return { present: true, columns, convert, derived: [], notes };
}

const TYPED = /^(.+):(?:token|token_seq|float|float_seq)$/;

const blankSeparated = (cell: string): string => JSON.stringify(cell.split(" ").filter((part) => part !== ""));

type Kind = "number" | "date" | "code" | "text";

const DATE = /^\d{1,4}[-/.]([A-Za-z]{3}|\d{1,2})[-/.]\d{1,4}([T ]\d{1,2}:\d{2}.*)?$/;

interface ColumnKind {
  readonly kind: Kind;
  /** What all cells look like, where they look alike. */
  readonly pattern: ColumnPattern | undefined;
}

function kindOf(cells: readonly string[]): ColumnKind {
  if (cells.length > 0 && cells.every((cell) => DATE.test(cell))) return { kind: "date", pattern: DATE };
  const pattern = patternOf(cells, 1);
  if (pattern === undefined) return { kind: "text", pattern };
  return { kind: cells.every(isNumber) ? "number" : "code", pattern };
}

const present = (cells: readonly (string | null)[] | undefined): string[] =>
  (cells ?? []).map((cell) => cell?.trim() ?? "").filter((cell) => cell !== "");

/** Whether the first record looks like the rows in every column that tells, and there is one. */
function isData(first: readonly string[], sample: Sample): boolean {
  // Numbered columns (0, 1, 2, ...) are what a data frame without names writes as its header.
  if (first.length > 1 && first.every((cell, place) => cell === String(place))) return false;
  let votes = 0;
  for (const [place, cell] of first.entries()) {
    if (cell === "") continue;
    const { pattern } = kindOf(present(sample[place]));
    if (pattern === undefined) continue;
    if (!pattern.test(cell)) return false;
    votes++;
  }
  return votes > 0;
}

/** The genres of MovieLens 100k, in the order of the 19 flags at the end of a line of u.item. */
const FLAGS = [
  ...["unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"],
  ...["Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"],
];

function nameByPosition(first: readonly string[], sample: Sample): Header | undefined {
  const cells = first.map((cell, place) => [cell, ...present(sample[place])].filter((text) => text !== ""));
  const names = nameEvents(cells) ?? nameItems(cells);
  if (names === undefined) return undefined;
  const flags = names[0] === "item_id" && cells.length === 5 + FLAGS.length ? cells.slice(5) : [];
  const isFlagged = flags.length > 0 && flags.every((column) => column.every((cell) => cell === "0" || cell === "1"));
  const columns = names.map((name, place) =>
    isFlagged && place >= 5 ? FLAGS[place - 5]! : (name ?? `column ${place + 1}`),
  );
  const derived: Derived[] = isFlagged
    ? [
        {
          column: "categories",
          from: FLAGS.map((_, flag) => flag + 5),
          make: (values) => JSON.stringify(FLAGS.filter((_, flag) => values[flag]?.trim() === "1")),
        },
      ]
    : [];
  const named = [...columns, ...derived.map(({ column }) => column)].slice(0, 8).join(", ");
  const notes = [`it has no header line: by their look its columns were taken as ${named}`];
  return { present: false, columns, convert: new Map(), derived, notes };
}

/** Seconds, milliseconds or microseconds since 1985 or so, or dates. */
const isTime = (cells: readonly string[]): boolean =>
  cells.length > 0 &&
  (kindOf(cells).kind === "date" ||
    cells.every((cell) => /^(?:[5-9]\d{8}|[1-4]\d{9})(?:\d{3}|\d{6})?(?:\.\d+)?$/.test(cell)));

const isRating = (cells: readonly string[]): boolean =>
  cells.length > 0 && cells.every((cell) => isNumber(cell) && Number(cell) >= -1 && Number(cell) <= 100);

/** Whole numbers, or short texts without blanks of which nearly all hold a digit. */
function isId(cells: readonly string[]): boolean {
  const { kind } = kindOf(cells);
  if (kind === "number") return cells.every((cell) => /^\d+$/.test(cell));
  const withDigit = cells.filter((cell) => /\d/.test(cell)).length;
  return kind !== "date" && withDigit > 0.9 * cells.length && cells.every((cell) => /^[^\s|]{1,64}$/.test(cell));
}

type Names = readonly (string | undefined)[];

/** A user, an item, and of what follows the one column that can be a rating and the one that can be a time. */
function nameEvents(cells: readonly (readonly string[])[]): Names | undefined {
  const [users = [], items = [], ...others] = cells;
  if (cells.length < 2 || cells.length > 6 || !isId(users) || !isId(items)) return undefined;
  const times = others.map(isTime);
  const ratings = others.map((column, i) => !times[i] && isRating(column));
  const count = (flags: readonly boolean[]): number => flags.filter(Boolean).length;
  const known = count(times) + count(ratings);
  // A tag or the like may stand among them; more that is unknown is another kind of table.
  if (count(times) > 1 || count(ratings) > 1 || others.length - known > 1) return undefined;
  if (others.length > 0 && known === 0) return undefined;
  return ["user_id", "item_id", ...others.map((_, i) => (times[i] ? "timestamp" : ratings[i] ? "rating" : undefined))];
}

/** An item that no other row has, its title, and of what follows the dates and the lists. */
function nameItems(cells: readonly (readonly string[])[]): Names | undefined {
  const [ids = [], titles = [], ...others] = cells;
  if (cells.length < 2 || !isId(ids) || new Set(ids).size < ids.length) return undefined;
  const isTitle = kindOf(titles).kind === "text" && titles.some((title) => /\s/.test(title) || title.length > 5);
  if (!isTitle || new Set(titles).size < 0.9 * titles.length) return undefined;
  const isList = (column: readonly string[]): boolean =>
    kindOf(column).kind === "text" && column.some((cell) => cell.includes("|"));
  const list = others.findIndex(isList);
  const date = others.findIndex((column) => column.length > 0 && kindOf(column).kind === "date");
  const link = others.findIndex((column) => column.some((cell) => /^https?:/.test(cell)));
  const only = others.length === 1 && others[0]?.every((cell) => !isNumber(cell)) ? 0 : -1;
  return [
    "item_id",
    "title",
    ...others.map((_, i) =>
      i === list || i === only ? "categories" : i === date ? "release_date" : i === link ? "url" : undefined,
    ),
  ];
}
