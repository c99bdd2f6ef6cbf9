import { type ColumnPattern, patternOf } from "./column-pattern.js";
import { type Dialect, hasQuotedCell, parseRecord, type Shape } from "./dialect.js";
import { RowSplitter } from "./row-splitter.js";

/** What the first part of a delimited text shows. */
export interface Sniffed {
  readonly dialect: Dialect;
  /** Cells of the first record, which may be a header or a row. */
  readonly first: readonly string[];
  readonly shape: Shape;
  /** Where the first record begins and ends in the text. */
  readonly start: number;
  readonly end: number;
  /** Cells of the rows of the sample after the first record, by column. */
  readonly sample: readonly (readonly (string | null)[])[];
  readonly notes: readonly string[];
}

const DELIMITERS = [",", "\t", ";", "|", "::", "\u0001", " "];
/** Rows of the sample. */
const SAMPLE_ROWS = 2000;
/** From so few cells on that look alike, the others of their column are held to look so too. */
const LEAST_CELLS = 3;

/**
 * Decides delimiter, quote and where the table begins on a sample of many rows: the reading in which most rows have
 * the first record's number of cells and fewest break the rules of quoting. `usual` is the extension's delimiter, which
 * decides only between readings that are equally good. undefined: `text` holds no record.
 */
export function sniffDialect(text: string, whole: boolean, usual: string): Sniffed | undefined {
  const newline = lineEndOf(text);
  const notes: string[] = [];
  const told = /^"?sep=(::|.)"?[ \t;,]*(?:\r\n|\r|\n|$)/i.exec(text);
  let start = told?.[0].length ?? 0;
  if (told !== null) notes.push(`its first line (sep=${told[1]}) names the delimiter`);
  start = skipEmptyLines(text, start, newline, notes);
  const sampleEnd = endOfSample(text, start, newline);
  const limits = { end: sampleEnd, final: whole && sampleEnd === text.length };
  const delimiters = told?.[1] === undefined ? DELIMITERS : [told[1]];
  const bestFrom = (starts: readonly number[]): Reading | undefined =>
    starts
      .flatMap((from) =>
        delimiters.map((delimiter) =>
          delimiters.length === 1 || delimiter === usual || isSplitBy(text, from, delimiter, newline)
            ? readAs(text, from, limits, delimiter, newline)
            : undefined,
        ),
      )
      .filter((reading) => reading !== undefined)
      .reduce<Reading | undefined>((a, b) => (a === undefined || isBetter(b, a, usual) ? b : a), undefined);
  const comments = commentLines(text, start, newline);
  let best = bestFrom(comments > start ? [headerInComment(text, start, comments, newline), comments, start] : [start]);
  if (best !== undefined && best.start > start && holdsRows(text.slice(start, comments), best, newline)) {
    best = bestFrom([start]);
  }
  if (best !== undefined && best.start > start) {
    notes.push("lines before the table that begin with # or % were taken as comments");
  } else if (best !== undefined && !isTable(best)) {
    const later = bestFrom(lineStarts(text, start, newline).slice(1));
    const skipped = text.slice(start, later?.start ?? start).split(newline);
    // A line of nearly as many cells is a header that something is wrong with.
    const isApart = (line: string): boolean =>
      later !== undefined && line.split(later.dialect.delimiter).length < later.shape.width - 1;
    if (later !== undefined && isTable(later) && later.fit > 0.9 && skipped.every(isApart)) {
      notes.push(`the table begins after a line that is none of it: ${skipped[0]?.trim().slice(0, 60)}`);
      best = later;
    }
  }
  if (best === undefined) return undefined;
  const { dialect } = best;
  if (told === null && dialect.delimiter !== usual && best.first.length > 1) {
    notes.push(`its cells are separated by ${nameOf(dialect.delimiter)}`);
  }
  if (best.quotes && dialect.quote === undefined)
    notes.push("quotes in it do not guard cells and were taken as they are");
  if (dialect.quote === "'") notes.push("its cells stand in single quotes");
  if (dialect.backslash) notes.push("its quotes are escaped by backslashes");
  return { ...best, notes };
}

