import type { ColumnPattern } from "./column-pattern.js";

/** How a delimited text writes its cells. */
export interface Dialect {
  /** One or two characters. */
  readonly delimiter: string;
  /** undefined: quotes are characters like others. */
  readonly quote: '"' | "'" | undefined;
  /** A backslash takes the meaning from the quote after it. */
  readonly backslash: boolean;
  /** Blanks may stand around quoted cells. */
  readonly padded: boolean;
  readonly newline: "\n" | "\r";
}

/** What the rows of a table have in common. */
export interface Shape {
  /** Cells of the header. */
  readonly width: number;
  /** What the cells of a column look like wherever they hold something, where that is known. */
  readonly patterns: readonly (ColumnPattern | undefined)[];
}

/** Cells of one record of the text, and where the next one begins. */
export interface ParsedRecord {
  readonly kind: "record";
  readonly cells: string[];
  readonly end: number;
  /** Line ends inside its cells. */
  readonly breaks: number;
}

/** `open`: the text ends inside a quoted cell. `broken`: a closing quote is followed by something else than a delimiter. */
export type Parsed = ParsedRecord | { readonly kind: "open" | "broken" };

/** Parses the record at `at` as RFC 4180 has it; `final`: nothing follows `text`. */
export function parseRecord(text: string, at: number, dialect: Dialect, final: boolean): Parsed {
  const { delimiter, newline, quote } = dialect;
  const cells: string[] = [];
  let breaks = 0;
  for (let p = at; ; ) {
    const opening = quote === undefined ? -1 : quoteAt(text, p, dialect);
    if (opening < 0) {
      const nextLine = text.indexOf(newline, p);
      const lineEnd = nextLine < 0 ? text.length : nextLine;
      const next = text.indexOf(delimiter, p);
      if (next >= 0 && next < lineEnd) {
        cells.push(text.slice(p, next));
        p = next + delimiter.length;
        continue;
      }
      cells.push(withoutReturn(text.slice(p, lineEnd), newline));
      return { kind: "record", cells, end: Math.min(lineEnd + 1, text.length), breaks };
    }
    const closing = closingQuote(text, opening + 1, dialect);
    if (closing < 0) return { kind: "open" };
    const inside = text.slice(opening + 1, closing);
    if (inside.includes(newline)) breaks += inside.split(newline).length - 1;
    cells.push(unquote(inside, dialect));
    let after = closing + 1;
    if (dialect.padded) while (text[after] === " ") after++;
    if (text.startsWith(delimiter, after)) {
      p = after + delimiter.length;
      continue;
    }
    if (newline === "\n" && text[after] === "\r" && (text[after + 1] === "\n" || after + 1 === text.length)) after++;
    if (after >= text.length) {
      return final ? { kind: "record", cells, end: text.length, breaks } : { kind: "open" };
    }
    if (text[after] !== newline) return { kind: "broken" };
    return { kind: "record", cells, end: after + 1, breaks };
  }
}

/** Where the quote stands that opens the cell at `at`, or -1. */
function quoteAt(text: string, at: number, { quote, padded }: Dialect): number {
  let p = at;
  if (padded) while (text[p] === " ") p++;
  return text[p] === quote ? p : -1;
}

function closingQuote(text: string, from: number, { quote = '"', backslash }: Dialect): number {
  for (let p = from; ; ) {
    const found = text.indexOf(quote, p);
    if (found < 0) return -1;
    if (backslash && isEscaped(text, found, from)) p = found + 1;
    else if (text[found + 1] === quote) p = found + 2;
    else return found;
  }
}

/** Whether an odd number of backslashes stands before `at`. */
function isEscaped(text: string, at: number, from: number): boolean {
  let before = at;
  while (before > from && text[before - 1] === "\\") before--;
  return (at - before) % 2 === 1;
}

