import { PrismrecError } from "../../../base/errors.js";
import { DAMAGED, type TextSource } from "./encoding.js";
import { isMembers, type Literal, literalText, parseLiteral } from "./literals.js";
import { type Cells, detached, RowCount, type Table } from "./table.js";

/** A record is at most this long: a bracket that is not closed within it never is. */
const MAX_RECORD = 1 << 24;
const ROWS_AT_ONCE = 2048;
const SAMPLE_RECORDS = 1000;

/**
 * Opens JSON records: one object a line, the objects of an array, or objects one after the other, over as many lines
 * as they like; Python's literals are read as well. Numbers stay as they are written. Throws DATA_FORMAT.
 */
export function openJson(path: string, source: TextSource): Table {
  const layout = layoutOf(source.head);
  const keys = new Set<string>();
  let isPython = false;
  const sampler = new RecordSplitter(layout);
  let sampled = 0;
  let unread = "no JSON object";
  for (const text of sampler.split(source.head, source.whole)) {
    const record = readRecord(text);
    if (record === undefined) unread = text.slice(0, 80);
    else {
      for (const key of record.keys()) keys.add(key);
      isPython ||= /[{,]\s*u?'/.test(text);
    }
    if (++sampled === SAMPLE_RECORDS) break;
  }
  const wrapper = sampled <= 1 ? WRAPPED.exec(source.head)?.[1] : undefined;
  if (wrapper !== undefined) {
    throw new PrismrecError("DATA_FORMAT", `${path} is one JSON object, not a list of records`, {
      expected: "one object a line, or an array of objects",
      received: `an array inside "${wrapper}"`,
      hint: `Take the records out first: jq -c '.${wrapper}[]' ${path} > records.jsonl`,
    });
  }
  if (keys.size === 0) {
    throw new PrismrecError("DATA_FORMAT", `${path} is not JSON lines`, {
      expected: 'one object a line, or an array of objects, e.g. {"user": "u1", "item": "i1", "timestamp": 1700000000}',
      received: unread,
      hint: 'Bring it into lines first, as jq -c ".[]" does.',
    });
  }
  const { notes } = source;
  if (layout.kind === "stream") notes.push("it is JSON whose objects are not one a line");
  if (isPython) notes.push("its records are Python literals rather than JSON");
  let count = new RowCount();
  return {
    path,
    format: "jsonl",
    columns: [...keys],
    notes,
    malformed: () => count.malformed(),
    rowOf: (ordinal) => count.rowOf(ordinal),
    async *read(columns, signal) {
      count = new RowCount();
      const splitter = new RecordSplitter(layout);
      let rest = "";
      for await (const piece of source.pieces(signal)) {
        const text = rest + piece;
        yield* readRecords(splitter.split(text, false), columns, count);
        rest = text.slice(splitter.at);
      }
      yield* readRecords(splitter.split(rest, true), columns, count);
    },
  };
}

/** An object that begins with a list of objects. */
const WRAPPED = /^\s*\{\s*"([^"\\]+)"\s*:\s*\[\s*\{/;

function* readRecords(texts: Iterable<string>, columns: readonly string[], count: RowCount): Generator<Cells> {
  const places = new Map(columns.map((column, place) => [column, place]));
  let cells: (string | null)[][] = columns.map(() => []);
  for (const text of texts) {
    const row = readFlat(text, places) ?? readNested(text, columns);
    if (row === undefined) {
      const isDamaged = text.includes(DAMAGED);
      count.reject(text.replaceAll(DAMAGED, ""), isDamaged ? "not valid UTF-8" : "not a JSON object");
      continue;
    }
    count.deliver();
    for (let c = 0; c < cells.length; c++) {
      const cell = row[c] ?? null;
      cells[c]!.push(cell === null ? null : detached(cell));
    }
    if ((cells[0]?.length ?? 0) < ROWS_AT_ONCE) continue;
    yield cells;
    cells = columns.map(() => []);
  }
  if ((cells[0]?.length ?? 0) > 0) yield cells;
}