/** A lone CR ends lines only where it is the commoner one: cells may hold line ends of the other kind. */
function lineEndOf(text: string): "\n" | "\r" {
  if (!text.includes("\r")) return "\n";
  const lone = text.match(/\r(?!\n)/g)?.length ?? 0;
  return lone > (text.match(/\n/g)?.length ?? 0) ? "\r" : "\n";
}

interface Reading extends Omit<Sniffed, "notes"> {
  /** Share of rows that fit, from 0 to 1. */
  readonly fit: number;
  /** Whether the sample holds a quote. */
  readonly quotes: boolean;
}

/** Whether a reading finds columns, in rows too. */
const isTable = (reading: Reading): boolean => reading.first.length > 1 && reading.fit > 0.3;

function isBetter(a: Reading, b: Reading, usual: string): boolean {
  if (isTable(a) !== isTable(b)) return isTable(a);
  // Titles of as many words each would make columns of their words.
  const [aBlank, bBlank] = [a.dialect.delimiter === " ", b.dialect.delimiter === " "];
  if (aBlank !== bBlank && isTable(a)) return bBlank;
  if (Math.abs(a.fit - b.fit) > 0.02) return a.fit > b.fit;
  if (a.first.length !== b.first.length) return a.first.length > b.first.length;
  return a.dialect.delimiter === usual && b.dialect.delimiter !== usual;
}

/** Whether the first record has more than one cell. */
function isSplitBy(text: string, from: number, delimiter: string, newline: "\n" | "\r"): boolean {
  const dialect: Dialect = { delimiter, quote: '"', backslash: false, padded: false, newline };
  const parsed = parseRecord(text, from, dialect, true);
  return parsed.kind !== "record" || parsed.cells.length > 1;
}

interface Limits {
  readonly end: number;
  readonly final: boolean;
}

function readAs(
  text: string,
  start: number,
  limits: Limits,
  delimiter: string,
  newline: "\n" | "\r",
): Reading | undefined {
  const body = text.slice(0, limits.end);
  const padded =
    body.includes(`${delimiter} "`) && new RegExp(`(?:^|["\\d])${escapeRegExp(delimiter)} "`, "m").test(body);
  const plain: Dialect = { delimiter, quote: undefined, backslash: false, padded: false, newline };
  const quotes: Dialect[] = body.includes('"')
    ? [
        { ...plain, quote: '"', padded },
        ...(body.includes('\\"') ? [{ ...plain, quote: '"', backslash: true, padded } as const] : []),
        plain,
      ]
    : [{ ...plain, quote: '"' }];
  if (body.includes(`'${delimiter}'`)) {
    const single: Dialect = { ...plain, quote: "'", backslash: body.includes("\\'") };
    const lines = body
      .slice(start)
      .split(newline)
      .filter((line) => line !== "");
    // Equally good readings: the one that explains why nearly every line has cells in single quotes.
    if (lines.filter((line) => hasQuotedCell(line, single)).length > 0.9 * lines.length) quotes.unshift(single);
    else quotes.push(single);
  }
  let best: (Reading & { readonly cost: number }) | undefined;
  for (const dialect of quotes) {
    const reading = readRows(body, start, limits.final, dialect);
    if (reading !== undefined && (best === undefined || reading.cost < best.cost)) best = reading;
  }
  return best;
}

