import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { withDuckDb } from "./tables/duckdb.js";
import { type TableColumn, type TableRow, writeTable } from "./write-table.js";

const COLUMNS: readonly TableColumn[] = [
  { name: "user", type: "VARCHAR" },
  { name: 'odd "name"', type: "BIGINT" },
  { name: "score", type: "DOUBLE" },
  { name: "labels", type: "VARCHAR[]" },
  { name: "vector", type: "FLOAT[]" },
];
const ROWS: readonly TableRow[] = [
  { user: "u1", 'odd "name"': 1, score: 0.1, labels: ["a, b", 'c "d"', "é\n日本"], vector: [Math.fround(0.3), -1] },
  { user: "", 'odd "name"': null, score: null, labels: [], vector: [] },
  { user: "null", 'odd "name"': 9_007_199_254_740_991, score: 1e-300, labels: null, vector: null },
  { user: 'x,"y"\r\n\tz', 'odd "name"': -3, score: -2.5, labels: [""], vector: [Math.fround(1e-30)] },
];

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-table-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const query = (sql: string): Promise<unknown[][]> =>
  withDuckDb(async (connection) => (await connection.runAndReadAll(sql)).getRowsJS());

const cells = (row: TableRow): unknown[] => COLUMNS.map(({ name }) => row[name] ?? null);

describe("writeTable", () => {
  it("writes Parquet that holds the very values, lists as lists", async () => {
    const path = join(folder, "it's [one]*.parquet");
    await writeTable(path, COLUMNS, ROWS);
    const copy = join(folder, "copy.parquet");
    await writeFile(copy, await readFile(path));
    const types = await query(`SELECT column_type FROM (DESCRIBE SELECT * FROM '${copy}')`);
    expect(types.flat()).toEqual(COLUMNS.map(({ type }) => type));
    const values = await query(
      `SELECT to_json(list_value(user))::VARCHAR, "odd ""name""", score, to_json(labels)::VARCHAR, to_json(vector)::VARCHAR FROM '${copy}'`,
    );
    expect(
      values.map(([user, odd, score, labels, vector]) => [
        JSON.parse(String(user))[0],
        odd === null ? null : Number(odd),
        score,
        labels === null ? null : JSON.parse(String(labels)),
        vector === null ? null : JSON.parse(String(vector)).map(Math.fround),
      ]),
    ).toEqual(ROWS.map(cells));
  });

  it.each([
    [".csv", ","],
    [".TSV", "\t"],
  ])("writes %s with a header and lists as JSON text", async (extension, delimiter) => {
    const path = join(folder, `table${extension}`);
    await writeTable(path, COLUMNS, ROWS);
    const rows = await query(
      `SELECT * FROM read_csv('${path}', header=true, all_varchar=true, delim='${delimiter}', quote='"', escape='"', auto_detect=false, allow_quoted_nulls=false, columns={${COLUMNS.map(({ name }) => `'${name}': 'VARCHAR'`).join(", ")}})`,
    );
    const parsed = rows.map(([user, odd, score, labels, vector]) => [
      user,
      odd === null ? null : Number(odd),
      score === null ? null : Number(score),
      labels === null ? null : JSON.parse(String(labels)),
      vector === null ? null : JSON.parse(String(vector)).map(Math.fround),
    ]);
    expect(parsed).toEqual(ROWS.map(cells));
    const header = (await readFile(path, "utf8")).split("\n", 1)[0];
    expect(header).toBe(["user", '"odd ""name"""', "score", "labels", "vector"].join(delimiter));
  });

  it.each([".csv", ".parquet"])(
    "keeps the columns of %s where there is no row, and the order of many",
    async (extension) => {
      const path = join(folder, `table${extension}`);
      await writeTable(path, COLUMNS, []);
      const described = await query(`SELECT column_name FROM (DESCRIBE SELECT * FROM '${path}')`);
      expect(described.flat()).toEqual(COLUMNS.map(({ name }) => name));
      const many = Array.from({ length: 20_000 }, (_, n) => ({ user: `u${n}`, vector: [n] }));
      await writeTable(path, [COLUMNS[0]!, COLUMNS[4]!], many);
      const users = await query(`SELECT user FROM '${path}'`);
      expect(users.flat()).toEqual(many.map(({ user }) => user));
    },
  );

  it("leaves the old file and nothing else where rows fail or the signal aborts", async () => {
    const path = join(folder, "table.parquet");
    await writeFile(path, "old");
    const failing = async function* (): AsyncGenerator<TableRow> {
      yield ROWS[0]!;
      throw new RangeError("no more rows");
    };
    await expect(writeTable(path, COLUMNS, failing())).rejects.toThrow(new RangeError("no more rows"));
    const controller = new AbortController();
    const endless = function* (): Generator<TableRow> {
      for (let n = 0; ; n++) {
        if (n === 10_000) controller.abort(new Error("enough"));
        yield ROWS[0]!;
      }
    };
    await expect(writeTable(path, COLUMNS, endless(), { signal: controller.signal })).rejects.toThrow("enough");
    expect(await readdir(folder)).toEqual(["table.parquet"]);
    expect(await readFile(path, "utf8")).toBe("old");
  });

  it("refuses a kind of table that it does not know", async () => {
    for (const name of ["table.xlsx", "table"]) {
      await expect(writeTable(join(folder, name), COLUMNS, ROWS)).rejects.toMatchObject({
        code: "INVALID_ARGUMENT",
        expected: ".csv, .tsv, .parquet",
      });
    }
    expect(await readdir(folder)).toEqual([]);
  });

  it.skipIf(process.platform !== "linux")("says where it cannot write", async () => {
    await expect(writeTable("/proc/table.csv", COLUMNS, ROWS)).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
  });
});
