import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type DateOrder, readTime, ticksPerSecond } from "../read-time.js";
import { TimeColumn } from "./timestamps.js";

/** The times of one column; undefined where a text was not read. */
const column = (texts: readonly string[], order?: DateOrder) => {
  const times = new TimeColumn();
  for (const text of texts) times.push(text);
  const settled = times.finish(order);
  return {
    ...settled,
    times: Array.from(settled.values, (value, place) => (settled.known(place) ? value : undefined)),
  };
};
const parse = (...texts: string[]): (bigint | undefined)[] => column(texts).times;
const utc = (iso: string): bigint => BigInt(Date.parse(iso)) * 1000n;

describe("TimeColumn", () => {
  it("keeps integers exactly as they are, to the last of 64 bits", () => {
    expect(parse("0", "-5", "+7", "9223372036854775807", "12.0")).toEqual([0n, -5n, 7n, 9223372036854775807n, 12n]);
    expect(parse("1", "9223372036854775808", "0x10", "")).toEqual([1n, ...Array(3).fill(undefined)]);
    for (const unit of [1n, 1_000n, 1_000_000n, 1_000_000_000n]) {
      const values = [1_507_626_425n * unit, 1_507_626_425n * unit + 1n, 1_600_000_000n * unit];
      const { times, warnings, ticksPerSecond: ticks } = column(values.map(String));
      expect([times, warnings, ticks]).toEqual([values, [], Number(unit)]);
    }
  });

  it("turns decimal seconds into microseconds", () => {
    expect(parse("1600000000.25", "-0.5", "3", "1.0000009")).toEqual([1600000000250000n, -500000n, 3000000n, 1000000n]);
  });

  it("decides over the column, not its first row: whole seconds beside fractions", () => {
    const { times, warnings } = column(["1507626425", "1507626425.5", "1507626426", "1.507626427e9"]);
    expect(times).toEqual([1507626425000000n, 1507626425500000n, 1507626426000000n, 1507626427000000n]);
    expect(warnings).toEqual([]);
  });

  it("reads decimals and floats of every unit, dot or comma", () => {
    expect(parse("1507626425123.5", "1507626425124")).toEqual([1507626425123500n, 1507626425124000n]);
    expect(parse("1507626425123456.25")).toEqual([1507626425123456250n]);
    expect(parse("1507626425123456789.0")).toEqual([1507626425123456789n]);
    expect(parse("1.507626425123e12", "1.507626425124E+12")).toEqual([1507626425123n, 1507626425124n]);
    expect(parse("1507626425,5", "1507626426,25")).toEqual([1507626425500000n, 1507626426250000n]);
    expect(parse("43000,5", "43001.25")).toEqual([43000500000n, 43001250000n]);
  });

  it("points out numbers that a spreadsheet has rounded", () => {
    expect(column(Array(30).fill("1.50763E+12")).warnings).toEqual([expect.stringContaining("rounded numbers")]);
    expect(column(["1.5e9", ...Array(30).fill("1507626425")]).warnings).toEqual([]);
  });

  it("brings seconds beside milliseconds to one unit and says so", () => {
    const { times, warnings, ticksPerSecond: ticks } = column(["1507626425", "1507626426000", "1507626427"]);
    expect(times).toEqual([1507626425000n, 1507626426000n, 1507626427000n]);
    expect(ticks).toBe(1000);
    expect(warnings).toEqual([
      "times differ by a factor of 1000: 2 in seconds, 1 in milliseconds; all were brought to one unit",
    ]);
    const three = column(["1507626425", "1507626426000", "1507626427000000"]);
    expect(three.times).toEqual([1507626425000000n, 1507626426000000n, 1507626427000000n]);
  });

  it("leaves numbers alone that are of one unit or not times of one age", () => {
    const years = column(["150000000", "1600000000000"]);
    expect(years.times).toEqual([150000000n, 1600000000000n]);
    expect(years.warnings).toEqual([expect.stringContaining("left as they are")]);
    const zero = column(["0", "1507626425", "1507626426"]);
    expect(zero.times).toEqual([0n, 1507626425n, 1507626426n]);
    expect(zero.warnings).toEqual([expect.stringContaining("1 of 3 times lie outside 1973 to 2286, such as 0")]);
    expect(column(["1", "2", "3"]).notes).toEqual([expect.stringContaining("only their order is used")]);
  });

  it("reads ISO texts in their zone, UTC where there is none", () => {
    expect(parse("1970-01-01", "1970-01-01T00:00:01Z", "1970-01-01 01:00+01:00", "1970-01-01T00:00:00.000001")).toEqual(
      [0n, 1_000_000n, 0n, 1n],
    );
    expect(parse("2021-01-01", "2021-02-31", "2021-13-01", "2021-01-01T25:00", "yesterday")).toEqual([
      1609459200000000n,
      ...Array(4).fill(undefined),
    ]);
  });

  it.each([
    ["2019-10-01 12:30:00 UTC", "2019-10-01T12:30:00Z"],
    ["2019-10-01 12:30:00 GMT", "2019-10-01T12:30:00Z"],
    ["2019-10-01 12:30:00+00:00", "2019-10-01T12:30:00Z"],
    ["2019-10-01 12:30:00+00", "2019-10-01T12:30:00Z"],
    ["2019-10-01T12:30:00.000Z", "2019-10-01T12:30:00Z"],
    ["2019-10-01T12:30:00-0530", "2019-10-01T18:00:00Z"],
    ["2019-10-01T12:30:00+02:00[Europe/Berlin]", "2019-10-01T10:30:00Z"],
    ["2019-10-01 24:00:00", "2019-10-02T00:00:00Z"],
    ["2019/10/1 3:04", "2019-10-01T03:04:00Z"],
    ["2019.10.01", "2019-10-01T00:00:00Z"],
    ["20191001T123000Z", "2019-10-01T12:30:00Z"],
    ["20191001 12:30:00", "2019-10-01T12:30:00Z"],
    ["2019-10-01 12:30:00 +0000 UTC", "2019-10-01T12:30:00Z"],
    ["2019-10-01 12:30:00.5 +0200 CEST", "2019-10-01T10:30:00.5Z"],
    ["Tue Oct 01 12:30:00 UTC 2019", "2019-10-01T12:30:00Z"],
    ["01/Oct/2019:12:30:00 +0000", "2019-10-01T12:30:00Z"],
    ["01 Oct 2019 12:30:00", "2019-10-01T12:30:00Z"],
    ["01-Oct-2019", "2019-10-01T00:00:00Z"],
    ["1st October 2019", "2019-10-01T00:00:00Z"],
    ["Oct 1, 2019 12:04:05 AM", "2019-10-01T00:04:05Z"],
    ["Oct 1, 2019, 3:04:05 PM", "2019-10-01T15:04:05Z"],
    ["Tue, 01 Oct 2019 12:00:00 GMT", "2019-10-01T12:00:00Z"],
    ["Tue Oct 01 12:00:00 +0000 2019", "2019-10-01T12:00:00Z"],
    ["Tue Oct 01 2019 12:00:00 GMT+0200 (Central European Summer Time)", "2019-10-01T10:00:00Z"],
    ["09 13, 2009", "2009-09-13T00:00:00Z"],
    ["/Date(1569931200000)/", "2019-10-01T12:00:00Z"],
    ["25/12/2010 8:26", "2010-12-25T08:26:00Z"],
    ["12/25/10 8:26", "2010-12-25T08:26:00Z"],
    ["25.12.2010, 08:26:30", "2010-12-25T08:26:30Z"],
  ])("reads %s", (text, iso) => {
    expect(parse(text)).toEqual([utc(iso)]);
  });

  it("reads nothing into texts that are no times", () => {
    for (const text of [
      "",
      "nan",
      "0000-00-00 00:00:00",
      "noon",
      "12:30",
      "2019-10",
      "1,507,626,425",
      "13/13/2019",
      "Foo 3, 2019",
      "1 2 3",
    ]) {
      expect(readTime(text), text).toBeUndefined();
    }
  });

  it("reads numbers as calendar days where all of them are", () => {
    const { times, notes } = column(["20191001", "20191002"]);
    expect(times).toEqual([utc("2019-10-01T00:00:00Z"), utc("2019-10-02T00:00:00Z")]);
    expect(notes).toEqual([expect.stringContaining("calendar days")]);
    expect(parse("20191001123000")).toEqual([utc("2019-10-01T12:30:00Z")]);
    expect(parse("20191001", "20191032")).toEqual([20191001n, 20191032n]);
  });

  it("tells day from month by the column, wherever in it the evidence stands", () => {
    const dayFirst = column(["01/02/2019", "03/04/2019", "25/12/2019"]);
    expect(dayFirst.times[0]).toBe(utc("2019-02-01T00:00:00Z"));
    expect(dayFirst.notes).toEqual([expect.stringContaining("read day-first")]);
    expect(column(["01/02/2019", "12/25/2019"]).times[0]).toBe(utc("2019-01-02T00:00:00Z"));
    const dots = column(["01.02.2019", "03.04.2019"]);
    expect(dots.times[0]).toBe(utc("2019-02-01T00:00:00Z"));
    // Month first these rows ascend day by day, day first they jump back after every second.
    const days = [1, 2, 3, 4, 5, 6].flatMap((month) => [2, 5, 8, 11].map((day) => `${month}/${day}/2019`));
    expect(column(days).times.at(-1)).toBe(utc("2019-06-11T00:00:00Z"));
  });

  it("does not guess where nothing tells day from month, and takes an answer", () => {
    expect(column(["01/02/2019", "03/04/2019"]).undecided).toEqual({ example: "01/02/2019" });
    expect(column(["01/02/2019"], "month-first").times).toEqual([utc("2019-01-02T00:00:00Z")]);
    const odd = column(["01/02/2019", "13/02/2019", "14/02/2019", "02/13/2019"]);
    expect(odd.times.map((time) => time !== undefined)).toEqual([true, true, true, false]);
    expect(odd.warnings).toEqual([expect.stringContaining("1 of 4 dates")]);
  });

  it("reads numbers beside texts and names the mixture, whichever comes first", () => {
    const { times, warnings } = column(["noon", "2020-01-01", "1600000000", "1600000000000"]);
    expect(times).toEqual([undefined, 1577836800000000n, 1600000000000000n, 1600000000000000n]);
    expect(warnings).toContain("2 times are numbers and 1 are texts: both were read");
    expect(parse("1600000000", "2020-01-01")).toEqual([1600000000000000n, 1577836800000000n]);
    // A number that is no time of our age says nothing beside texts.
    expect(parse("2020-01-01", "17")).toEqual([1577836800000000n, undefined]);
  });

  it("says that texts without a zone are UTC, louder where others have one", () => {
    expect(column(["2020-01-01 10:00"])).toMatchObject({
      notes: ["times without a zone are taken as UTC"],
      warnings: [],
    });
    expect(column(["2020-01-01 10:00", "2020-01-01 10:00Z"]).warnings).toEqual([
      "1 times have no zone beside 1 that have one: they are taken as UTC",
    ]);
    expect(column(["2020-01-01"]).notes).toEqual([]);
  });

  it("reads back every instant that JavaScript can write", () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date("0100-01-01"), max: new Date("9999-01-01"), noInvalidDate: true }),
        (date) => {
          expect(parse(date.toISOString())).toEqual([BigInt(date.getTime()) * 1000n]);
          if (date.getUTCFullYear() >= 1970) expect(parse(date.toUTCString())).toEqual([utc(date.toUTCString())]);
        },
      ),
    );
  });

  it("keeps two-way dates whole in a column: every day, zone and microsecond", () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date("1000-01-01"), max: new Date("9999-01-01"), noInvalidDate: true }),
        fc.integer({ min: -18, max: 18 }),
        (date, hours) => {
          const [year, month, day] = date.toISOString().slice(0, 10).split("-");
          const zone = `${hours < 0 ? "-" : "+"}${String(Math.abs(hours)).padStart(2, "0")}:00`;
          const text = `${day}/${month}/${year} ${date.toISOString().slice(11, 23)}${zone}`;
          const expected = BigInt(date.getTime()) * 1000n - BigInt(hours) * 3_600_000_000n;
          expect(column([text], "day-first").times).toEqual([expected]);
        },
      ),
    );
  });
});

describe("ticksPerSecond", () => {
  it("tells seconds, milliseconds, microseconds and nanoseconds of our age apart", () => {
    const now = 1_700_000_000n;
    const scales = [1n, 1_000n, 1_000_000n, 1_000_000_000n];
    expect(scales.map((scale) => ticksPerSecond(now * scale))).toEqual(scales.map(Number));
    expect(column(["1970-01-01"]).ticksPerSecond).toBe(1e6);
  });
});
