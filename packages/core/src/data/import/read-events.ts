import { PrismrecError } from "../../base/errors.js";
import type { RunOptions } from "../../base/run-options.js";
import { DropCounter } from "./drops.js";
import type { ImportOptions } from "./import.js";
import { readInteractions } from "./interactions.js";
import { withDuckDb } from "./tables/duckdb.js";

/** Who took what and when, with nothing left out but what cannot be read. */
export interface TimedEvents {
  readonly userIds: readonly string[];
  readonly itemIds: readonly string[];
  /** [events] places in `userIds`. */
  readonly users: Uint32Array;
  /** [events] places in `itemIds`. */
  readonly items: Uint32Array;
  /** [events] microseconds since 1970. */
  readonly times: BigInt64Array;
  readonly rowsRead: number;
  readonly warnings: readonly string[];
}

/**
 * Reads a table of events (CSV, TSV, JSONL or Parquet) as an import does, for what is to be compared with by time.
 *
 * @throws PrismrecError FILE_NOT_FOUND, DATA_EMPTY; DATA_FORMAT for a table that cannot be read or has no times
 */
export async function readTimedEvents(
  path: string,
  options: Pick<ImportOptions, "columns" | "dateOrder"> = {},
  run: RunOptions = {},
): Promise<TimedEvents> {
  return await withDuckDb(async (connection) => {
    const raw = await readInteractions(connection, { ...options, interactions: path }, new DropCounter(), run);
    const { userIds, itemIds, users, items, rowsRead, warnings, ticks } = raw;
    if (raw.times === undefined) {
      throw new PrismrecError("DATA_FORMAT", `${path} does not say when its events happened`, {
        expected: "a column of times",
        received: raw.noTimes,
        hint: "Only what happened after a list was shown can be counted for it.",
      });
    }
    const times = raw.times.map((time) => (time * 1_000_000n) / BigInt(ticks));
    return { userIds, itemIds, users, items, times, rowsRead, warnings };
  });
}