function unquote(inside: string, { quote = '"', backslash }: Dialect): string {
  const plain = inside.includes(quote) ? inside.replaceAll(quote + quote, quote) : inside;
  return backslash && plain.includes("\\") ? plain.replace(/\\(["'\\])/g, "$1") : plain;
}

const withoutReturn = (cell: string, newline: string): string =>
  newline === "\n" && cell.endsWith("\r") ? cell.slice(0, -1) : cell;

/**
 * Cells of a line that breaks the dialect's rules: the first reading that gives a row of the table's shape, of quotes
 * escaped the other way, quotes inside quoted cells that nobody doubled, quotes around a part of a cell, quotes that
 * are characters like others, delimiters after a backslash. undefined: none does.
 */
export function repairLine(line: string, dialect: Dialect, shape: Shape, needed: number): string[] | undefined {
  const text = withoutReturn(line, dialect.newline);
  const quoted: Dialect = { ...dialect, quote: dialect.quote ?? '"', padded: true };
  const readings: (() => string[] | undefined)[] = [
    () => wholeLine(parseRecord(text, 0, { ...quoted, backslash: !quoted.backslash }, true), text),
    () => undoubledQuotes(text, quoted),
    () => partlyQuoted(text, quoted),
    () => text.split(dialect.delimiter).map((cell) => unwrap(cell, quoted)),
    () => escapedDelimiters(text, dialect),
  ];
  let short: string[] | undefined;
  for (const reading of readings) {
    const cells = reading();
    if (cells === undefined || !fitsPatterns(cells, shape)) continue;
    const fitting = trimToWidth(cells, shape.width);
    if (fitting?.length === shape.width) return fitting;
    if (fitting !== undefined && fitting.length >= needed) short ??= fitting;
  }
  return short;
}

function wholeLine(parsed: Parsed, text: string): string[] | undefined {
  return parsed.kind === "record" && parsed.end === text.length ? parsed.cells : undefined;
}

/** Cells whose quotes close only where a delimiter or the line's end follows. */
function undoubledQuotes(line: string, dialect: Dialect): string[] | undefined {
  const { delimiter, quote = '"' } = dialect;
  const cells: string[] = [];
  for (let p = 0; ; ) {
    const opening = quoteAt(line, p, dialect);
    if (opening < 0) {
      const next = line.indexOf(delimiter, p);
      cells.push(line.slice(p, next < 0 ? line.length : next));
      if (next < 0) return cells;
      p = next + delimiter.length;
      continue;
    }
    let closing = opening;
    do {
      closing = line.indexOf(quote, closing + 1);
      if (closing < 0) return undefined;
    } while (closing + 1 < line.length && !line.startsWith(delimiter, closing + 1));
    cells.push(unquote(line.slice(opening + 1, closing), dialect));
    if (closing + 1 >= line.length) return cells;
    p = closing + 1 + delimiter.length;
  }
}

/** Cells in which quotes guard delimiters wherever they stand, and stay. */
function partlyQuoted(line: string, dialect: Dialect): string[] | undefined {
  const { delimiter, quote = '"' } = dialect;
  const cells: string[] = [];
  let start = 0;
  let inside = false;
  for (let p = 0; p < line.length; ) {
    if (line[p] === quote) inside = !inside;
    else if (!inside && line.startsWith(delimiter, p)) {
      cells.push(line.slice(start, p));
      p += delimiter.length;
      start = p;
      continue;
    }
    p++;
  }
  cells.push(line.slice(start));
  return inside ? undefined : cells.map((cell) => unwrap(cell, dialect));
}

function escapedDelimiters(line: string, { delimiter }: Dialect): string[] | undefined {
  if (!line.includes(`\\${delimiter}`)) return undefined;
  const cells: string[] = [];
  for (const part of line.split(delimiter)) {
    const last = cells.at(-1);
    if (last !== undefined && isEscaped(last, last.length, 0))
      cells.push(`${cells.pop()?.slice(0, -1)}${delimiter}${part}`);
    else cells.push(part);
  }
  return cells;
}

/** A cell without the quotes around it, where they are the only ones in it. */
function unwrap(cell: string, dialect: Dialect): string {
  const { quote = '"' } = dialect;
  const text = cell.trim();
  if (text.length < 2 || !text.startsWith(quote) || !text.endsWith(quote)) return cell;
  const inside = text.slice(1, -1);
  return inside.replaceAll(quote + quote, "").includes(quote) ? cell : unquote(inside, dialect);
}

/** Whether quotes stand around whole cells of a line, as RFC 4180 has them, or guard delimiters in it. */
export function hasQuotedCell(line: string, dialect: Dialect): boolean {
  const cells = line.split(dialect.delimiter);
  if (cells.some((cell) => unwrap(cell, dialect) !== cell)) return true;
  const parsed = wholeLine(parseRecord(line, 0, { ...dialect, quote: dialect.quote ?? '"' }, true), line);
  return parsed !== undefined && parsed.length < cells.length;
}

/** At most `width` cells: empty ones behind them go. undefined: there are others. */
export function trimToWidth(cells: string[], width: number): string[] | undefined {
  if (cells.length <= width) return cells;
  for (let i = width; i < cells.length; i++) if (cells[i]?.trim() !== "") return undefined;
  return cells.slice(0, width);
}

function fitsPatterns(cells: readonly string[], { patterns }: Shape): boolean {
  return cells.every((cell, place) => cell.trim() === "" || (patterns[place]?.test(cell) ?? true));
}

/** Whether a line is a whole row by itself, quotes taken as characters like others. */
export function isWholeRow(line: string, { delimiter, newline }: Dialect, shape: Shape): boolean {
  const cells = withoutReturn(line, newline).split(delimiter);
  return cells.length === shape.width && fitsPatterns(cells, shape);
}