const FLAT_NUMBER = /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y;

/**
 * The cells of an object that holds nothing but texts without escapes, numbers and words, as nearly all logs do: four
 * times as fast as `parseLiteral`. undefined: it holds something else, or is broken.
 */
function readFlat(text: string, places: ReadonlyMap<string, number>): (string | null)[] | undefined {
  const row: (string | null)[] = [];
  let at = skipBlanks(text, 1);
  if (text.charCodeAt(0) !== OPEN) return undefined;
  for (;;) {
    const keyEnd = text.indexOf('"', at + 1);
    if (text.charCodeAt(at) !== QUOTE || keyEnd < 0) return undefined;
    const key = text.slice(at + 1, keyEnd);
    at = skipBlanks(text, keyEnd + 1);
    if (text.charCodeAt(at) !== COLON || key.includes("\\")) return undefined;
    at = skipBlanks(text, at + 1);
    let cell: string | null = null;
    if (text.charCodeAt(at) === QUOTE) {
      const end = text.indexOf('"', at + 1);
      if (end < 0) return undefined;
      cell = text.slice(at + 1, end);
      if (cell.includes("\\")) return undefined;
      at = end + 1;
    } else if (text.startsWith("null", at)) at += 4;
    else {
      FLAT_NUMBER.lastIndex = at;
      const word = text.startsWith("true", at) ? "true" : text.startsWith("false", at) ? "false" : undefined;
      cell = word ?? FLAT_NUMBER.exec(text)?.[0] ?? null;
      if (cell === null) return undefined;
      at += cell.length;
    }
    const place = places.get(key);
    if (place !== undefined) row[place] = cell;
    at = skipBlanks(text, at);
    const mark = text.charCodeAt(at);
    if (mark === CLOSE) return skipBlanks(text, at + 1) === text.length ? row : undefined;
    if (mark !== COMMA) return undefined;
    at = skipBlanks(text, at + 1);
  }
}

const [OPEN, CLOSE, QUOTE, COLON, COMMA] = [123, 125, 34, 58, 44] as const;

function skipBlanks(text: string, from: number): number {
  let at = from;
  while (text.charCodeAt(at) <= 32) at++;
  return at;
}

function readNested(text: string, columns: readonly string[]): (string | null)[] | undefined {
  const record = readRecord(text);
  return record === undefined ? undefined : columns.map((column) => literalText(record.get(column) ?? null));
}

function readRecord(text: string): ReadonlyMap<string, Literal> | undefined {
  const value = parseLiteral(text);
  return value !== undefined && isMembers(value) ? value : undefined;
}

const isRecord = (text: string): boolean => readFlat(text, new Map()) !== undefined || readRecord(text) !== undefined;

/** `lines`: a record a line. `stream`: records anywhere, the first of which begins with the key `firstKey`. */
type Layout = { readonly kind: "lines" } | { readonly kind: "stream"; readonly firstKey: string | undefined };

