/** How `01/02/2019` is to be read. */
export type DateOrder = "day-first" | "month-first";

/**
 * What one text says about an instant. A number says nothing about its unit and `1/2/2019` not which of the two is the
 * month: both are settled over the whole column.
 */
export type TimeReading =
  | { readonly kind: "number"; readonly whole: bigint; readonly nanos: number; readonly rounded: boolean }
  | { readonly kind: "instant"; readonly micros: bigint; readonly zoned: boolean; readonly clock: boolean }
  | {
      readonly kind: "two-way";
      readonly date: TwoWayDate;
      readonly dots: boolean;
      readonly zoned: boolean;
      readonly clock: boolean;
    };

/** A day and a month of which either may be the first. */
export interface TwoWayDate {
  readonly first: number;
  readonly second: number;
  readonly year: number;
  /** Of the day, the zone already taken off. */
  readonly micros: bigint;
}

/** Microseconds. */
export const DAY = 86_400_000_000n;
const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

const CLOCK = String.raw`(?<hour>\d{1,2}):(?<minute>\d{2})(?::(?<second>\d{2})(?:[.,](?<fraction>\d{1,9}))?)?\s*(?<half>[ap]\.?m\.?)?`;
const ZONE = String.raw`\s*(?<zone>Z|UTC|GMT|(?:UTC|GMT)?[+-]\d{1,2}(?::?\d{2})?)(?:\s*\([^)]*\)|\[[^\]]*\]|(?<=\d)\s+[A-Z]{3,5})?`;
const WEEKDAY = String.raw`(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,?\s+)?`;
const MONTH = "(?<name>[a-z]{3,9})";
const NUMBER_DAY = String.raw`(?<day>\d{1,2})(?:st|nd|rd|th)?`;
const AT_CLOCK = String.raw`(?:(?:[T,]?\s*|\s+at\s+)(?<=[T,\s])${CLOCK}(?:${ZONE})?)?`;

/** Texts that name their day without doubt. */
const DATED = [
  String.raw`(?<year>\d{4})(?<mark>[-/.])(?<month>\d{1,2})\k<mark>(?<day>\d{1,2})${AT_CLOCK}`,
  String.raw`(?<year>\d{4})(?<month>\d{2})(?<day>\d{2})[T ](?<hour>\d{2})(?<minute>\d{2})(?<second>\d{2})?(?:[.,](?<fraction>\d{1,9}))?(?:${ZONE})?`,
  String.raw`(?<year>\d{4})(?<month>\d{2})(?<day>\d{2})${AT_CLOCK}`,
  String.raw`${NUMBER_DAY}/${MONTH}/(?<year>\d{4})[: ]${CLOCK}(?:${ZONE})?`,
  String.raw`${WEEKDAY}${NUMBER_DAY}[\s-]+${MONTH}[.,]?[\s-]+(?<year>\d{4})${AT_CLOCK}`,
  String.raw`${WEEKDAY}${MONTH}\.?\s+${NUMBER_DAY},?\s+(?<year>\d{4})${AT_CLOCK}`,
  String.raw`${WEEKDAY}${MONTH}\s+${NUMBER_DAY}\s+${CLOCK}(?:${ZONE})?\s+(?<year>\d{4})`,
  String.raw`(?<month>\d{1,2}) (?<day>\d{1,2}), (?<year>\d{4})`,
].map((pattern) => new RegExp(`^${pattern}$`, "i"));
const TWO_WAY = new RegExp(
  String.raw`^(?<first>\d{1,2})(?<mark>[-/.])(?<second_>\d{1,2})\k<mark>(?<year>\d{4}|\d{2})${AT_CLOCK}$`,
  "i",
);
const DATE_OF_JSON = /^\/Date\((-?\d{1,15})(?:[+-]\d{4})?\)\/$/;

