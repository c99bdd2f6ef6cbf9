import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { userItems } from "../catalog.js";
import { type ImportOptions, importDataset } from "./import.js";
import { withDuckDb } from "./tables/duckdb.js";

let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "prismrec import [odd] *"));
});

afterAll(async () => {
  await rm(dir, { recursive: true, force: true });
});

let files = 0;

/** Writes a file under a fresh name and returns its path. */
async function file(content: string | Uint8Array, extension = "csv"): Promise<string> {
  const path = join(dir, `${files++}.${extension}`);
  await writeFile(path, content);
  return path;
}

/** Rows of a small valid log: every user takes every item, in item order, one second apart. */
function grid(users: readonly string[], items: readonly string[]): (string | number)[][] {
  return users.flatMap((user, u) => items.map((item, i) => [user, item, 1_600_000_000 + 100 * u + i]));
}

const csv = (rows: readonly (readonly (string | number)[])[], header = "user,item,timestamp"): string =>
  `${[header, ...rows.map((row) => row.join(","))].join("\n")}\n`;

const NO_CORE = { core: { mode: "none" } } as const;
const users10 = Array.from({ length: 10 }, (_, u) => `u${u}`);
const valid = csv(grid(users10, ["a", "b", "c", "d", "e"]));

async function historyOf(options: ImportOptions, user: string): Promise<string[]> {
  const { dataset } = await importDataset(options);
  const index = dataset.log.indexOf(user);
  if (index === undefined) throw new Error(`no user ${user}`);
  return Array.from(userItems(dataset.log, index), (id) => dataset.catalog.items[id]!.id);
}

