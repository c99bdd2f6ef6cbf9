import {
  type Dialect,
  hasQuotedCell,
  isWholeRow,
  parseRecord,
  repairLine,
  type Shape,
  trimToWidth,
} from "./dialect.js";
import { DAMAGED } from "./encoding.js";
import { detached, RowCount } from "./table.js";

/** A row is at most this long: a quote that is not closed within it is not an opening one. */
const MAX_ROW = 1 << 22;
/** So many lines that are rows by themselves are not the inside of one cell. */
const ROWS_INSIDE = 3;
const LINES_LOOKED_AT = 100;

/**
 * Splits text into rows and keeps the cells at `places`. One bad row costs one row: a line that breaks the dialect's
 * rules is read in other ways, and failing that counted as malformed; a quote that would swallow lines which are
 * rows by themselves is a character like others.
 */
export class RowSplitter {
  readonly count = new RowCount();
  /** Rows that were read against the dialect's rules. */
  repaired = 0;
  /** Rows with the header's number of cells, and with fewer but more than one. */
  exact = 0;
  short = 0;
  /** Rows with one cell more than the header, the first of them a number in quotes: R writes the names of rows so. */
  rowNames = 0;
  /** Rows with a cell that stands in quotes and was taken as it is. */
  quotesKept = 0;
  #columns: (string | null)[][];
  #skipping: string | undefined;
  /** Whether some column shows what is a row and what is prose. */
  readonly #isTelling: boolean;
  readonly #bounds: Int32Array;

  constructor(
    readonly dialect: Dialect,
    readonly shape: Shape,
    readonly places: readonly number[],
    /** Cells without which a row is malformed. */
    readonly needed: number,
    readonly damaged: () => boolean,
    /** Whether `quotesKept` is counted, which costs a look at every line. */
    readonly watchQuotes = false,
  ) {
    this.#bounds = new Int32Array(2 * (places.reduce((most, place) => Math.max(most, place), 0) + 1));
    this.#columns = places.map(() => []);
    this.#isTelling = shape.patterns.some((pattern) => pattern !== undefined);
  }

  /** The cells since the last call. */
  take(): (string | null)[][] {
    const columns = this.#columns;
    this.#columns = this.places.map(() => []);
    return columns;
  }

  /** Splits what is whole in `text` from `from` on; answers where the first row begins that is not. */
  split(text: string, from: number, final: boolean): number {
    const { delimiter, newline, quote } = this.dialect;
    let at = from;
    let delimiterAt = -1;
    let quoteAt = quote === undefined ? text.length : -1;
    while (at < text.length) {
      const found = text.indexOf(newline, at);
      if (found < 0 && !final) return this.#unended(text, at);
      const next = found < 0 ? text.length : found + 1;
      let end = found < 0 ? text.length : found;
      if (newline === "\n" && end > at && text.charCodeAt(end - 1) === 13) end--;
      if (this.#skipping !== undefined) {
        this.#rejectSkipped();
        at = next;
        continue;
      }
      if (isBlank(text, at, end)) {
        at = next;
        continue;
      }
      if (this.damaged() && text.slice(at, end).includes(DAMAGED)) {
        this.count.reject(text.slice(at, end).replaceAll(DAMAGED, ""), "not valid UTF-8");
        at = next;
        continue;
      }
      if (quoteAt < at) quoteAt = indexOrEnd(text, quote ?? "", at);
      if (quoteAt < end) {
        const after = this.#quotedRow(text, at, end, next, final);
        if (after < 0) return at;
        at = after;
        continue;
      }
      // A line without quotes: where its cells begin and end, then the chosen ones.
      const bounds = this.#bounds;
      let cells = 0;
      for (let p = at; ; ) {
        if (delimiterAt < p) delimiterAt = indexOrEnd(text, delimiter, p);
        const stop = Math.min(delimiterAt, end);
        if (2 * cells < bounds.length) {
          bounds[2 * cells] = p;
          bounds[2 * cells + 1] = stop;
        }
        cells++;
        if (stop === end) break;
        p = stop + delimiter.length;
      }
      if (cells === this.shape.width) {
        this.exact++;
        this.#deliverBounds(text, cells);
      } else if (cells < this.shape.width && cells >= this.needed) {
        if (cells > 1) this.short++;
        this.#deliverBounds(text, cells);
      } else this.#odd(text.slice(at, end), text.slice(at, end).split(delimiter));
      if (this.watchQuotes && hasQuotedCell(text.slice(at, end), this.dialect)) this.quotesKept++;
      at = next;
    }
    if (final && this.#skipping !== undefined) this.#rejectSkipped();
    return at;
  }

  #rejectSkipped(): void {
    this.count.reject(this.#skipping ?? "", `a row of more than ${MAX_ROW} characters`);
    this.#skipping = undefined;
  }

  /** The rest of a text that ends without a line end: waits for more, unless the row is longer than any row is. */
  #unended(text: string, at: number): number {
    if (text.length - at <= MAX_ROW) return at;
    this.#skipping ??= text.slice(at, at + 80);
    return text.length;
  }

