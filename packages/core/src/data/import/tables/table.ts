export type TableFormat = "csv" | "tsv" | "jsonl" | "parquet";

/** A row that could not be split into its columns. */
export interface MalformedRow {
  /** 1-based data row: the header and empty lines are not counted. */
  readonly row: number;
  /** How the row begins. */
  readonly text: string;
  /** What is wrong with it. */
  readonly reason: string;
}

export interface MalformedRows {
  /** Exact, however many they are. */
  readonly count: number;
  /** The first few. */
  readonly examples: readonly MalformedRow[];
}

/** Chunks of columns: `cells[c][r]` is null where the file holds nothing. */
export type Cells = readonly (readonly (string | null)[])[];

/** A table file whose header has been read: every cell comes out as text, in file order. */
export interface Table {
  readonly path: string;
  readonly format: TableFormat;
  readonly columns: readonly string[];
  /**
   * What was decided about the file that is not the ordinary, a sentence each: its encoding, a delimiter that its
   * extension does not say, names given to columns without a header, and the like. May grow until `read` has ended.
   */
  readonly notes: readonly string[];
  /** Columns of 32-bit floating point, which a time does not fit in; absent where the format has no such thing. */
  readonly float32?: ReadonlySet<string>;
  /**
   * Streams the chosen columns in chunks. Every row of the file is either delivered or counted by `malformed()`: a row
   * short of cells that nobody asked for is delivered, a row that lacks one of the first `needed` chosen cells (all of
   * them unless told otherwise) is not.
   */
  read(columns: readonly string[], signal?: AbortSignal, needed?: number): AsyncIterable<Cells>;
  /** Rows that were not delivered; complete once `read` has ended. */
  malformed(): MalformedRows;
  /** The data row of the n-th delivered row (both from 1): the malformed ones before it count too. */
  rowOf(ordinal: number): number;
}

const EXAMPLES = 5;

/** Counts the rows of one reading: which were malformed, in four bytes each, and what the first of them held. */
export class RowCount {
  #delivered = 0;
  #malformedRows = new Uint32Array(16);
  #malformed = 0;
  readonly #examples: MalformedRow[] = [];

  /** Data rows so far. */
  get rows(): number {
    return this.#delivered + this.#malformed;
  }

  deliver(rows = 1): void {
    this.#delivered += rows;
  }

  reject(text: string, reason: string): void {
    if (this.#malformed === this.#malformedRows.length) {
      const grown = new Uint32Array(this.#malformed * 2);
      grown.set(this.#malformedRows);
      this.#malformedRows = grown;
    }
    const row = this.rows + 1;
    this.#malformedRows[this.#malformed++] = row;
    if (this.#examples.length < EXAMPLES) this.#examples.push({ row, text: text.trim().slice(0, 80), reason });
  }

  malformed(): MalformedRows {
    return { count: this.#malformed, examples: this.#examples };
  }

  rowOf(ordinal: number): number {
    // The k-th malformed row (from 0) has row - 1 - k delivered rows before it.
    let low = 0;
    let high = this.#malformed;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#malformedRows[middle]! - 1 - middle < ordinal) low = middle + 1;
      else high = middle;
    }
    return ordinal + low;
  }
}

/** V8 keeps a slice of 13 characters or more as a view of its whole chunk: an id that is kept must not keep a chunk. */
export function detached(cell: string): string {
  return cell.length < 13 ? cell : ` ${cell}`.slice(1);
}
