import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { readContent } from "../../../testing/read-table.js";
import { withDuckDb } from "./duckdb.js";
import { openTable } from "./open-table.js";

const note = (text: string): unknown => expect.arrayContaining([expect.stringContaining(text)]);

/** Rows of a log: user, item, seconds. */
const log = Array.from({ length: 36 }, (_, i) => [`u${i % 12}`, `i${i % 5}`, String(1_500_000_000 + 97 * i)]);
const text = (
  rows: readonly (readonly string[])[],
  delimiter = ",",
  header = ["user_id", "item_id", "timestamp"],
): string => [header, ...rows].map((row) => `${row.join(delimiter)}\n`).join("");

const quoted = (cell: string): string => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);

describe("rows", () => {
  it("keeps every row of a TSV with quotes that open and close cells lines apart", async () => {
    const titled = log.map(([user, item, time], i) => [
      user!,
      item!,
      i === 5 ? '"Til Dawn' : i === 20 ? '12"' : "abba",
      time!,
    ]);
    const header = ["user_id", "item_id", "title", "timestamp"];
    const read = await readContent(text(titled, "\t", header), "inter.tsv");
    expect(read.rows).toEqual(titled);
    expect(read.malformed.count).toBe(0);
    expect(read.notes).toEqual(note("quotes"));
  });

  it("keeps a title of which a part stands in quotes", async () => {
    const rows = Array.from({ length: 9 }, (_, i) => [
      `i${i}`,
      i === 3 ? '"Weird Al" Yankovic' : `Artist ${i}`,
      `http://x/${i}`,
    ]);
    const header = ["item_id", "title", "url"];
    for (const name of ["items.tsv", "items.csv"]) {
      const read = await readContent(text(rows, name.endsWith("tsv") ? "\t" : ",", header), name);
      expect(read.rows).toEqual(rows);
      expect(read.malformed.count).toBe(0);
    }
  });

  it("keeps quoting where some titles need it and one breaks its rules", async () => {
    const content =
      'id,title,year\n1,"Heat, The",1995\n2,"Weird Al" Yankovic,1999\n3,"She said ""no""",2000\n4,"a "b" c",2001\n5,"open, end,2002\n6,Up,2009\n';
    const read = await readContent(content);
    expect(read.rows).toEqual([
      ["1", "Heat, The", "1995"],
      ["2", '"Weird Al" Yankovic', "1999"],
      ["3", 'She said "no"', "2000"],
      ["4", 'a "b" c', "2001"],
      ["6", "Up", "2009"],
    ]);
    expect(read.malformed).toEqual({
      count: 1,
      examples: [{ row: 5, text: '5,"open, end,2002', reason: expect.stringContaining("quote") }],
    });
    expect(read.numbers).toEqual([1, 2, 3, 4, 6]);
  });

  it("reads quotes that backslashes escape", async () => {
    const content = `user,item,review,time\n${log.map(([u, i, t]) => `${u},${i},"a \\"b\\", c",${t}\n`).join("")}`;
    const read = await readContent(content);
    expect(read.rows).toEqual(log.map(([u, i, t]) => [u, i, 'a "b", c', t]));
    expect(read.notes).toEqual(note("backslash"));
    const one = await readContent(
      `${text(
        log.map(([u, i, t]) => [u!, i!, "fine", t!]),
        ",",
        ["user", "item", "review", "time"],
      )}u1,i1,"a \\"b\\" c",9\n`,
    );
    expect(one.rows).toHaveLength(37);
    expect(one.malformed.count).toBe(0);
  });

  it("reads rows without last cells that nobody asked for, and no row that lacks one", async () => {
    const header = ["user_id", "item_id", "timestamp", "comment"];
    const content = text(
      log.map((row, i) => (i % 3 === 0 ? [...row, "nice"] : row)),
      ",",
      header,
    );
    const read = await readContent(content, "inter.csv", ["user_id", "item_id", "timestamp"]);
    expect(read.rows).toEqual(log);
    expect(read.malformed.count).toBe(0);
    const all = await readContent(content);
    expect(all.rows).toHaveLength(12);
    expect(all.malformed.count).toBe(24);
    expect(all.malformed.examples[0]).toEqual({
      row: 2,
      text: log[1]!.join(","),
      reason: "3 cells where the header has 4",
    });
  });

  it("takes empty cells behind a row for nothing, and others for a row that cannot be split", async () => {
    const read = await readContent("user,item,time\nu1,i1,5,,\nu2,i2,6,x\nu3,i3,7,\n");
    expect(read.rows).toEqual([
      ["u1", "i1", "5"],
      ["u3", "i3", "7"],
    ]);
    expect(read.malformed.examples).toMatchObject([{ row: 2 }]);
  });

  it("shifts no columns where rows have a cell more than the header", async () => {
    const read = await readContent(`user,item,time\n${log.map((row) => `${row.join(",")},x\n`).join("")}`);
    expect(read.columns).toEqual(["user", "item", "time"]);
    expect(read.malformed).toMatchObject({ count: 36, examples: { length: 5 } });
    const escaped = await readContent(
      `item,title,time\n${log.map(([, item, time]) => `${item},a\\, b,${time}\n`).join("")}`,
    );
    expect(escaped.rows).toEqual(log.map(([, item, time]) => [item, "a, b", time]));
  });

  it("counts many malformed rows exactly, with five examples", async () => {
    const read = await readContent(`user,item,time\nu,i,1\n${"bad\n".repeat(100_000)}v,i,2\n`);
    expect(read.malformed.count).toBe(100_000);
    expect(read.malformed.examples).toHaveLength(5);
    expect(read.numbers).toEqual([1, 100_002]);
  });

  it("reads titles of any length and gives up only the row that is longer than memory should hold", async () => {
    const long = "x".repeat(500_000);
    const endless = "y".repeat(9_000_000);
    const read = await readContent(`user,title,time\nu,${long},1\nv,${endless},2\nw,z,3\n`);
    expect(read.rows.map(([user, title]) => [user, title?.length])).toEqual([
      ["u", 500_000],
      ["w", 1],
    ]);
    expect(read.malformed).toMatchObject({ count: 1, examples: [{ row: 2 }] });
  });
});

