import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { withTableReader } from "../../../testing/read-table.js";

/** Texts as titles and names are: letters, digits and every character that some dialect gives a meaning. */
const textCell = fc
  .array(fc.constantFrom("a", "Z", "é", "7", " ", "-", ",", ";", "\t", "|", '"', "'", "\\", "#", ":", "="), {
    minLength: 1,
    maxLength: 12,
  })
  .map((characters) => characters.join("").trim())
  .filter((text) => text !== "");

const rowsOf = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 99_999 }), textCell, textCell, fc.integer({ min: 1e9, max: 1.7e9 })), {
    minLength: 3,
    maxLength: 40,
  })
  .map((rows) => rows.map((row) => row.map(String)));

const HEADER = ["user_id", "title", "comment", "timestamp"];

interface Writing {
  readonly delimiter: string;
  readonly newline: string;
  readonly quoteAll: boolean;
  readonly lineEndAtEnd: boolean;
  readonly encoding: "utf8" | "utf8-bom" | "utf16le" | "utf16be" | "windows-1252";
  readonly gzip: boolean;
}

const writings: fc.Arbitrary<Writing> = fc.record({
  delimiter: fc.constantFrom(",", ";", "\t", "|"),
  newline: fc.constantFrom("\n", "\r\n", "\r"),
  quoteAll: fc.boolean(),
  lineEndAtEnd: fc.boolean(),
  encoding: fc.constantFrom("utf8", "utf8-bom", "utf16le", "utf16be", "windows-1252"),
  gzip: fc.boolean(),
});

function writeLine(cells: readonly string[], { delimiter, quoteAll }: Writing): string {
  const quote = (cell: string): string =>
    quoteAll || /[\r\n"]/.test(cell) || cell.includes(delimiter) ? `"${cell.replaceAll('"', '""')}"` : cell;
  return cells.map(quote).join(delimiter);
}

function encode(text: string, { encoding, gzip }: Writing): Uint8Array {
  const utf16 = Buffer.from(`\uFEFF${text}`, "utf16le");
  const bytes = {
    utf8: () => Buffer.from(text),
    "utf8-bom": () => Buffer.from(`\uFEFF${text}`),
    utf16le: () => utf16,
    utf16be: () => Buffer.from(utf16).swap16(),
    "windows-1252": () => Buffer.from(text, "latin1"),
  }[encoding]();
  return gzip ? gzipSync(bytes) : bytes;
}

function write(rows: readonly (readonly string[])[], writing: Writing): Uint8Array {
  const lines = [HEADER, ...rows].map((row) => writeLine(row, writing));
  return encode(lines.join(writing.newline) + (writing.lineEndAtEnd ? writing.newline : ""), writing);
}

describe("openTable", () => {
  it("reads back the very cells that were written, in every dialect", async () => {
    await withTableReader((reader) =>
      fc.assert(
        fc.asyncProperty(rowsOf, writings, async (rows, writing) => {
          const read = await reader.read(write(rows, writing));
          expect(read.columns).toEqual(HEADER);
          expect(read.malformed).toEqual({ count: 0, examples: [] });
          expect(read.rows).toEqual(rows);
        }),
        { numRuns: 150 },
      ),
    );
  });

  it("reads line breaks inside quoted cells", async () => {
    const broken = fc.tuple(textCell, textCell).map(([a, b]) => `${a}\nand ${b}`);
    const rows = fc.array(
      fc.tuple(fc.integer({ min: 1, max: 999 }), broken, textCell, fc.integer({ min: 1, max: 9 })),
      {
        minLength: 3,
        maxLength: 20,
      },
    );
    await withTableReader((reader) =>
      fc.assert(
        fc.asyncProperty(rows, fc.constantFrom(",", ";"), fc.boolean(), async (cells, delimiter, quoteAll) => {
          const texts = cells.map((row) => row.map(String));
          const writing: Writing = { ...PLAIN, delimiter, quoteAll };
          const read = await reader.read(write(texts, writing));
          expect(read.rows).toEqual(texts);
          expect(read.malformed.count).toBe(0);
        }),
        { numRuns: 60 },
      ),
    );
  });

  it("loses to a damaged row no other row, and counts every row once", async () => {
    const damages: readonly ((line: string, delimiter: string) => string)[] = [
      (line) => `"${line}`,
      (line, delimiter) => line.replace(delimiter, `${delimiter}"`),
      (line) => `${line}"`,
      (line) => line.slice(0, line.length >> 1),
      (line, delimiter) => `${line}${delimiter}surplus${delimiter}more`,
      (line, delimiter) => line.replaceAll(delimiter, ""),
      (line, delimiter) => line.replace(delimiter, `${delimiter}"a" b `),
      (line, delimiter) => line.replace(delimiter, `${delimiter}a \\"b`),
      (line) => `{${line}`,
    ];
    const damaged = fc.record({
      rows: fc.integer({ min: 30, max: 200 }),
      places: fc.uniqueArray(fc.nat(), { minLength: 1, maxLength: 5 }),
      damage: fc.nat({ max: damages.length - 1 }),
      delimiter: fc.constantFrom(",", "\t", ";", "|"),
      newline: fc.constantFrom("\n", "\r\n"),
      quoteAll: fc.boolean(),
      /** Codes and words in place of numbers. */
      codes: fc.boolean(),
    });
    await withTableReader((reader) =>
      fc.assert(
        fc.asyncProperty(damaged, async ({ rows, places, damage, delimiter, newline, quoteAll, codes }) => {
          const writing: Writing = { ...PLAIN, delimiter, quoteAll };
          const table = Array.from({ length: rows }, (_, i) => [
            codes ? `u${i}` : String(i),
            i % 3 === 0 ? `T${delimiter} the ${i}` : `title ${i}`,
            "fine",
            codes ? ["Drama", "Action, too"][i % 2]! : String(1_500_000_000 + i),
          ]);
          const bad = new Set(places.map((place) => place % rows));
          const lines = table.map((row, i) => {
            const line = writeLine(row, writing);
            return bad.has(i) ? damages[damage]!(line, delimiter) : line;
          });
          const read = await reader.read([writeLine(HEADER, writing), ...lines].join(newline));
          expect(read.rows.length + read.malformed.count).toBe(rows);
          const byUser = new Map(read.rows.map((row, place) => [read.numbers[place]! - 1, row]));
          for (const [i, row] of table.entries()) if (!bad.has(i)) expect(byUser.get(i)).toEqual(row);
        }),
        { numRuns: 200 },
      ),
    );
  });
});

const PLAIN: Writing = {
  delimiter: ",",
  newline: "\n",
  quoteAll: false,
  lineEndAtEnd: true,
  encoding: "utf8",
  gzip: false,
};
