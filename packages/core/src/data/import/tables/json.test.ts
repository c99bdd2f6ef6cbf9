import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { readContent } from "../../../testing/read-table.js";

const records = Array.from({ length: 30 }, (_, i) => ({
  user_id: `u${i % 7}`,
  item_id: `i${i}`,
  timestamp: 1_500_000_000 + i,
}));
const rows = records.map(({ user_id, item_id, timestamp }) => [user_id, item_id, String(timestamp)]);

describe("JSON", () => {
  it.each([
    ["lines", records.map((record) => JSON.stringify(record)).join("\n")],
    ["an array on one line", JSON.stringify(records)],
    ["an array with blanks", `[${records.map((record) => JSON.stringify(record)).join(", ")}]`],
    ["an array, a record a line", `[\n${records.map((record) => JSON.stringify(record)).join(",\n")}\n]\n`],
    ["an array with leading commas", `[${records.map((record) => JSON.stringify(record)).join("\n,")}]`],
    ["a pretty-printed array", JSON.stringify(records, undefined, 2)],
    ["pretty-printed records", records.map((record) => JSON.stringify(record, undefined, 4)).join("\n")],
    [
      "Python dictionaries",
      records.map((record) => JSON.stringify(record).replaceAll('"', "'").replace("'u", "u'u")).join("\n"),
    ],
  ])("reads %s alike", async (_, content) => {
    for (const name of ["x.json", "x.txt", "x.jsonl"]) {
      const read = await readContent(content, name);
      expect([read.format, read.columns]).toEqual(["jsonl", ["user_id", "item_id", "timestamp"]]);
      expect(read.rows).toEqual(rows);
      expect(read.malformed.count).toBe(0);
    }
    expect((await readContent(gzipSync(content), "x.json.gz")).rows).toEqual(rows);
  });

  it("keeps numbers as they are written, and nested values as JSON", async () => {
    const read = await readContent(
      '{"id": 9007199254740993, "t": 1.50, "e": 1e9, "n": null, "b": true, "s": "a\\n\\u00e9", "l": [1, ["x", {"k": 12345678901234567890}]]}\n',
    );
    expect(read.rows).toEqual([
      ["9007199254740993", "1.50", "1e9", null, "true", "a\né", '[1,["x",{"k":12345678901234567890}]]'],
    ]);
  });

  it.each([
    ["lines", (texts: string[]) => texts.join("\n")],
    ["an array on one line", (texts: string[]) => `[${texts.join(", ")}]`],
    ["an array over many lines", (texts: string[]) => `[\n${texts.join(",\n")}\n]`],
  ])("loses to a broken record of %s no other", async (_, join) => {
    const breaks: ((text: string) => string)[] = [
      (text) => text.replace('":', '" '),
      (text) => text.replace('"u', "u"),
      (text) => text.slice(0, -1),
      (text) => text.replace("}", "}}"),
      (text) => text.slice(0, 25),
    ];
    for (const damage of breaks) {
      const texts = records.map((record, i) =>
        i === 3 || i === 17 ? damage(JSON.stringify(record)) : JSON.stringify(record),
      );
      const read = await readContent(join(texts), "x.json");
      const whole = rows.filter((_, i) => i !== 3 && i !== 17);
      expect(read.rows).toEqual(expect.arrayContaining(whole));
      expect(read.rows.length + read.malformed.count).toBe(rows.length);
    }
  });

  it("refuses JSON that holds no records, and says what would", async () => {
    await expect(readContent('{"data": [{"user": "u", "item": "i"}]}', "x.json")).rejects.toMatchObject({
      code: "DATA_FORMAT",
      hint: expect.stringContaining("jq -c '.data[]'"),
    });
    for (const content of ["[1, 2, 3]", '"text"', "{broken"]) {
      await expect(readContent(content, "x.json")).rejects.toMatchObject({
        code: "DATA_FORMAT",
        hint: expect.stringContaining("jq"),
      });
    }
  });
});
