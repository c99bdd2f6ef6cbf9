import {
  DAY,
  type DateOrder,
  midnightOf,
  readClock,
  readTime,
  type TwoWayDate,
  ticksPerSecond,
  twoWay,
  type Unit,
  unitOf,
} from "../read-time.js";
import { Int64Column, SparseInt32Column } from "./growing.js";

/** Bits of the microseconds in a packed two-way date; the offset keeps times before midnight UTC positive. */
const CLOCK_BITS = 38n;
const CLOCK_OFFSET = 1n << 36n;

/** A two-way date as one 64-bit number, so that a column of them costs no object each. */
function pack({ first, second, year, micros }: TwoWayDate): bigint {
  return (BigInt((year << 10) | (first << 5) | second) << CLOCK_BITS) | (micros + CLOCK_OFFSET);
}

function unpack(packed: bigint): TwoWayDate {
  const date = Number(packed >> CLOCK_BITS);
  const micros = (packed & ((1n << CLOCK_BITS) - 1n)) - CLOCK_OFFSET;
  return { first: (date >> 5) & 31, second: date & 31, year: date >> 10, micros };
}

const UNIT_NAMES: ReadonlyMap<Unit, string> = new Map([
  [1n, "seconds"],
  [1_000n, "milliseconds"],
  [1_000_000n, "microseconds"],
  [1_000_000_000n, "nanoseconds"],
]);

/** Times of a column, in one unit. */
export interface ColumnTimes {
  /** [pushed texts] */
  readonly values: BigInt64Array;
  /** Whether the text at a place was read: not for the missing, the unreadable, and those that fit no common unit. */
  known(place: number): boolean;
  readonly ticksPerSecond: number;
  /** Whether the values count from 1970; else only their order means something. */
  readonly isEpoch: boolean;
  /** What a number that shows no unit was multiplied by. */
  readonly unitless: bigint;
  /** Guesses that were made. */
  readonly notes: readonly string[];
  readonly warnings: readonly string[];
  /** Set where nothing in the column tells day from month. */
  readonly undecided?: { readonly example: string };
}

const NUMBER = 0;
const INSTANT = 1;
const TWO_WAY_DATE = 2;
const MISSING = 3;

/**
 * Collects the times of a column and settles their unit and form over all of them. Integers of one unit stay exactly as
 * they are; fractions of a second and texts become microseconds since 1970; nothing passes through a floating-point
 * number or the machine's time zone.
 */
export class TimeColumn {
  readonly #values = new Int64Column();
  /** What each value is; whole numbers and fractions are 0. */
  readonly #kinds = new SparseInt32Column();
  readonly #nanos = new SparseInt32Column();
  #missing = 0;
  #twoWay = 0;
  #dots = 0;
  #rounded = 0;
  #unzoned = 0;
  #zoned = 0;
  #example = "";