describe("a table", () => {
  it("can be read twice, and in part, with the same rows, counts and notes", async () => {
    const dir = await mkdtemp(join(tmpdir(), "prismrec-twice-"));
    const path = join(dir, "table.csv");
    await writeFile(path, Buffer.from(`user,title,time\nu,"Amélie, the",1\nv,"a "b" c",2\nw,x\nx,"y",3\n`, "latin1"));
    try {
      await withDuckDb(async (connection) => {
        const table = await openTable(connection, path);
        const readings = [];
        for (let i = 0; i < 2; i++) {
          for await (const _ of table.read(["user"])) break;
          const rows = [];
          for await (const cells of table.read(["title", "time"])) rows.push(...(cells[0] ?? []));
          readings.push({ rows, malformed: table.malformed(), notes: table.notes, row: table.rowOf(3) });
        }
        expect(readings[1]).toEqual(readings[0]);
        expect(readings[0]).toMatchObject({ rows: ["Amélie, the", 'a "b" c', "y"], malformed: { count: 1 }, row: 4 });
        expect(readings[0]?.notes).toHaveLength(2);
      });
    } finally {
      await rm(dir, { recursive: true });
    }
  });

  it("stops with the signal's own reason", async () => {
    const dir = await mkdtemp(join(tmpdir(), "prismrec-abort-"));
    const reason = new Error("stop");
    try {
      for (const [name, content] of [
        ["x.csv", text(log)],
        ["x.csv.gz", gzipSync(text(log))],
        ["x.json", '{"user_id":"u"}\n'],
      ] as const) {
        await writeFile(join(dir, name), content);
        await withDuckDb(async (connection) => {
          const table = await openTable(connection, join(dir, name));
          const rows = table.read(["user_id"], AbortSignal.abort(reason))[Symbol.asyncIterator]();
          await expect(rows.next()).rejects.toBe(reason);
        });
      }
    } finally {
      await rm(dir, { recursive: true });
    }
  });
});

