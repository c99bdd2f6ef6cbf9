import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { literalText, parseLiteral } from "./literals.js";

describe("parseLiteral", () => {
  it("reads whatever JSON can write", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 3 }), (value) => {
        for (const text of [JSON.stringify(value), JSON.stringify(value, undefined, 2)]) {
          const read = parseLiteral(text);
          if (read === undefined) throw new Error(`not read: ${text}`);
          const back = literalText(read);
          expect(typeof value === "string" ? back : back === null ? null : JSON.parse(back)).toEqual(JSON.parse(text));
        }
      }),
      { numRuns: 40 },
    );
  });

  it.each([
    "",
    "{",
    "[1,",
    '{"a" 1}',
    '{"a":}',
    "{a: 1}",
    "[1 2]",
    '"open',
    "'open",
    "nothing",
    "[1]]",
    "{1: 2, 3}",
    "u",
    "-",
    '"\\',
  ])("refuses %j", (text) => {
    expect(parseLiteral(text)).toBeUndefined();
  });

  it("keeps numbers as they are written", () => {
    expect(literalText(parseLiteral("[9007199254740993, 1.50, 1e400, 12L]") ?? null)).toBe(
      "[9007199254740993,1.50,1e400,12]",
    );
  });
});