/** Records are lines unless the first object goes on beyond its line or shares it with the second. */
function layoutOf(head: string): Layout {
  const [first = "", second = ""] = head
    .split(/\r?\n|\r/, 50)
    .map(recordOnLine)
    .filter((line) => line !== "");
  if (readRecord(first) !== undefined || (!/^[[{]/.test(head.trimStart()) && readRecord(second) !== undefined)) {
    return { kind: "lines" };
  }
  const lines = head
    .split("\n", 50)
    .map(recordOnLine)
    .filter((line) => line !== "");
  const whole = lines.filter((line) => readRecord(line) !== undefined).length;
  if (whole > lines.length / 2 || !/^[\s[]*\{/.test(head)) return { kind: "lines" };
  return { kind: "stream", firstKey: /^[\s[]*\{\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\s*:/.exec(head)?.[1] };
}

/** A line without the brackets and commas that an array has around its records. */
const recordOnLine = (line: string): string =>
  line
    .trim()
    .replace(/^\[\s*|^,\s*/, "")
    .replace(/\s*,$|\s*\]$/, "");

class RecordSplitter {
  /** Where the first record begins that was not whole. */
  at = 0;

  constructor(readonly layout: Layout) {}

  /** The whole records of `text`; `final`: nothing follows it. */
  *split(text: string, final: boolean): Generator<string> {
    this.at = 0;
    if (this.layout.kind === "lines") yield* this.#lines(text, final);
    else yield* this.#stream(text, final, this.layout.firstKey);
  }

  *#lines(text: string, final: boolean): Generator<string> {
    while (this.at < text.length) {
      const found = text.indexOf("\n", this.at);
      if (found < 0 && !final) return;
      const end = found < 0 ? text.length : found;
      const line = text.slice(this.at, end).trim();
      this.at = Math.min(end + 1, text.length);
      if (line === "") continue;
      const record = /^[[,]|[\],]$/.test(line) ? recordOnLine(line) : line;
      if (record !== "") yield record;
    }
  }

  *#stream(text: string, final: boolean, firstKey: string | undefined): Generator<string> {
    for (;;) {
      const start = text.indexOf("{", this.at);
      if (start < 0) {
        // Brackets, commas and blanks between records hold nothing; anything else is a record that cannot be read.
        const stray = text.slice(this.at).replace(/[\s,[\]}]+/g, "");
        if (stray !== "" && final) yield stray;
        if (stray === "" || final) this.at = text.length;
        return;
      }
      const stray = text.slice(this.at, start).replace(/[\s,[\]}]+/g, "");
      if (stray !== "") yield stray;
      this.at = start;
      const end = endOfObject(text, start);
      if (end > 0 && isRecord(text.slice(start, end))) {
        yield text.slice(start, end);
        this.at = end;
        continue;
      }
      // A broken record ends where the next one begins: at the first key of the first record.
      const next = firstKey === undefined ? -1 : nextRecord(text, start + 1, firstKey);
      if (next < 0 && !final && text.length - start < MAX_RECORD && end < 0) return;
      const stop = next >= 0 && (end < 0 || next < end) ? next : end < 0 ? text.length : end;
      yield text.slice(start, stop).replace(/[\s,]+$/, "");
      this.at = stop;
    }
  }
}

const MARKS = /["'{}]/g;

/** Where the object that opens at `start` ends, or -1. */
function endOfObject(text: string, start: number): number {
  let depth = 0;
  MARKS.lastIndex = start;
  for (let mark = MARKS.exec(text); mark !== null; mark = MARKS.exec(text)) {
    if (mark[0] === "{") depth++;
    else if (mark[0] === "}") {
      if (--depth === 0) return mark.index + 1;
    } else {
      const end = endOfString(text, mark.index);
      if (end < 0) return -1;
      MARKS.lastIndex = end;
    }
  }
  return -1;
}

function endOfString(text: string, start: number): number {
  const quote = text[start] ?? '"';
  for (let at = start + 1; ; ) {
    const end = text.indexOf(quote, at);
    if (end < 0) return -1;
    let slashes = 0;
    while (text[end - 1 - slashes] === "\\") slashes++;
    if (slashes % 2 === 0) return end + 1;
    at = end + 1;
  }
}

function nextRecord(text: string, from: number, firstKey: string): number {
  for (let at = from; ; ) {
    const key = text.indexOf(firstKey, at);
    if (key < 0) return -1;
    const open = /\{\s*$/.exec(text.slice(Math.max(from, key - 200), key));
    if (open !== null && /^\s*:/.test(text.slice(key + firstKey.length, key + firstKey.length + 20))) {
      return key - open[0].length;
    }
    at = key + firstKey.length;
  }
}