describe("importDataset", () => {
  it("keeps ids as the text that they are: 0012 is not 12, and large numbers lose no digit", async () => {
    const interactions = await file(csv(grid(users10, ["0012", "12", "9007199254740993", "9007199254740992", "1e3"])));
    const { dataset } = await importDataset({ interactions });
    expect(dataset.catalog.items.slice(1).map(({ id }) => id)).toEqual([
      "0012",
      "12",
      "1e3",
      "9007199254740992",
      "9007199254740993",
    ]);
    expect(dataset.catalog.idOf("0012")).toBe(1);
    expect(dataset.catalog.idOf("")).toBeUndefined();
  });

  it("orders ids as numbers where all are digits, and equal numbers by text", async () => {
    const interactions = await file(csv(grid(users10, ["10", "9", "09", "100", "2"])));
    const { dataset } = await importDataset({ interactions });
    expect(dataset.catalog.items.slice(1).map(({ id }) => id)).toEqual(["2", "09", "9", "10", "100"]);
  });

  it("gives the lowest dense ids to the items with most training events, and counts no other events", async () => {
    const rows = grid(users10, ["a", "b", "c", "d", "e"]);
    rows.push(["u0", "z", 1], ["u1", "z", 1], ["u2", "z", 1], ["u9", "y", 1], ["u9", "x", 1]);
    const split = await file(
      `user,part\n${users10.map((u, i) => `${u},${i < 8 ? "train" : i < 9 ? "valid" : "test"}`).join("\n")}`,
    );
    const { dataset } = await importDataset({
      interactions: await file(csv(rows)),
      split: { file: split },
      ...NO_CORE,
    });
    const { items, popularity } = dataset.catalog;
    expect(items.map(({ id }) => id)).toEqual(["", "a", "b", "c", "d", "e", "z", "x", "y"]);
    expect([...popularity]).toEqual([0, 8, 8, 8, 8, 8, 3, 0, 0]);
  });

  it("sorts each user's events by 64-bit time, ties in file order", async () => {
    // These times differ only below the precision of a 32-bit (and the first two of a 64-bit) float.
    const times = ["1600000000000000003", "1600000000000000001", "1600000000000000002", "5", "5"];
    const rows = users10.flatMap((user) => ["a", "b", "c", "e", "d"].map((item, i) => [user, item, times[i]!]));
    expect(await historyOf({ interactions: await file(csv(rows)) }, "u3")).toEqual(["e", "d", "b", "c", "a"]);
  });

  it("keeps the earliest event of a repeated user and item, wherever it stands in the file", async () => {
    const rows = [
      ...grid(users10, ["a", "b", "c", "d", "e"]),
      ["u3", "e", 5],
      ["u3", "e", 7],
      ["u3", "a", 1_700_000_000],
    ];
    const options = { interactions: await file(csv(rows)) };
    expect(await historyOf(options, "u3")).toEqual(["e", "a", "b", "c", "d"]);
    const { report } = await importDataset(options);
    expect(report.drops).toEqual([
      {
        file: "interactions",
        reason: "duplicate",
        count: 3,
        examples: expect.arrayContaining([{ row: 52, text: "u3, e" }]),
      },
    ]);
  });

  it("keeps file order where there are no times and it is asked for, and says that the data is untimed", async () => {
    const interactions = await file(
      csv(
        grid(users10, ["e", "d", "c", "b", "a"]).map((row) => row.slice(0, 2)),
        "user,item",
      ),
    );
    expect(await historyOf({ interactions, order: "file" }, "u0")).toEqual(["e", "d", "c", "b", "a"]);
    const { report, dataset } = await importDataset({ interactions, order: "file" });
    expect(report.timing).toEqual({ timed: false, tiedShare: 0, withinMinuteShare: 0 });
    expect(dataset.log.timestamps).toBeUndefined();
  });

  it("drops users and items below the core until nothing changes, where a single pass stops early", async () => {
    // Without the lone user of f, f has 4 users and goes; without f, u10 has 4 items and goes too.
    const rows = [
      ...grid(users10, ["a", "b", "c", "d", "e"]),
      ...["a", "b", "c", "d", "f"].map((item) => ["u10", item, 1]),
      ...["u0", "u1", "u2", "lone"].map((user) => [user, "f", 1]),
    ];
    const interactions = await file(csv(rows));
    const iterative = await importDataset({ interactions });
    expect(iterative.report.kept).toEqual({ users: 10, items: 5, events: 50 });
    expect(iterative.report.drops).toMatchObject([{ reason: "below-core", count: 9 }]);
    const single = await importDataset({ interactions, core: { mode: "single_pass" } });
    // f has five users before any user goes, so it stays, and so does u10.
    expect(single.report.kept).toEqual({ users: 11, items: 6, events: 58 });
  });

  it("reports ties and bulk entry", async () => {
    const rows = users10.flatMap((user) =>
      ["a", "b", "c", "d", "e"].map((item, i) => [user, item, [0, 0, 30, 91, 500][i]!]),
    );
    const { report } = await importDataset({ interactions: await file(csv(rows)) });
    expect(report.timing).toEqual({ timed: true, tiedShare: 0.4, withinMinuteShare: 0.4 });
  });

  it("finds columns by their usual names and reads named ones", async () => {
    const rows = grid(users10, ["a", "b", "c", "d", "e"]).map(([u, i, t]) => [t!, 3.5, i!, u!]);
    const sniffed = await importDataset({ interactions: await file(csv(rows, "Time,rating,movieId,USER_ID")) });
    expect(sniffed.report.columns).toEqual({
      ...{ user: "USER_ID", item: "movieId", timestamp: "Time" },
      weight: "rating",
    });
    const named = await importDataset({
      interactions: await file(csv(rows, 'when,stars,"what, exactly",who')),
      columns: { user: "who", item: "what, exactly", timestamp: "when" },
    });
    expect(named.report.kept).toEqual(sniffed.report.kept);
  });

  it("reads the same data from CSV, TSV, JSON lines and Parquet alike", async () => {
    const rows = grid(users10, ["0012", "b,b", "c", "d", "e"]);
    const sources = [
      await file(csv(rows.map(([u, i, t]) => [u!, `"${i}"`, t!]))),
      await file(
        csv(rows.map((row) => row.map(String)))
          .replaceAll("b,b", "b;b")
          .replaceAll(",", "\t")
          .replaceAll(";", ","),
        "tsv",
      ),
      await file(rows.map(([user, item, timestamp]) => JSON.stringify({ user, item, timestamp })).join("\n"), "jsonl"),
      join(dir, "events.parquet"),
    ];
    await withDuckDb(async (connection) => {
      const values = rows.map(([u, i, t]) => `('${u}', '${i}', ${t}::BIGINT)`).join(", ");
      await connection.run(
        `COPY (SELECT * FROM (VALUES ${values}) t("user", item, ts)) TO '${sources[3]}' (FORMAT parquet)`,
      );
    });
    const logs = [];
    for (const interactions of sources) {
      const { dataset, report } = await importDataset({ interactions });
      logs.push({
        ids: dataset.catalog.items.map(({ id }) => id),
        items: dataset.log.items,
        times: dataset.log.timestamps,
        drops: report.drops,
      });
    }
    for (const log of logs) expect(log).toEqual(logs[0]);
    expect(logs[0]!.ids).toContain("0012");
    expect(logs[0]!.ids).toContain("b,b");
  });

  it("accepts ISO times, with CRLF line ends and a byte-order mark", async () => {
    const stamps = [
      "2020-01-03",
      "2020-01-01T10:00:00+02:00",
      "2020-01-01T09:00:00Z",
      "2020-01-01 08:00:00.5",
      "2021-02-03T04:05:06.123456Z",
    ];
    const rows = users10.flatMap((user) => ["a", "b", "c", "d", "e"].map((item, i) => [user, item, stamps[i]!]));
    const interactions = await file(`\uFEFF${csv(rows).replaceAll("\n", "\r\n")}`);
    expect(await historyOf({ interactions }, "u0")).toEqual(["b", "d", "c", "a", "e"]);
  });

  it("takes titles, years and categories from the items file; an item without a row keeps an empty title", async () => {
    const items = await file(
      'movieId,title,genres\na,"Heat, The (1995)",Crime|Drama|Crime\nb,Alphaville (no year),(no genres listed)\na,Again,X\nc,(1984),A\n,nobody,B\nunused,Unused,A\n',
    );
    const { dataset, report } = await importDataset({ interactions: await file(valid), items });
    const byId = new Map(dataset.catalog.items.map((item) => [item.id, item]));
    expect(byId.get("a")).toEqual({ id: "a", title: "Heat, The", categories: ["Crime", "Drama"], year: 1995 });
    expect(byId.get("b")).toEqual({ id: "b", title: "Alphaville (no year)", categories: [] });
    expect(byId.get("c")).toEqual({ id: "c", title: "(1984)", categories: ["A"] });
    expect(byId.get("d")).toEqual({ id: "d", title: "", categories: [] });
    expect(byId.has("unused")).toBe(false);
    expect(report.titleShare).toBeCloseTo(3 / 5);
    expect(report.drops).toEqual([
      { file: "items", reason: "duplicate-item", count: 1, examples: [{ row: 3, text: "a, Again" }] },
      { file: "items", reason: "missing-item", count: 1, examples: [{ row: 5, text: ", nobody" }] },
    ]);
    expect(report.warnings).toEqual([
      expect.stringContaining("1 of 6 rows of items (16.7 %) cannot be used: 1 missing-item"),
      expect.stringContaining("2 of 5 items have no row"),
    ]);
  });

  it("keeps items whose row ends before the categories, or the title", async () => {
    const items = await file('item,title,genres\na,Heat (1995)\nb,"Up, again"\nc\nd,Alien,Horror\n');
    const { dataset, report } = await importDataset({ interactions: await file(valid), items });
    const titles = dataset.catalog.items.slice(1).map(({ id, title, categories }) => [id, title, categories.join()]);
    expect(titles).toEqual([
      ["a", "Heat", ""],
      ["b", "Up, again", ""],
      ["c", "", ""],
      ["d", "Alien", "Horror"],
      ["e", "", ""],
    ]);
    expect(report.drops).toEqual([]);
  });

  it("depends in its fingerprint on bytes and settings, not on paths", async () => {
    const fingerprint = async (options: ImportOptions) => (await importDataset(options)).dataset.fingerprint;
    const first = await fingerprint({ interactions: await file(valid) });
    expect(await fingerprint({ interactions: await file(valid) })).toBe(first);
    expect(await fingerprint({ interactions: await file(`${valid}u0,f,5\n`) })).not.toBe(first);
    expect(await fingerprint({ interactions: await file(valid), split: { seed: 7 } })).not.toBe(first);
    expect(await fingerprint({ interactions: await file(valid), core: { minimum: 4 } })).not.toBe(first);
  });

  it("stops with the signal's own reason", async () => {
    const reason = new Error("stop");
    const aborted = importDataset({ interactions: await file(valid) }, { signal: AbortSignal.abort(reason) });
    await expect(aborted).rejects.toBe(reason);
  });
});