const INTEGER = /^[+-]?\d{1,19}$/;
const DECIMAL = /^([+-]?)(\d{0,19})(?:[.,](\d*))?(?:e([+-]?\d{1,2}))?$/i;
const CLOCK_ALONE = new RegExp(`^${CLOCK}(?:${ZONE})?$`, "i");
const NO_TIME = /^(?:0000-00-00(?: 00:00:00)?|nan|nat|null|none|n\/?a|<na>|#n\/a|nil|undefined|\\n|-)?$/i;

/** Whether a cell says that there is no time, in one of the ways that tools write it. */
export function isNoTime(text: string): boolean {
  return NO_TIME.test(text);
}

/** Whether a text is a day written as one number, such as 20191001. */
export function isDayNumber(text: string): boolean {
  const [, year, month, day] = /^((?:19|20)\d{2})(\d{2})(\d{2})$/.exec(text) ?? [];
  return year !== undefined && midnightOf(Number(year), Number(month), Number(day)) !== undefined;
}

/** Whether a text is a time of day without a date. */
export function isTimeOfDay(text: string): boolean {
  return CLOCK_ALONE.test(text);
}

/** Reads one text on its own; undefined where it is no time in any known form. A text without a zone is UTC. */
export function readTime(text: string): TimeReading | undefined {
  if (INTEGER.test(text)) return numberOf(BigInt(text.startsWith("+") ? text.slice(1) : text), 0, false);
  return readDecimal(text) ?? readDate(text);
}

function numberOf(whole: bigint, nanos: number, rounded: boolean): TimeReading | undefined {
  return BigInt.asIntN(64, whole) === whole ? { kind: "number", whole, nanos, rounded } : undefined;
}

function readDecimal(text: string): TimeReading | undefined {
  const match = DECIMAL.exec(text);
  if (match === null) return undefined;
  const [, sign, before = "", after = "", exponent] = match;
  if (before + after === "") return undefined;
  const shift = Number(exponent ?? 0);
  if (shift < 0) return undefined;
  const digits = before + after.padEnd(shift, "0").slice(0, shift);
  const fraction = after.slice(shift);
  if (digits.length > 25) return undefined;
  const whole = BigInt(digits === "" ? "0" : digits);
  const nanos = Number(fraction.slice(0, 9).padEnd(9, "0"));
  // 1.50763E+12 names fewer digits than the number has: a spreadsheet has rounded it.
  const rounded = shift > after.length && digits.length >= 9;
  return sign === "-" ? numberOf(-whole, -nanos, rounded) : numberOf(whole, nanos, rounded);
}

function readDate(text: string): TimeReading | undefined {
  for (const form of DATED) {
    const groups = form.exec(text)?.groups;
    if (groups === undefined) continue;
    const { year, month, name, day } = groups;
    const number = month === undefined ? MONTHS.indexOf(name?.slice(0, 3).toLowerCase() ?? "") + 1 : Number(month);
    const clock = readClock(groups);
    const midnight = midnightOf(Number(year), number, Number(day));
    if (clock === undefined || midnight === undefined) return undefined;
    return { kind: "instant", micros: midnight + clock.micros, zoned: clock.zoned, clock: groups.hour !== undefined };
  }
  const two = TWO_WAY.exec(text)?.groups;
  if (two !== undefined) {
    const clock = readClock(two);
    if (clock === undefined) return undefined;
    const [first, second, written] = [Number(two.first), Number(two.second_), Number(two.year)];
    const year = two.year?.length === 2 ? (written < 70 ? 2000 : 1900) + written : written;
    const date = { first, second, year, micros: clock.micros };
    if (twoWay(date, "day-first") === undefined && twoWay(date, "month-first") === undefined) return undefined;
    return { kind: "two-way", date, dots: two.mark === ".", zoned: clock.zoned, clock: two.hour !== undefined };
  }
  const milliseconds = DATE_OF_JSON.exec(text)?.[1];
  return milliseconds === undefined
    ? undefined
    : { kind: "instant", micros: BigInt(milliseconds) * 1000n, zoned: true, clock: true };
}

/** The time of day that the groups of a pattern name; undefined where there is none such. */
export function readClock(groups: Record<string, string | undefined>): { micros: bigint; zoned: boolean } | undefined {
  const { hour: written = "0", minute = "0", second = "0", fraction = "", half, zone } = groups;
  let hour = Number(written);
  if (half !== undefined) {
    if (hour < 1 || hour > 12) return undefined;
    hour = (hour % 12) + (/^p/i.test(half) ? 12 : 0);
  }
  const seconds = hour * 3600 + Number(minute) * 60 + Number(second);
  if (Number(minute) > 59 || Number(second) > 60 || seconds > 86_400) return undefined;
  const parts = /^(?:utc|gmt)?([+-])(\d{1,2}):?(\d{2})?$/i.exec(zone ?? "");
  const [, sign, hours = "0", minutes = "0"] = parts ?? [];
  if (Number(hours) > 18 || Number(minutes) > 59) return undefined;
  const offset = (sign === "-" ? -1 : 1) * (Number(hours) * 3600 + Number(minutes) * 60);
  const micros = BigInt(seconds - offset) * 1_000_000n + BigInt(fraction.padEnd(6, "0").slice(0, 6));
  return { micros, zoned: zone !== undefined };
}

/** Microseconds from 1970 to a day's start in UTC; undefined for a day that does not exist, such as 31 February. */
export function midnightOf(year: number, month: number, day: number): bigint | undefined {
  if (year < 100 || month < 1 || month > 12 || day < 1) return undefined;
  const milliseconds = Date.UTC(year, month - 1, day);
  return new Date(milliseconds).getUTCDate() === day ? BigInt(milliseconds) * 1000n : undefined;
}

/** Microseconds since 1970 of a two-way date; undefined where there is no such day. */
export function twoWay({ first, second, year, micros }: TwoWayDate, order: DateOrder): bigint | undefined {
  const midnight = order === "day-first" ? midnightOf(year, second, first) : midnightOf(year, first, second);
  return midnight === undefined ? undefined : midnight + micros;
}

/** Units of a Unix time a second: seconds, milliseconds, microseconds, nanoseconds. */
const UNITS = [1n, 1_000n, 1_000_000n, 1_000_000_000n] as const;
export type Unit = (typeof UNITS)[number];

/** The unit in which a number is a time between 1973 and 2286, if there is one: these ranges do not meet. */
export function unitOf(value: bigint): Unit | undefined {
  const size = Math.abs(Number(value));
  return UNITS.find((unit) => size >= 1e8 * Number(unit) && size < 1e10 * Number(unit));
}

/** A minute in the unit of a log's times; 0 where they are of no unit that is known, such as the numbers of days. */
export function minuteOf(times: BigInt64Array): bigint {
  return times[0] === undefined ? 0n : 60n * (unitOf(times[0]) ?? 0n);
}

/** Units of an integer time a second, judged by the size of a typical value of our age: 1, 1e3, 1e6 or 1e9. */
export function ticksPerSecond(typical: bigint): number {
  const size = typical < 0n ? -typical : typical;
  if (size < 100_000_000_000n) return 1;
  if (size < 100_000_000_000_000n) return 1e3;
  return size < 100_000_000_000_000_000n ? 1e6 : 1e9;
}