  /** False where the text is no time in any known form; its place stays without one. */
  push(text: string): boolean {
    const reading = readTime(text);
    const place = this.#values.length;
    if (reading === undefined) {
      this.#values.push(0n);
      this.#kinds.set(place, MISSING);
      this.#missing++;
      return false;
    }
    if (reading.kind === "number") {
      this.#values.push(reading.whole);
      if (reading.rounded) this.#rounded++;
      if (reading.nanos !== 0) this.#nanos.set(place, reading.nanos);
      return true;
    }
    if (reading.zoned) this.#zoned++;
    else if (reading.clock) this.#unzoned++;
    this.#kinds.set(place, reading.kind === "instant" ? INSTANT : TWO_WAY_DATE);
    if (reading.kind === "two-way") {
      this.#twoWay++;
      if (reading.dots) this.#dots++;
      if (this.#example === "") this.#example = text;
      this.#values.push(pack(reading.date));
    } else this.#values.push(reading.micros);
    return true;
  }

  /** @param order how two-way dates are to be read, where the column itself is not to say */
  finish(order?: DateOrder): ColumnTimes {
    const values = this.#values.toArray();
    const notes: string[] = [];
    const warnings: string[] = [];
    const unreadable = new Set<number>();
    const known = (place: number): boolean => this.#kinds.at(place) !== MISSING && !unreadable.has(place);
    const days = this.#settleDays(values, unreadable, order, notes, warnings);
    if (days !== undefined)
      return { ...days, values, known, notes, warnings, ticksPerSecond: 1e6, isEpoch: true, unitless: 1n };
    const ticks = this.#settleNumbers(values, unreadable, notes, warnings);
    // A writer of shortest forms has few of these; a spreadsheet rounds them all.
    if (this.#rounded > values.length / 10) {
      warnings.push(
        `${this.#rounded} of ${values.length} times are rounded numbers such as 1.50763E+12: what lies close together ` +
          "has lost its order (write whole numbers)",
      );
    }
    if (this.#unzoned > 0) {
      if (this.#zoned === 0) notes.push("times without a zone are taken as UTC");
      else
        warnings.push(`${this.#unzoned} times have no zone beside ${this.#zoned} that have one: they are taken as UTC`);
    }
    return { values, known, ...ticks, notes, warnings };
  }

  /** Fills in the two-way dates; an answer means that they cannot be settled. */
  #settleDays(
    values: BigInt64Array,
    unreadable: Set<number>,
    order: DateOrder | undefined,
    notes: string[],
    warnings: string[],
  ): { readonly undecided: { readonly example: string } } | undefined {
    if (this.#twoWay === 0) return undefined;
    const places: number[] = [];
    for (let place = 0; place < values.length; place++) if (this.#kinds.at(place) === TWO_WAY_DATE) places.push(place);
    const dates = (): Iterable<TwoWayDate> => datesAt(values, places);
    const choice =
      order === undefined ? decideDays(dates, this.#dots === this.#twoWay) : { order, why: "as was asked for" };
    if (choice === undefined) return { undecided: { example: this.#example } };
    for (const place of places) {
      const micros = twoWay(unpack(values[place]!), choice.order);
      if (micros === undefined) unreadable.add(place);
      else values[place] = micros;
    }
    notes.push(`dates such as ${this.#example} are read ${choice.order} (${choice.why})`);
    if (unreadable.size > 0) {
      warnings.push(`${unreadable.size} of ${this.#twoWay} dates such as ${this.#example} are not ${choice.order}`);
    }
    return undefined;
  }

  /** Brings numbers to one unit, and to microseconds where other forms stand beside them. */
  #settleNumbers(
    values: BigInt64Array,
    unreadable: Set<number>,
    notes: string[],
    warnings: string[],
  ): Pick<ColumnTimes, "ticksPerSecond" | "isEpoch" | "unitless"> {
    const asTheyAre = (ticks: number, isEpoch = true) => ({ ticksPerSecond: ticks, isEpoch, unitless: 1n });
    const isNumber = (place: number): boolean => this.#kinds.at(place) === NUMBER;
    const fractions = this.#nanos.used;
    const counts = new Map<Unit, number>();
    let numbers = 0;
    for (let place = 0; place < values.length; place++) {
      if (!isNumber(place)) continue;
      numbers++;
      const unit = unitOf(values[place]!);
      if (unit !== undefined) counts.set(unit, (counts.get(unit) ?? 0) + 1);
    }
    if (numbers === 0) return asTheyAre(1e6);
    const texts = values.length - this.#missing - numbers;
    if (texts === 0 && !fractions && calendarNumbers(values, isNumber)) {
      notes.push("times such as 20191001 are read as calendar days");
      return asTheyAre(1e6);
    }
    const typical = values.find((_, place) => place >= values.length >> 1 && isNumber(place)) ?? 0n;
    const units = [...counts.keys()].sort((a, b) => Number(a - b));
    const main = units.reduce<Unit | undefined>(
      (best, unit) => (best === undefined || counts.get(unit)! > counts.get(best)! ? unit : best),
      undefined,
    );
    if (main === undefined) notes.push("the times are no Unix times: only their order is used");
    else if (numbers > sum(counts)) {
      const odd = values.find((value, place) => isNumber(place) && unitOf(value) === undefined);
      warnings.push(
        `${numbers - sum(counts)} of ${numbers} times lie outside 1973 to 2286, such as ${odd}: are they known?`,
      );
    }
    if (units.length < 2 && texts === 0 && !fractions) {
      return main === undefined ? asTheyAre(ticksPerSecond(typical), false) : asTheyAre(Number(main));
    }
    if (units.length > 1) {
      if (!oneAge(values, isNumber, units, main!)) {
        warnings.push(
          `numbers of ${units.map((unit) => UNIT_NAMES.get(unit)).join(" and ")} stand in one column of times, years apart: ` +
            "they are left as they are, and their order may mean nothing",
        );
        if (!fractions && texts === 0) return asTheyAre(Number(main));
      } else {
        const parts = units.map((unit) => `${counts.get(unit)} in ${UNIT_NAMES.get(unit)}`).join(", ");
        const factor = units.slice(1).map((unit, i) => String(unit / units[i]!));
        warnings.push(`times differ by a factor of ${factor.join(" and ")}: ${parts}; all were brought to one unit`);
      }
    }
    if (texts > 0) warnings.push(`${numbers} times are numbers and ${texts} are texts: both were read`);
    // Fractions of seconds and milliseconds, and texts, need microseconds; fractions of those need nanoseconds.
    const finest = units.at(-1) ?? 1n;
    const exact = fractions || texts > 0;
    const fine = fractions && (main ?? 1n) >= 1_000_000n ? 1_000_000_000n : 1_000_000n;
    const target = exact && finest < fine ? fine : finest;
    for (let place = 0; place < values.length; place++) {
      const value = values[place]!;
      if (!isNumber(place)) {
        values[place] = value * (target / 1_000_000n || 1n);
        continue;
      }
      const unit = unitOf(value) ?? main ?? 1n;
      if (texts > 0 && unitOf(value) === undefined) {
        unreadable.add(place);
        continue;
      }
      const scale = target / unit;
      const scaled = value * scale + (BigInt(this.#nanos.at(place)) * scale) / 1_000_000_000n;
      if (BigInt.asIntN(64, scaled) === scaled) values[place] = scaled;
      else unreadable.add(place);
    }
    return {
      ticksPerSecond: Number(target),
      isEpoch: main !== undefined || texts > 0,
      unitless: target / (main ?? 1n),
    };
  }
}

const sum = (counts: ReadonlyMap<unknown, number>): number => [...counts.values()].reduce((a, b) => a + b, 0);

/** Whether every unit's times lie within twenty years of those of the main one, once all are of one unit. */
function oneAge(
  values: BigInt64Array,
  isNumber: (place: number) => boolean,
  units: readonly Unit[],
  main: Unit,
): boolean {
  const ranges = new Map<Unit, { low: number; high: number }>();
  for (let place = 0; place < values.length; place++) {
    const unit = isNumber(place) ? unitOf(values[place]!) : undefined;
    if (unit === undefined) continue;
    const seconds = Number(values[place]!) / Number(unit);
    const range = ranges.get(unit);
    if (range === undefined) ranges.set(unit, { low: seconds, high: seconds });
    else {
      range.low = Math.min(range.low, seconds);
      range.high = Math.max(range.high, seconds);
    }
  }
  const { low, high } = ranges.get(main)!;
  const near = 20 * 365.25 * 86_400;
  return units.every((unit) => ranges.get(unit)!.low >= low - near && ranges.get(unit)!.high <= high + near);
}

/** Turns 20191001, 201910011230 and 20191001123000 into microseconds where all numbers are days of a calendar. */
function calendarNumbers(values: BigInt64Array, isNumber: (place: number) => boolean): boolean {
  const instants = new BigInt64Array(values.length);
  for (let place = 0; place < values.length; place++) {
    if (!isNumber(place)) continue;
    const match = /^((?:19|20)\d{2})(\d{2})(\d{2})(?:(\d{2})(\d{2})(\d{2})?)?$/.exec(String(values[place]));
    if (match === null) return false;
    const [, year, month, day, hour = "0", minute = "0", second = "0"] = match;
    const midnight = midnightOf(Number(year), Number(month), Number(day));
    const clock = readClock({ hour, minute, second });
    if (midnight === undefined || clock === undefined) return false;
    instants[place] = midnight + clock.micros;
  }
  values.set(instants);
  return true;
}

function* datesAt(values: BigInt64Array, places: readonly number[]): Iterable<TwoWayDate> {
  for (const place of places) yield unpack(values[place]!);
}

/** Day or month first, by the numbers that can be only one of them, else by which reading is in order; or undefined. */
function decideDays(
  dates: () => Iterable<TwoWayDate>,
  allWithDots: boolean,
): { readonly order: DateOrder; readonly why: string } | undefined {
  const orders: readonly DateOrder[] = ["day-first", "month-first"];
  const judged = orders.map((order) => {
    let [rows, readable, ascending, last] = [0, 0, 0, -(1n << 62n)];
    for (const date of dates()) {
      rows++;
      const instant = twoWay(date, order);
      if (instant === undefined) continue;
      readable++;
      if (instant / DAY >= last) ascending++;
      last = instant / DAY;
    }
    return { order, rows, readable, ascending: ascending / Math.max(1, rows) };
  });
  const [likelier, other] = judged.sort((a, b) => b.readable - a.readable || b.ascending - a.ascending);
  if (likelier === undefined || other === undefined) return undefined;
  const { order } = likelier;
  if (likelier.readable > other.readable) return { order, why: "the other order is no date in some rows" };
  if (likelier.readable < likelier.rows) return undefined;
  if (likelier.rows >= 20 && likelier.ascending > 0.99 && other.ascending < 0.95) {
    return { order, why: "so the rows are in the order of time" };
  }
  return allWithDots ? { order: "day-first", why: "as dates with dots are" } : undefined;
}
