import { PrismrecError } from "../base/errors.js";
import { type TextColumn, textColumn } from "../data/columns.js";
import { readTime, unitOf } from "../data/read-time.js";
import type { HistoryEntry, HistoryEvent } from "./types.js";

/** Of times when there is no log to go by: microseconds, as the import makes of texts. */
const DEFAULT_TICKS = 1_000_000n;

/** A history as it was asked for, in the order of its events. */
export interface GivenHistory {
  readonly ids: readonly string[];
  readonly events?: TextColumn;
  readonly times?: BigInt64Array;
}

/**
 * Puts a history in order: by time where every entry has one (equal times as given), as given where none has.
 *
 * @param timestamps those of the log: the request's times are brought to their unit
 * @throws PrismrecError INVALID_ARGUMENT where some entries have a time and others none, or a time that cannot be read
 */
export function orderHistory(history: readonly HistoryEntry[], timestamps: BigInt64Array | undefined): GivenHistory {
  const entries = history.map((entry): HistoryEvent => (typeof entry === "string" ? { item: entry } : entry));
  const timed = entries.filter(({ time }) => time !== undefined).length;
  if (timed > 0 && timed < entries.length) {
    const without = entries.findIndex(({ time }) => time === undefined);
    throw new PrismrecError("INVALID_ARGUMENT", "some events of a history have a time and others none", {
      expected: "a time for each of them, or for none",
      received: `${timed} of ${entries.length} with a time; none for the ${without + 1}. of them, ${entries[without]!.item}`,
      hint: "Without times the order is the one given, oldest first.",
    });
  }
  const ticks = timestamps?.[0] === undefined ? DEFAULT_TICKS : unitOf(timestamps[0]);
  const times = timed === 0 ? undefined : entries.map(({ time }) => timeOf(time!, ticks));
  const order = Array.from(entries.keys());
  if (times !== undefined) order.sort((a, b) => (times[a]! < times[b]! ? -1 : times[a]! > times[b]! ? 1 : a - b));
  return {
    ids: order.map((place) => entries[place]!.item),
    ...(entries.every(({ event }) => event === undefined)
      ? {}
      : { events: textColumn(order.map((place) => entries[place]!.event ?? "")) }),
    ...(times === undefined ? {} : { times: BigInt64Array.from(order, (place) => times[place]!) }),
  };
}

/**
 * Whether an event that is to be part of a history later can be.
 *
 * @throws PrismrecError INVALID_ARGUMENT for a time that cannot be read
 */
export function checkEvent({ time }: HistoryEvent): void {
  if (time !== undefined) timeOf(time, undefined);
}

/** @param ticks of the log a second; undefined: its times are of no unit that is known, and whole numbers are taken as they are */
function timeOf(time: number | bigint | string, ticks: bigint | undefined): bigint {
  const reading = readTime(String(time).trim());
  if (reading?.kind === "instant") return (reading.micros * (ticks ?? DEFAULT_TICKS)) / 1_000_000n;
  if (reading?.kind === "number") {
    const { whole, nanos } = reading;
    const unit = unitOf(whole);
    if (unit === undefined || ticks === undefined) return whole;
    return (whole * ticks) / unit + (BigInt(nanos) * ticks) / unit / 1_000_000_000n;
  }
  throw new PrismrecError("INVALID_ARGUMENT", "the time of an event cannot be read", {
    expected: "a number as in the log, or a date that can be read in one way only, such as 2026-03-01T12:00:00Z",
    received: String(time),
  });
}
