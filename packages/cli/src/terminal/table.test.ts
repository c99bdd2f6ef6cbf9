import stringWidth from "string-width";
import { describe, expect, it } from "vitest";
import { formatTable } from "./table.js";
import { shorten } from "./width.js";

const widest = (table: string): number => Math.max(...table.split("\n").map((line) => stringWidth(line)));
const ESCAPE = "\u001b";

describe("shorten", () => {
  it.each([
    ["fits", "fits"],
    ["exactly ten", "exactly t…"],
    ["日本語の長い題名", "日本語の…"],
    ["👍🏽👍🏽👍🏽👍🏽👍🏽👍🏽", "👍🏽👍🏽👍🏽👍🏽…"],
    ["e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301", `${"e\u0301".repeat(9)}…`],
    ["🇫🇷🇩🇪🇮🇹🇪🇸🇵🇹🇧🇪", "🇫🇷🇩🇪🇮🇹🇪🇸…"],
  ])("cuts %s between characters, at ten columns", (text, expected) => {
    expect(shorten(text, 10)).toBe(expected);
    expect(stringWidth(shorten(text, 10))).toBeLessThanOrEqual(10);
  });

  it("closes the colour that it opened", () => {
    const cut = shorten(`${ESCAPE}[1m${"x".repeat(20)}${ESCAPE}[22m`, 10);
    expect(cut).toBe(`${ESCAPE}[1m${"x".repeat(9)}…${ESCAPE}[22m`);
  });
});

describe("formatTable", () => {
  const columns = [
    { title: "", align: "right" },
    { title: "item" },
    { title: "score", align: "right" },
    { title: "because of" },
  ] as const;

  it("aligns cells two spaces apart, as wide as they are shown", () => {
    const rows = [
      ["1", "日本", "1.5", "a"],
      ["10", "e\u0301te\u0301", "-12.25", ""],
    ];
    expect(formatTable(columns, rows).split("\n")).toEqual([
      "    item   score  because of",
      " 1  日本     1.5  a",
      "10  e\u0301te\u0301   -12.25",
    ]);
  });

  it.each([
    ["letters", "x"],
    ["wide characters", "長"],
    ["emoji", "👩"],
    ["combining marks", "e\u0301"],
  ])("is not widened by a title of 50,000 %s, and keeps ids and numbers whole", (_, character) => {
    const title = character.repeat(50_000);
    const rows = [
      ["1", { text: title, end: " (i7)" }, "12345678.125", title],
      ["2", { text: "short", end: " (i8)" }, "1.5", "film"],
    ];
    const table = formatTable(columns, rows);
    expect(widest(table)).toBeLessThanOrEqual(80);
    expect(widest(table)).toBeGreaterThan(75);
    for (const text of ["… (i7)", "12345678.125", "short (i8)", "film"]) expect(table).toContain(text);
    expect(widest(formatTable(columns, rows, 120))).toBeLessThanOrEqual(120);
    expect(widest(formatTable(columns, rows, 120))).toBeGreaterThan(110);
  });

  it("shortens an id of 50,000 characters too", () => {
    const rows = [["1", { text: "Title", end: ` (${"9".repeat(50_000)})` }, "1.5", "film"]];
    expect(widest(formatTable(columns, rows))).toBeLessThanOrEqual(80);
  });

  it("shortens only what is wide", () => {
    const rows = [["1", "A title of some forty characters, no more", "1.5", "w".repeat(100)]];
    expect(formatTable(columns, rows)).toContain("A title of some forty characters");
    const even = formatTable(columns, [["1", "t".repeat(100), "1.5", "w".repeat(100)]]).split("\n")[1] ?? "";
    expect([even.match(/t/g)?.length, even.match(/w/g)?.length]).toEqual([33, 33]);
  });

  it("goes on below with the columns that have no room, cutting no number", () => {
    const many = [
      { title: "variant" },
      ...Array.from({ length: 8 }, (_, n) => ({ title: `metric@${n}`, align: "right" as const })),
    ];
    const rows = ["ldmi", "gate-shuffled"].map((name, r) => [
      name,
      ...Array.from({ length: 8 }, (_, n) => `${r}${n}.25 ±0.${n}5`),
    ]);
    const table = formatTable(many, rows);
    expect(widest(table)).toBeLessThanOrEqual(80);
    const bands = table.split("\n\n").map((band) => band.split("\n").map((line) => line.split(/ {2,}/)));
    expect(bands.length).toBeGreaterThan(1);
    for (const [r, row] of rows.entries()) {
      expect(bands.flatMap((band) => band[r + 1]?.slice(1))).toEqual(row.slice(1));
    }
    expect(bands.map((band) => band[1]?.[0])).toEqual(bands.map(() => "ldmi"));
    expect(formatTable(many, rows, 200).split("\n")).toHaveLength(3);
  });
});