describe("dialects", () => {
  it.each([
    [";", "csv"],
    ["|", "csv"],
    ["\t", "csv"],
    [",", "tsv"],
    ["::", "dat"],
    ["\u0001", "txt"],
    [" ", "txt"],
  ])("finds the delimiter %j in a .%s file", async (delimiter, extension) => {
    const read = await readContent(text(log, delimiter), `inter.${extension}`);
    expect(read.columns).toEqual(["user_id", "item_id", "timestamp"]);
    expect(read.rows).toEqual(log);
    expect(read.notes).toHaveLength(1);
  });

  it("is not misled by commas: decimal ones, or those of titles in quotes", async () => {
    const decimals = await readContent("user;item;rating;time\nu1;i1;3,5;11\nu2;i2;4,0;12\n");
    expect(decimals.rows[0]).toEqual(["u1", "i1", "3,5", "11"]);
    const quoted = await readContent('item;title\n1;"a, b, c"\n2;"d; e"\n3;"f, g, h"\n');
    expect(quoted.rows).toEqual([
      ["1", "a, b, c"],
      ["2", "d; e"],
      ["3", "f, g, h"],
    ]);
  });

  it.each(["sep=;\n", "sep=;\r\n", '"sep=;"\n', "\uFEFFsep=;\n", "SEP=;\n"])(
    "understands the line %j of a spreadsheet",
    async (line) => {
      const read = await readContent(`${line}${text(log, ";")}`);
      expect(read.rows).toEqual(log);
      expect(read.notes).toEqual(note("sep="));
    },
  );

  it("skips empty lines and comments before the table, and says so", async () => {
    for (const [before, said] of [
      ["\n\r\n  \n", "empty"],
      [",,\n,,\n", "empty"],
      ["# made by x, on Monday\n# for y\n", "#"],
      ["% bip weighted\n", "#"],
    ] as const) {
      const read = await readContent(`${before}${text(log)}`);
      expect(read.columns).toEqual(["user_id", "item_id", "timestamp"]);
      expect(read.rows).toEqual(log);
      expect(read.notes).toEqual(note(said));
    }
  });

  it("begins after a line that is none of the table", async () => {
    const read = await readContent(`Export of our log\n${text(log)}`);
    expect([read.columns, read.rows]).toEqual([["user_id", "item_id", "timestamp"], log]);
    expect(read.notes).toEqual(note("Export of our log"));
  });

  it("takes no row for a comment", async () => {
    const tags = log.map(([user, ...others]) => [`#${user}`, ...others]);
    const bare = await readContent(tags.map((row) => row.join(",")).join("\n"));
    expect([bare.columns, bare.rows]).toEqual([["user_id", "item_id", "timestamp"], tags]);
    expect((await readContent(text(tags))).rows).toEqual(tags);
  });

  it("keeps quoting where the last row is cut off inside a quote", async () => {
    const rows = log.map(([user, , time], i) => [user!, `"t, ${i}"`, time!]);
    const read = await readContent(`${text(rows)}u99,"x`);
    expect(read.rows).toEqual(log.map(([user, , time], i) => [user, `t, ${i}`, time]));
    expect(read.malformed).toMatchObject({ count: 1, examples: [{ row: 37 }] });
  });

  it("finds a header in a comment", async () => {
    const read = await readContent(
      `# a set\n# user_id\titem_id\ttimestamp\n${text(log, "\t").split("\n").slice(1).join("\n")}`,
      "x.tsv",
    );
    expect(read.columns).toEqual(["user_id", "item_id", "timestamp"]);
    expect(read.rows).toEqual(log);
  });

  it("reads line breaks in quoted cells of header and rows, and line ends of three kinds", async () => {
    for (const newline of ["\n", "\r\n", "\r"]) {
      const content = `user,item,"rating${newline}(1-5)",time\nu1,i1,"five${newline}of five",11\nu2,i2,4,12\n`
        .replaceAll("\n", newline)
        .replaceAll("\r\r", "\r");
      const read = await readContent(content);
      expect(read.columns).toEqual(["user", "item", "rating (1-5)", "time"]);
      expect(read.rows.map((row) => row.map((cell) => cell?.replace(/\s+/, " ")))).toEqual([
        ["u1", "i1", "five of five", "11"],
        ["u2", "i2", "4", "12"],
      ]);
    }
  });

  it("reads files of many chunks, whatever is cut", async () => {
    const rows = Array.from({ length: 40_000 }, (_, i) => [
      `ü${i}`,
      i % 7 === 0 ? `Été, "${i}"\r\nand 日本 ${i}` : `€ ${i}`,
      String(1e9 + i),
    ]);
    const content = `user,title,time\r\n${rows.map(([u, t, s]) => `${u},${quoted(t!)},${s}\r\n`).join("")}`;
    for (const bytes of [Buffer.from(content), gzipSync(content), Buffer.from(`\uFEFF${content}`, "utf16le")]) {
      const read = await readContent(bytes);
      expect(read.malformed.count).toBe(0);
      expect(read.rows).toEqual(rows);
    }
  });

  it("reads rows that end in CR though cells hold LF, as old spreadsheets write them", async () => {
    const read = await readContent('user,title,time\ru,"a\nb",1\rv,c,2\rw,"d\ne\nf",3\r');
    expect(read.rows).toEqual([
      ["u", "a\nb", "1"],
      ["v", "c", "2"],
      ["w", "d\ne\nf", "3"],
    ]);
  });

  it("reads rows of many lines each", async () => {
    const rows = Array.from({ length: 3000 }, (_, i) => [`u${i}`, `one\ntwo ${i}\n\nthree`, String(i)]);
    const read = await readContent(`user,review,stars\n${rows.map(([u, r, s]) => `${u},"${r}",${s}\n`).join("")}`);
    expect(read.rows).toEqual(rows);
    expect(read.malformed.count).toBe(0);
  });

  it("reads blanks around quotes, single quotes, and rows with a name before them", async () => {
    const padded = await readContent('id, title, year\n1, "Heat, The", 1995\n2, "Up", 2009\n');
    expect(padded.rows.map(([id, title]) => [id, title])).toEqual([
      ["1", "Heat, The"],
      ["2", "Up"],
    ]);
    const single = await readContent("'user','item','time'\n'u1','a, b',11\n'u2','c',12\n");
    expect(single.rows).toEqual([
      ["u1", "a, b", "11"],
      ["u2", "c", "12"],
    ]);
    const bare = await readContent("'user','item','time'\n'u1','i1',11\n'u2','i2',12\n");
    expect([bare.columns, bare.rows[0]]).toEqual([
      ["user", "item", "time"],
      ["u1", "i1", "11"],
    ]);
    const named = await readContent('"user","item","time"\n"1","u1","i1",11\n"2","u2","i2",12\n');
    expect(named.columns).toEqual(["row name", "user", "item", "time"]);
    expect(named.rows[1]).toEqual(["2", "u2", "i2", "12"]);
    expect(named.notes).toEqual(note("one cell more"));
  });
});

