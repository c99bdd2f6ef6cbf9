import { PrismrecError } from "../../base/errors.js";
import type { ImportOptions } from "./import.js";
import { type ColumnTimes, TimeColumn } from "./timestamps.js";

/** Which events count, in the unit of the log's times. */
export interface Period {
  /** The first instant that counts. */
  readonly since?: bigint;
  /** The first instant that counts no more. */
  readonly until?: bigint;
}

/**
 * The period of `since` and `until`, each a date or a time in any form that a log may have; a number is one in the log's
 * unit, or in the unit that its size shows.
 *
 * @throws PrismrecError CONFIG_INVALID for what is no time, a period that is none, or where the log has no times
 */
export function readPeriod(options: ImportOptions, times: ColumnTimes | undefined, noTimes: string): Period {
  const { since, until } = options;
  if (since === undefined && until === undefined) return {};
  if (times === undefined) {
    throw new PrismrecError("CONFIG_INVALID", "since and until need times, and the log has none", {
      expected: "a column of times",
      received: noTimes,
      hint: "Name the column with --time-column, or leave --since and --until out.",
    });
  }
  const period = {
    ...(since === undefined ? {} : { since: instantOf("since", since, times, options) }),
    ...(until === undefined ? {} : { until: instantOf("until", until, times, options) }),
  };
  if (period.since !== undefined && period.until !== undefined && period.since >= period.until) {
    throw new PrismrecError("CONFIG_INVALID", "the period from since to until holds no instant", {
      expected: "since before until",
      received: `since ${since}, until ${until}`,
    });
  }
  return period;
}

function instantOf(name: "since" | "until", text: string, log: ColumnTimes, { dateOrder }: ImportOptions): bigint {
  const column = new TimeColumn();
  const isTime = column.push(text.trim());
  const read = column.finish(dateOrder);
  const [value] = read.values;
  if (!isTime || value === undefined || !read.known(0) || read.undecided !== undefined) {
    throw new PrismrecError("CONFIG_INVALID", `${name} is not a time`, {
      expected: "a date such as 2026-11-30, a date and a time of day, or a number as the log has it",
      received: text,
      ...(read.undecided === undefined ? {} : { hint: "Write the year first, or say --date-order." }),
    });
  }
  if (read.isEpoch && log.isEpoch) return inUnit(value, BigInt(read.ticksPerSecond), BigInt(log.ticksPerSecond));
  if (/^[+-]?[\d.,]+$/.test(text.trim())) return inUnit(value, read.unitless, log.unitless);
  throw new PrismrecError("CONFIG_INVALID", `${name} is a date, and the numbers of the log are no Unix times`, {
    expected: "a number as the log has it",
    received: text,
  });
}

/** An instant in another unit; in a coarser one the first that is not before it. */
function inUnit(value: bigint, from: bigint, to: bigint): bigint {
  const scaled = value * to;
  return scaled / from + (scaled % from > 0n ? 1n : 0n);
}