function readRows(
  body: string,
  start: number,
  final: boolean,
  dialect: Dialect,
): (Reading & { readonly cost: number }) | undefined {
  const parsed = parseRecord(body, start, dialect, true);
  const first = parsed.kind === "record" ? parsed : parseRecord(body, start, { ...dialect, quote: undefined }, true);
  if (first.kind !== "record" || (first.end === start && start === body.length)) return undefined;
  const header = first.cells;
  const wanted = Array.from(header, (_, place) => place);
  const patterns = columnPatterns(body, first.end, dialect, header.length);
  const rowsOf = (width: number, known: Shape["patterns"]): { splitter: RowSplitter; left: number } => {
    const splitter = new RowSplitter(dialect, { width, patterns: known }, [0], 1, () => false, dialect.quote !== '"');
    const left = splitter.split(body, first.end, final);
    return { splitter, left: final ? 0 : body.slice(left).split(dialect.newline).length - 1 };
  };
  let width = header.length;
  let { splitter, left } = rowsOf(width, patterns);
  if (splitter.rowNames > 0 && splitter.rowNames >= 0.9 * splitter.count.rows) {
    width++;
    ({ splitter, left } = rowsOf(width, columnPatterns(body, first.end, dialect, width)));
  }
  const rows = splitter.count.rows + left;
  const shortFit = header.length > 2 ? 0.5 : 0;
  const fit = rows === 0 ? 1 : (splitter.exact + shortFit * splitter.short - splitter.repaired * 0.5) / rows;
  const sampler = new RowSplitter(dialect, { width, patterns }, wanted, wanted.length, () => false);
  sampler.split(body, first.end, final);
  return {
    dialect,
    first: header,
    shape: { width, patterns },
    start,
    end: first.end,
    sample: sampler.take(),
    fit,
    quotes: body.includes('"'),
    // A sample may end inside a row of many lines; a quote that swallows the rest of it leaves hundreds.
    cost:
      splitter.count.rows -
      splitter.exact +
      splitter.repaired +
      splitter.quotesKept +
      (left > 20 ? left : 0.1 * left) +
      (parsed.kind === "record" ? 0 : 1),
  };
}

/** What the columns look like in the lines that have the header's number of cells and no quote. */
function columnPatterns(body: string, from: number, dialect: Dialect, width: number): (ColumnPattern | undefined)[] {
  const cells: string[][] = Array.from({ length: width }, () => []);
  for (const line of body.slice(from).split(dialect.newline)) {
    if (line.includes('"')) continue;
    const parts = line.replace(/\r$/, "").split(dialect.delimiter);
    if (parts.length !== width) continue;
    for (let place = 0; place < width; place++) if (parts[place]?.trim()) cells[place]!.push(parts[place]!.trim());
  }
  return cells.map((column) => patternOf(column, LEAST_CELLS));
}

function skipEmptyLines(text: string, from: number, newline: string, notes: string[]): number {
  let at = from;
  let skipped = 0;
  for (;;) {
    const end = text.indexOf(newline, at);
    if (end < 0 || !/^[\s,;|]*$/.test(text.slice(at, end))) break;
    at = end + 1;
    skipped++;
  }
  if (skipped > 0) notes.push(`${skipped} empty ${skipped === 1 ? "line" : "lines"} before the table`);
  return at;
}

/** Where the lines that begin with # or % end. */
function commentLines(text: string, from: number, newline: string): number {
  let at = from;
  while (text[at] === "#" || text[at] === "%") {
    const end = text.indexOf(newline, at);
    if (end < 0) return from;
    at = end + 1;
  }
  return at;
}

/** Whether more than one of the comment lines is a row of the table: then they are none. */
function holdsRows(comments: string, { dialect, shape }: Reading, newline: string): boolean {
  const lines = comments.split(newline).filter((line) => line.split(dialect.delimiter).length === shape.width);
  return shape.width > 1 && lines.length > 1;
}

/** Where the first lines begin. */
function lineStarts(text: string, from: number, newline: string): number[] {
  const starts: number[] = [];
  for (let at = from; starts.length < 10; ) {
    starts.push(at);
    const end = text.indexOf(newline, at);
    if (end < 0) break;
    at = end + 1;
  }
  return starts;
}

/** Where the names begin in the last comment line, which may be the header. */
function headerInComment(text: string, from: number, end: number, newline: string): number {
  const line = Math.max(from, text.lastIndexOf(newline, end - 2) + 1);
  return line + (/^[#%]+\s*/.exec(text.slice(line, end))?.[0].length ?? 0);
}

function endOfSample(text: string, from: number, newline: string): number {
  let at = from;
  for (let row = 0; row < SAMPLE_ROWS; row++) {
    const end = text.indexOf(newline, at);
    if (end < 0) return text.length;
    at = end + 1;
  }
  return at;
}

const escapeRegExp = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

function nameOf(delimiter: string): string {
  const names: Readonly<Record<string, string>> = { "\t": "tabs", " ": "blanks", "\u0001": "the control character 1" };
  return names[delimiter] ?? `"${delimiter}"`;
}