describe("headers", () => {
  it("takes the types of RecBole off the names and keeps lists whole", async () => {
    const inter = await readContent(text(log, "\t", ["user_id:token", "item_id:token", "timestamp:float"]), "x.inter");
    expect(inter.columns).toEqual(["user_id", "item_id", "timestamp"]);
    expect(inter.rows).toEqual(log);
    expect(inter.notes).toEqual(note("RecBole"));
    const item = await readContent(
      "item_id:token\ttitle:token_seq\tgenre:token_seq\n1\tToy Story\tAnimation Children's\n",
      "x.item",
    );
    expect(item.rows).toEqual([["1", '["Toy","Story"]', '["Animation","Children\'s"]']]);
  });

  it("names the columns of MovieLens files, which have no header", async () => {
    const ratings = Array.from({ length: 20 }, (_, i) => [
      String(1 + (i % 3)),
      String(1000 + i),
      String(1 + (i % 5)),
      String(978_300_760 + i),
    ]);
    for (const [delimiter, name] of [
      ["::", "ratings.dat"],
      ["\t", "u.data"],
      [",", "ratings.csv"],
    ] as const) {
      const read = await readContent(ratings.map((row) => row.join(delimiter)).join("\n"), name);
      expect(read.columns).toEqual(["user_id", "item_id", "rating", "timestamp"]);
      expect(read.rows).toEqual(ratings);
      expect(read.notes).toEqual(note("no header line"));
    }
    const many = Array.from({ length: 50 }, (_, i) => `${i + 1}::Film ${i}, The (19${10 + i})::Drama|War`).join("\n");
    expect((await readContent(many, "movies.dat")).rows[3]).toEqual(["4", "Film 3, The (1913)", "Drama|War"]);
    const amazon = [
      "A2CX7LUOHB2NDG,0321732944,5.0,1341100800",
      "A2NWSAGRHCP8N5,0439886341,1.0,1367193600",
      "AKM1MP6P0OYPR,013285105X,3.0,1374451200",
    ];
    expect((await readContent(amazon.join("\n"), "ratings_Electronics.csv")).columns).toEqual([
      "user_id",
      "item_id",
      "rating",
      "timestamp",
    ]);
    const movies = await readContent(
      Buffer.from(
        "1::Toy Story (1995)::Animation|Children's|Comedy\n2::Misérables, Les (1995)::Drama|Musical\n3::Heat (1995)::Action\n",
        "latin1",
      ),
      "movies.dat",
    );
    expect(movies.columns).toEqual(["item_id", "title", "categories"]);
    expect(movies.rows[1]).toEqual(["2", "Misérables, Les (1995)", "Drama|Musical"]);
    expect(movies.notes).toEqual(note("Windows-1252"));
  });

  it("makes categories of the flags of MovieLens 100k's u.item", async () => {
    const flags = (...on: number[]): string => Array.from({ length: 19 }, (_, i) => (on.includes(i) ? 1 : 0)).join("|");
    const read = await readContent(
      `1|Toy Story (1995)|01-Jan-1995||http://us.imdb.com/M?1|${flags(3, 4, 5)}\n2|GoldenEye (1995)|01-Jan-1995||http://us.imdb.com/M?2|${flags(1, 2, 16)}\n`,
      "u.item",
      ["item_id", "title", "categories"],
    );
    expect(read.rows).toEqual([
      ["1", "Toy Story (1995)", '["Animation","Children\'s","Comedy"]'],
      ["2", "GoldenEye (1995)", '["Action","Adventure","Thriller"]'],
    ]);
    const short = await readContent(
      "1|Toy Story (1995)|01-Jan-1995||0|0|1\n2|GoldenEye (1995)|01-Jan-1995||0|1|1\n",
      "u.item",
    );
    expect(short.columns.slice(0, 3)).toEqual(["item_id", "title", "release_date"]);
    expect(short.rows).toHaveLength(2);
  });

  it("refuses other files without a header, and shows their first row", async () => {
    const steam = "151603712,The Elder Scrolls V Skyrim,purchase,1.0,0\n151603712,Fallout 4,play,87.0,0\n";
    const news = Array.from({ length: 9 }, (_, i) => `N${i}\tlifestyle\troyals\tThe Brands ${i} Swear By\n`).join("");
    await expect(readContent(news, "news.tsv")).rejects.toMatchObject({ code: "DATA_FORMAT" });
    await expect(readContent("1|Toy Story (1995)|0|0|1\n", "u.item")).rejects.toMatchObject({
      message: expect.stringContaining("no header line"),
    });
    await expect(readContent(steam)).rejects.toMatchObject({
      code: "DATA_FORMAT",
      message: expect.stringContaining("no header line"),
      received: expect.stringContaining("151603712,The Elder Scrolls V Skyrim"),
    });
  });

  it("takes names for a header whatever the rows hold", async () => {
    const read = await readContent("user,item\nalice,heat\nbob,up\n");
    expect([read.columns, read.rows]).toEqual([
      ["user", "item"],
      [
        ["alice", "heat"],
        ["bob", "up"],
      ],
    ]);
    const frame = await readContent("0,1,2\n5,6,1500000000\n7,8,1500000001\n");
    expect(frame.columns).toEqual(["0", "1", "2"]);
    const shaped = await readContent("user_id,item_id\nu05,i04\nu06,i01\n");
    expect(shaped.rows).toHaveLength(2);
    const bare = await readContent("u05,i04\nu06,i01\n");
    expect([bare.columns, bare.rows.length]).toEqual([["user_id", "item_id"], 2]);
  });
});

