import { isDayNumber, isNoTime, isTimeOfDay, readTime, unitOf } from "../read-time.js";
import type { Table } from "./tables/table.js";

const SAMPLE_ROWS = 10_000;
const SAMPLE_CHARACTERS = 1 << 24;
/** A time of a log: between 1990 and 2042. */
const FIRST_SECOND = 631_152_000;
const LAST_SECOND = 2_272_147_200;

/** What the first rows of a file hold, column by column; cells are trimmed. */
export interface Sample {
  readonly columns: readonly string[];
  readonly rows: number;
  /** [columns][rows] */
  readonly cells: readonly (readonly string[])[];
  profile(column: string): ColumnProfile;
}

/** What the values of a column look like, whatever its name; shares are of the filled cells. */
export interface ColumnProfile {
  readonly column: string;
  readonly filled: number;
  readonly distinct: number;
  readonly numericShare: number;
  /** Dates, or numbers that are Unix times between 1990 and 2042. */
  readonly timeShare: number;
  /** Dates that carry no time of day. */
  readonly dayShare: number;
  readonly timeOfDayShare: number;
  readonly meanLength: number;
}

/** Reads the first rows of a table: ten thousand, or fewer where they are long. Missing cells are empty ones. */
export async function sampleTable(table: Table, signal?: AbortSignal): Promise<Sample> {
  const { columns } = table;
  const cells: string[][] = columns.map(() => []);
  let characters = 0;
  let rows = 0;
  for await (const chunk of table.read(columns, signal, 0)) {
    const count = chunk[0]?.length ?? 0;
    for (let r = 0; r < count && rows < SAMPLE_ROWS && characters < SAMPLE_CHARACTERS; r++, rows++) {
      for (let c = 0; c < columns.length; c++) {
        const cell = chunk[c]?.[r]?.trim() ?? "";
        cells[c]!.push(cell);
        characters += cell.length;
      }
    }
    if (rows >= SAMPLE_ROWS || characters >= SAMPLE_CHARACTERS) break;
  }
  const profiles = new Map<string, ColumnProfile>();
  return {
    columns,
    rows,
    cells,
    profile(column) {
      const known = profiles.get(column);
      if (known !== undefined) return known;
      const made = profileOf(column, cells[columns.indexOf(column)] ?? []);
      profiles.set(column, made);
      return made;
    },
  };
}

function profileOf(column: string, cells: readonly string[]): ColumnProfile {
  const filled = cells.filter((cell) => !isNoTime(cell));
  let [numeric, times, days, clocks, length] = [0, 0, 0, 0, 0];
  for (const cell of filled) {
    length += cell.length;
    const reading = readTime(cell);
    if (reading === undefined) {
      if (isTimeOfDay(cell)) clocks++;
    } else if (reading.kind === "number") {
      numeric++;
      const unit = unitOf(reading.whole);
      const seconds = unit === undefined ? 0 : Number(reading.whole / unit);
      if (seconds >= FIRST_SECOND && seconds < LAST_SECOND) times++;
      else if (isDayNumber(cell)) {
        times++;
        days++;
      }
    } else {
      times++;
      if (!reading.clock) days++;
    }
  }
  const share = (count: number): number => (filled.length === 0 ? 0 : count / filled.length);
  return {
    column,
    filled: filled.length,
    distinct: new Set(filled).size,
    numericShare: share(numeric),
    timeShare: share(times),
    dayShare: share(days),
    timeOfDayShare: share(clocks),
    meanLength: share(length),
  };
}