describe("importDataset on bad input", () => {
  it("counts and numbers every bad row and keeps the others", async () => {
    const lines = valid.trimEnd().split("\n");
    lines.splice(2, 0, "u0,,5", ",a,5", "u0,a,yesterday", "u0,a", "u0,a,5,6,7", "u0,a,");
    lines.push("loner,a,1");
    const { report } = await importDataset({ interactions: await file(lines.join("\n")) });
    expect(report.rowsRead).toBe(57);
    expect(report.kept.events).toBe(50);
    const drops = Object.fromEntries(
      report.drops.map(({ reason, count, examples }) => [reason, { count, rows: examples.map(({ row }) => row) }]),
    );
    expect(drops).toEqual({
      "missing-item": { count: 1, rows: [2] },
      "missing-user": { count: 1, rows: [3] },
      "bad-timestamp": { count: 2, rows: [4, 7] },
      malformed: { count: 2, rows: [5, 6] },
      "below-core": { count: 1, rows: [57] },
    });
  });

  it("counts lines that are not JSON", async () => {
    const lines = grid(users10, ["a", "b", "c", "d", "e"]).map(([user, item, ts]) =>
      JSON.stringify({ user, item, ts }),
    );
    lines.splice(1, 0, "{broken", '{"user": null, "item": "a", "ts": 1}');
    const { report } = await importDataset({ interactions: await file(lines.join("\n"), "jsonl") });
    expect(report.kept.events).toBe(50);
    expect(report.drops.map(({ reason, examples }) => [reason, examples[0]?.row])).toEqual([
      ["malformed", 2],
      ["missing-user", 3],
    ]);
  });

  it("counts rows that are not UTF-8 in a file that is", async () => {
    const text = valid.replaceAll("u9", "\u00fc9");
    const bytes = Buffer.concat([Buffer.from(text), Buffer.from([0x75, 0xff, 0xfe]), Buffer.from(",a,5\n")]);
    const { report } = await importDataset({ interactions: await file(bytes) });
    expect(report.kept.events).toBe(50);
    expect(report.drops).toMatchObject([{ reason: "malformed", count: 1, examples: [{ row: 51 }] }]);
  });

  it("loses no row to a quote that is never closed", async () => {
    const interactions = await file(`${valid}u1,"oops,5\nu2,f,6\n`);
    const { report } = await importDataset({ interactions, ...NO_CORE });
    expect(report.rowsRead).toBe(52);
    expect(report.kept).toMatchObject({ items: 7, events: 52 });
  });

  const failures: [string, () => Promise<ImportOptions>, Record<string, unknown>][] = [
    ["a missing file", async () => ({ interactions: join(dir, "absent.csv") }), { code: "FILE_NOT_FOUND" }],
    ["a folder", async () => ({ interactions: dir }), { code: "IO" }],
    ["an empty file", async () => ({ interactions: await file("") }), { code: "DATA_EMPTY" }],
    ["a header without rows", async () => ({ interactions: await file("user,item\n") }), { code: "DATA_EMPTY" }],
    ["blank lines only", async () => ({ interactions: await file("\n\n\n") }), { code: "DATA_EMPTY" }],
    [
      "a missing user column",
      async () => ({ interactions: await file("who,item\n1,2\n") }),
      { code: "DATA_FORMAT", message: expect.stringContaining("no user column"), received: 'columns "who", "item"' },
    ],
    [
      "a named column that is not there",
      async () => ({ interactions: await file(valid), columns: { timestamp: "when" } }),
      { code: "DATA_FORMAT", expected: 'a column "when"' },
    ],
    [
      "two columns of one name",
      async () => ({ interactions: await file("user,item,user\n1,2,3\n") }),
      { code: "DATA_FORMAT", received: '"user" twice' },
    ],
    [
      "times none of which can be read",
      async () => ({ interactions: await file("user,item,time\n1,2,noon\n1,3,dusk\n") }),
      {
        code: "DATA_FORMAT",
        received:
          "2 rows, dropped: 2 bad-timestamp\nrow 1 (bad-timestamp): 1, 2, noon\nrow 2 (bad-timestamp): 1, 3, dusk",
      },
    ],
    [
      "binary data",
      async () => ({ interactions: await file(Uint8Array.from([1, 2, 0, 255, 254, 10, 0])) }),
      { code: "DATA_FORMAT", received: expect.stringContaining("NUL") },
    ],
    [
      "compressed data",
      async () => ({ interactions: await file(Uint8Array.from([0x1f, 0x8b, 8, 0])) }),
      { code: "DATA_FORMAT", hint: expect.stringContaining("gunzip") },
    ],
    [
      "text that is no JSON",
      async () => ({ interactions: await file("hello\nworld\n", "jsonl") }),
      { code: "DATA_FORMAT" },
    ],
    [
      "a core that nothing reaches",
      async () => ({ interactions: await file("user,item\nu,a\nv,b\n") }),
      { code: "DATA_EMPTY", hint: expect.stringContaining("core") },
    ],
    [
      "an items file without ids",
      async () => ({ interactions: await file(valid), items: await file("title,genres\nx,y\n") }),
      { code: "DATA_FORMAT", message: expect.stringContaining("no item column") },
    ],
    [
      "an empty items file",
      async () => ({ interactions: await file(valid), items: await file("") }),
      { code: "DATA_EMPTY" },
    ],
    [
      "a core of nothing",
      async () => ({ interactions: await file(valid), core: { minimum: 0 } }),
      { code: "CONFIG_INVALID" },
    ],
    [
      "a split file without parts",
      async () => ({ interactions: await file(valid), split: { file: await file("user,fold\nu0,1\n") } }),
      { code: "SPLIT_INVALID", message: expect.stringContaining("no part column") },
    ],
    [
      "a split file with an unknown part",
      async () => ({
        interactions: await file(valid),
        split: { file: await file("user,part\nu0,train\nu1,holdout\n") },
      }),
      { code: "SPLIT_INVALID", message: expect.stringContaining("row 2") },
    ],
    [
      "a split file with a user in two parts",
      async () => ({ interactions: await file(valid), split: { file: await file("user,part\nu0,train\nu0,test\n") } }),
      { code: "SPLIT_INVALID", received: expect.stringContaining('earlier "train"') },
    ],
    [
      "a split file of other users",
      async () => ({
        interactions: await file(valid),
        split: { file: await file("user,part\nx,train\ny,valid\nz,test\n") },
      }),
      { code: "SPLIT_INVALID", message: expect.stringContaining("holds nobody") },
    ],
    [
      "a split file with another protocol",
      async () => ({
        interactions: await file(valid),
        split: { protocol: "temporal", file: await file("user,part\nu0,train\n") },
      }),
      { code: "SPLIT_INVALID" },
    ],
  ];

  it.each(failures)("answers %s with a typed error", async (_, options, expected) => {
    await expect(importDataset(await options())).rejects.toMatchObject({ name: "PrismrecError", ...expected });
  });

  it("answers a truncated or damaged Parquet file with a typed error", async () => {
    const whole = join(dir, "whole.parquet");
    await withDuckDb(async (connection) => {
      await connection.run(`COPY (SELECT 'u' AS "user", i::VARCHAR AS item FROM range(20000) t(i)) TO '${whole}'`);
    });
    const bytes = await readFile(whole);
    const cuts = [bytes.subarray(0, bytes.length >> 1), bytes.subarray(0, 4), Buffer.from("not parquet at all")];
    for (const cut of cuts) {
      await expect(importDataset({ interactions: await file(cut, "parquet") })).rejects.toMatchObject({
        code: "DATA_FORMAT",
      });
    }
  });

  it("refuses 32-bit floating point times, which have lost the order of events", async () => {
    const path = join(dir, "float.parquet");
    await withDuckDb(async (connection) => {
      await connection.run(`COPY (SELECT 'u' AS "user", 'i' AS item, 1600000000::FLOAT AS timestamp) TO '${path}'`);
    });
    await expect(importDataset({ interactions: path })).rejects.toMatchObject({
      code: "DATA_FORMAT",
      received: expect.stringContaining("FLOAT"),
    });
  });

  it("leaves out users that the split file does not name, and counts them and their events", async () => {
    const split = await file("user,part\nu0,train\nu1,train\nu2,valid\nu3,test\n");
    const { dataset, report } = await importDataset({ interactions: await file(valid), split: { file: split } });
    expect(report.split).toEqual({ protocol: "user-disjoint", train: 2, valid: 1, test: 1, leftOut: 6 });
    expect(report.drops).toMatchObject([{ reason: "not-in-split", count: 30 }]);
    expect(dataset.log.userIds).toEqual(["u0", "u1", "u2", "u3"]);
    expect(dataset.log.indexOf("u4")).toBeUndefined();
  });
});