describe("encodings and packings", () => {
  const accents = text(
    [
      ["1", "Amélie", "x"],
      ["2", "Señor — “Œuvre” €5", "y"],
      ["3", "plain", "z"],
    ],
    ",",
    ["item", "title", "tag"],
  );
  const cp1252 = Buffer.from(
    accents.replace("—", "\x97").replace("“", "\x93").replace("”", "\x94").replace("Œ", "\x8c").replace("€", "\x80"),
    "latin1",
  );

  it("reads Windows-1252 and says so, wherever its first letter stands", async () => {
    const read = await readContent(cp1252);
    expect(read.rows[1]?.[1]).toBe("Señor — “Œuvre” €5");
    expect(read.notes).toEqual(note("Windows-1252"));
    const late = await readContent(
      Buffer.concat([
        Buffer.from(`item,title,tag\n${"7,plain,x\n".repeat(60_000)}`),
        Buffer.from("9,Amélie,y\n", "latin1"),
      ]),
    );
    expect(late.rows.at(-1)).toEqual(["9", "Amélie", "y"]);
    expect(late.notes).toEqual(note("Windows-1252"));
  });

  it("reads UTF-16 of both kinds, with a mark or without", async () => {
    const little = Buffer.from(accents, "utf16le");
    const mark = Buffer.from("\uFEFF", "utf16le");
    for (const bytes of [Buffer.concat([mark, little]), little]) {
      for (const content of [bytes, Buffer.from(bytes).swap16()]) {
        const read = await readContent(content);
        expect(read.rows.map(([, title]) => title)).toEqual(["Amélie", "Señor — “Œuvre” €5", "plain"]);
        expect(read.notes).toEqual(note("UTF-16"));
      }
    }
  });

  it("counts a damaged row of a UTF-8 file and keeps the others", async () => {
    const bytes = Buffer.concat([
      Buffer.from(accents),
      Buffer.from([0x34, 0x2c, 0xc3, 0x2c, 0x77, 10]),
      Buffer.from("5,é,v\n"),
    ]);
    const read = await readContent(bytes);
    expect(read.rows).toHaveLength(4);
    expect(read.malformed.examples).toMatchObject([{ row: 4, reason: "not valid UTF-8" }]);
  });

  it("reads gzip, in several members too, and refuses it cut short", async () => {
    const [first, second] = [text(log), text(log).split("\n").slice(1).join("\n")];
    const read = await readContent(Buffer.concat([gzipSync(first), gzipSync(second)]), "inter.csv.gz");
    expect(read.rows).toEqual([...log, ...log]);
    expect(read.notes).toEqual(note("gzip"));
    await expect(readContent(gzipSync(text(log)).subarray(0, 60), "inter.csv.gz")).rejects.toMatchObject({
      code: "DATA_FORMAT",
      hint: expect.stringContaining("gunzip -t"),
    });
  });

  it.each([
    ["a zip archive", "PK\x03\x04....ratings.csv", "unzip"],
    ["an Excel workbook", "PK\x03\x04....xl/workbook.xml", "CSV"],
    ["bzip2", "BZh91AY&SY", "bzcat"],
    ["a web page or XML: <!DOCTYPE html>", "<!DOCTYPE html>", "download"],
    ["xz", "\xfd7zXZ\0", "xzcat"],
    ["zstd", "\x28\xb5\x2f\xfd..", "zstdcat"],
  ])("refuses %s and says how to unpack it", async (received, content, hint) => {
    await expect(readContent(Buffer.from(content, "latin1"))).rejects.toMatchObject({
      code: "DATA_FORMAT",
      received,
      hint: expect.stringContaining(hint),
    });
  });
});