  /** A row with a quote in its first line [at, end): answers where the next row begins, -1 for: more text is needed. */
  #quotedRow(text: string, at: number, end: number, next: number, final: boolean): number {
    const parsed = parseRecord(text, at, this.dialect, final);
    if (parsed.kind === "record" && (parsed.breaks === 0 || !this.#holdsRows(text, at, parsed.end))) {
      const cells = trimToWidth(parsed.cells, this.shape.width);
      if (cells !== undefined && cells.length >= this.needed) {
        this.#deliver(cells);
        return parsed.end;
      }
      if (parsed.breaks === 0) {
        this.#odd(text.slice(at, end), parsed.cells);
        return next;
      }
    }
    if (parsed.kind === "open" && !final && text.length - at <= MAX_ROW && !this.#rowsFollow(text, next)) return -1;
    const line = text.slice(at, end);
    const cells = repairLine(line, this.dialect, this.shape, this.needed);
    if (cells === undefined) {
      this.count.reject(
        line,
        parsed.kind === "open" ? "a quote is opened and not closed" : "quotes that do not pair up",
      );
    } else {
      this.repaired++;
      this.#deliver(cells);
    }
    return next;
  }

  /** Whether the lines of the record [at, end) are rows by themselves: then its quotes are characters like others. */
  #holdsRows(text: string, at: number, end: number): boolean {
    const { dialect, shape } = this;
    if (shape.width < 2) return false;
    const lines = text
      .slice(at, end)
      .replace(/\r?\n$|\r$/, "")
      .split(dialect.newline, LINES_LOOKED_AT);
    const isRow = (line: string): boolean => isWholeRow(line, dialect, shape);
    // Prose has no line with the table's number of cells and its numbers or codes in their places.
    if (shape.width > 2 && this.#isTelling) return lines.some(isRow);
    return (this.#isTelling || dialect.delimiter === "\t" || lines.length > ROWS_INSIDE) && lines.every(isRow);
  }

  /** Whether the next few lines are rows by themselves, of a shape that no prose has. */
  #rowsFollow(text: string, from: number): boolean {
    const { dialect, shape } = this;
    if (shape.width < 2 || !(this.#isTelling || dialect.delimiter === "\t")) return false;
    let at = from;
    for (let line = 0; line < ROWS_INSIDE; line++) {
      const end = text.indexOf(dialect.newline, at);
      if (end < 0 || !isWholeRow(text.slice(at, end), dialect, shape)) return false;
      at = end + 1;
    }
    return true;
  }

  /** A line whose number of cells is neither the header's nor enough. */
  #odd(line: string, cells: string[]): void {
    const { width } = this.shape;
    const fitting = trimToWidth(cells, width);
    if (fitting !== undefined && fitting.length >= this.needed) {
      this.#deliver(fitting);
      return;
    }
    const repaired = cells.length > width ? repairLine(line, this.dialect, this.shape, this.needed) : undefined;
    if (repaired !== undefined) {
      this.repaired++;
      this.#deliver(repaired);
      return;
    }
    if (cells.length === width + 1 && /^\s*"\d+"/.test(line)) this.rowNames++;
    this.count.reject(line, `${cells.length} cells where the header has ${width}`);
  }

  #deliver(cells: readonly string[]): void {
    if (cells.length === this.shape.width) this.exact++;
    else if (cells.length > 1) this.short++;
    this.count.deliver();
    this.places.forEach((place, i) => {
      const cell = cells[place];
      this.#columns[i]?.push(cell === undefined || cell === "" ? null : detached(cell));
    });
  }

  #deliverBounds(text: string, cells: number): void {
    this.count.deliver();
    for (let i = 0; i < this.places.length; i++) {
      const place = this.places[i]!;
      const start = this.#bounds[2 * place]!;
      const end = this.#bounds[2 * place + 1]!;
      this.#columns[i]!.push(place >= cells || end <= start ? null : detached(text.slice(start, end)));
    }
  }
}

function indexOrEnd(text: string, part: string, from: number): number {
  const found = text.indexOf(part, from);
  return found < 0 ? text.length : found;
}

function isBlank(text: string, at: number, end: number): boolean {
  for (let p = at; p < end; p++) if (text.charCodeAt(p) !== 32) return false;
  return true;
}
