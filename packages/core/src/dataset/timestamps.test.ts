import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ticksPerSecond, timestampParser } from "./timestamps.js";

const parse = (...texts: string[]): (bigint | undefined)[] => {
  const parser = timestampParser();
  return texts.map((text) => parser.parse(text));
};

describe("timestampParser", () => {
  it("keeps integers exactly as they are, to the last of 64 bits", () => {
    expect(parse("0", "-5", "+7", "9223372036854775807", "12.0")).toEqual([0n, -5n, 7n, 9223372036854775807n, 12n]);
    expect(parse("1", "9223372036854775808", "1.5", "1e9", "0x10", "")).toEqual([1n, ...Array(5).fill(undefined)]);
  });

  it("turns decimal seconds into microseconds", () => {
    expect(parse("1600000000.25", "-0.5", "3", "1.0000009")).toEqual([1600000000250000n, -500000n, 3000000n, 1000000n]);
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

  it("decides for one style by the first readable text and mixes no styles", () => {
    expect(parse("noon", "2020-01-01", "1600000000")).toEqual([undefined, 1577836800000000n, undefined]);
    expect(parse("1600000000", "2020-01-01")).toEqual([1600000000n, undefined]);
  });

  it("reads back every instant that JavaScript can write", () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date("0100-01-01"), max: new Date("9999-01-01"), noInvalidDate: true }),
        (date) => {
          expect(parse(date.toISOString())).toEqual([BigInt(date.getTime()) * 1000n]);
        },
      ),
    );
  });
});

describe("ticksPerSecond", () => {
  it("tells seconds, milliseconds, microseconds and nanoseconds of our age apart", () => {
    const now = 1_700_000_000n;
    const scales = [1n, 1_000n, 1_000_000n, 1_000_000_000n];
    expect(scales.map((scale) => ticksPerSecond("integer", now * scale))).toEqual(scales.map(Number));
    expect(ticksPerSecond("iso", 0n)).toBe(1e6);
  });
});
