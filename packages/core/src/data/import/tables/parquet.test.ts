import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readTableFile } from "../../../testing/read-table.js";
import { splitCategories } from "../item-text.js";
import { withDuckDb } from "./duckdb.js";

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "prismrec parquet "));
});
afterAll(async () => {
  await rm(dir, { recursive: true, force: true });
});

let files = 0;

/** Writes the rows of a SELECT as Parquet and reads them back. */
async function roundTrip(select: string): Promise<(string | null)[][]> {
  const path = join(dir, `${files++}.parquet`);
  return await withDuckDb(async (connection) => {
    await connection.run(`COPY (${select}) TO '${path}' (FORMAT parquet)`);
    return (await readTableFile(connection, path)).rows;
  });
}

describe("Parquet", () => {
  it("reads lists whole, whatever their texts hold", async () => {
    const [[texts, numbers, nested, structs, none] = []] = await roundTrip(
      `SELECT ['A|B', 'C, "D"', NULL] AS a, [1, 9007199254740993] AS b, [['Sports', 'Golf'], ['Clubs']] AS c,
        [{'id': 1, 'name': 'Action'}, {'id': 2, 'name': 'Indie'}] AS d, NULL::VARCHAR[] AS e`,
    );
    expect(splitCategories(texts ?? "", ";")).toEqual(["A|B", 'C, "D"']);
    expect(numbers).toBe("[1,9007199254740993]");
    expect(splitCategories(nested ?? "", "|")).toEqual(["Sports", "Golf", "Clubs"]);
    expect(splitCategories(structs ?? "", "|")).toEqual(["Action", "Indie"]);
    expect(none).toBeNull();
  });

  it("reads structs, maps and arrays of fixed length", async () => {
    const [[struct, map, array] = []] = await roundTrip(
      "SELECT {'name': 'Action'} AS a, MAP {'Action': 5, 'FPS': 2} AS b, ['A', 'B']::VARCHAR[2] AS c",
    );
    expect(splitCategories(struct ?? "", "|")).toEqual(["Action"]);
    expect(splitCategories(map ?? "", "|")).toEqual(["Action", "FPS"]);
    expect(splitCategories(array ?? "", "|")).toEqual(["A", "B"]);
  });

  it("reads points in time of every precision as UTC", async () => {
    const at = "TIMESTAMP '2021-11-07 05:30:00.123456'";
    const [row] = await roundTrip(
      `SELECT ${at} AS a, ${at}::TIMESTAMP_S AS b, ${at}::TIMESTAMP_MS AS c, '2021-11-07 05:30:00.123456789'::TIMESTAMP_NS AS d,
        DATE '2021-11-07' AS e, make_timestamptz(1636263000123456) AS f`,
    );
    expect(row).toEqual([
      "2021-11-07T05:30:00.123456Z",
      "2021-11-07T05:30:00.000000Z",
      "2021-11-07T05:30:00.123000Z",
      "2021-11-07T05:30:00.123456789Z",
      "2021-11-07T00:00:00.000000Z",
      "2021-11-07T05:30:00.123456Z",
    ]);
  });

  it("reads the same instants whatever the machine's time zone", async () => {
    const path = join(dir, "zoned.parquet");
    const instants = Array.from({ length: 12 }, (_, i) => 1_636_250_400_000_000 + i * 900_000_000);
    await withDuckDb((connection) =>
      connection.run(`COPY (SELECT make_timestamptz(unnest([${instants.join(", ")}])) AS t) TO '${path}'`),
    );
    for (const zone of ["America/New_York", "Asia/Kolkata", "UTC"]) {
      const { rows } = await withDuckDb(async (connection) => {
        // What DuckDB takes from the machine.
        await connection.run(`SET TimeZone = '${zone}'`);
        return await readTableFile(connection, path);
      });
      expect(rows.map(([time]) => Date.parse(time ?? "") * 1000)).toEqual(instants);
    }
  });

  it("reads bytes that are text as text", async () => {
    expect(await roundTrip("SELECT encode('Amélie') AS a, '\\xFF'::BLOB AS b")).toEqual([["Amélie", "\\xFF"]]);
  });
});
