import { PrismrecError } from "../../../base/errors.js";
import { isNumber } from "./column-pattern.js";
import type { TextSource } from "./encoding.js";
import { type Header, readHeader } from "./header.js";
import { RowSplitter } from "./row-splitter.js";
import { type Sniffed, sniffDialect } from "./sniff.js";
import { type Cells, RowCount, type Table } from "./table.js";

/** Opens delimited text: its dialect, its header and its rows are read off a sample. Throws DATA_EMPTY or DATA_FORMAT. */
export function openDelimited(path: string, source: TextSource, usual: string): Table {
  const sniffed = sniffDialect(source.head, source.whole, usual);
  if (sniffed === undefined) {
    throw new PrismrecError("DATA_EMPTY", `${path} holds no rows`, {
      expected: "a header and at least one row",
      received: "empty lines",
    });
  }
  const header = readHeader(sniffed.first, sniffed.sample, sniffed.shape.width);
  if (header === undefined) throw noHeader(path, sniffed);
  const all = [...header.columns, ...header.derived.map(({ column }) => column)];
  const repeated = all.find((column, place) => all.indexOf(column) !== place);
  if (repeated !== undefined) {
    if (isNumber(repeated)) throw noHeader(path, sniffed);
    throw new PrismrecError("DATA_FORMAT", `${path} has two columns of one name`, { received: `"${repeated}" twice` });
  }
  let count = new RowCount();
  let repaired = 0;
  return {
    path,
    format: sniffed.dialect.delimiter === "\t" ? "tsv" : "csv",
    columns: all,
    get notes() {
      const rows = repaired === 1 ? "1 row" : `${repaired} rows`;
      const repairs =
        repaired === 0 ? [] : [`${rows} with quotes or delimiters out of place: read as far as they make sense`];
      return [...source.notes, ...sniffed.notes, ...header.notes, ...repairs];
    },
    malformed: () => count.malformed(),
    rowOf: (ordinal) => count.rowOf(ordinal),
    async *read(columns, signal, needed = columns.length) {
      const plan = planColumns(columns, header);
      const { places } = planColumns(columns.slice(0, needed), header);
      const cells = Math.max(0, ...places) + 1;
      const splitter = new RowSplitter(sniffed.dialect, sniffed.shape, plan.places, cells, source.damaged);
      count = splitter.count;
      let skip = header.present ? sniffed.end : sniffed.start;
      let rest = "";
      for await (const piece of source.pieces(signal)) {
        const text = rest + piece;
        if (text.length < skip) {
          rest = text;
          continue;
        }
        const end = splitter.split(text, skip, false);
        skip = 0;
        rest = text.slice(end);
        yield* chunk(splitter, plan);
      }
      splitter.split(rest, skip, true);
      yield* chunk(splitter, plan);
      repaired = splitter.repaired;
    },
  };
}

function* chunk(splitter: RowSplitter, plan: Plan): Generator<Cells> {
  const cells = splitter.take();
  if ((cells[0]?.length ?? 0) > 0) yield plan.outputs.map((output) => output(cells));
}

interface Plan {
  /** Cells of a row that are read. */
  readonly places: readonly number[];
  /** Each chosen column from the cells at `places`. */
  readonly outputs: readonly ((cells: Cells) => readonly (string | null)[])[];
}

function planColumns(columns: readonly string[], header: Header): Plan {
  const places: number[] = [];
  const slotOf = (place: number): number => {
    if (!places.includes(place)) places.push(place);
    return places.indexOf(place);
  };
  const outputs = columns.map((column): Plan["outputs"][number] => {
    const derived = header.derived.find((one) => one.column === column);
    if (derived !== undefined) {
      const slots = derived.from.map(slotOf);
      return (cells) =>
        (cells[slots[0]!] ?? []).map((_, r) => derived.make(slots.map((slot) => cells[slot]?.[r] ?? null)));
    }
    const place = header.columns.indexOf(column);
    const slot = slotOf(place);
    const convert = header.convert.get(place);
    if (convert === undefined) return (cells) => cells[slot] ?? [];
    return (cells) => (cells[slot] ?? []).map((cell) => (cell === null ? null : convert(cell)));
  });
  return { places, outputs };
}

function noHeader(path: string, { first, dialect }: Sniffed): PrismrecError {
  return new PrismrecError("DATA_FORMAT", `${path} has no header line`, {
    expected: "a first line with the names of the columns, as user_id,item_id,timestamp",
    received: `a first line that looks like a row: ${first.join(dialect.delimiter).slice(0, 80)}`,
    hint: `Put the names before it, separated as the rows are: sed '1i user_id${dialect.delimiter}item_id' in > out.`,
  });
}
