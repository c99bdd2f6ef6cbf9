import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { withDuckDb } from "@prismrec/core/data/import";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fit, open } from "./index.js";
import type { VectorDocument } from "./pipeline/export.js";
import { fakeIo, prismrec } from "./testing/fake-io.js";
import { noPostgres, startPostgres, type TestPostgres } from "./testing/postgres.js";
import { smallRows } from "./testing/small-data.js";
import { repositoryRoot } from "./testing/spawn.js";

const LIMIT = 120_000;

let folder: string;
let run: string;
let documents: VectorDocument[];
/** Ten items of each user, best first. */
const exact = new Map<string, readonly { readonly id: string; readonly score: number }[]>();
const histories = new Map<string, string[]>();

async function succeed(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await prismrec(args, fakeIo({ cwd: folder }));
  expect([code, code === 0 ? "" : stderr]).toEqual([0, ""]);
  return stdout;
}

const parsed = <T>(lines: string): T[] =>
  lines
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as T);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-vectors-"));
  run = join(folder, "run");
  const rows = smallRows();
  for (const { user, item } of rows.interactions) histories.set(user, [...(histories.get(user) ?? []), item]);
  const settings = { prior: "none", clusterer: "category", train: { stopping: { epochs: 5 } } };
  await (await fit(rows, { llm: "none", dir: run, settings })).close();
  const shop = await open(run);
  for (const user of histories.keys()) exact.set(user, (await shop.recommend(user, { k: 10 })).items);
  await shop.close();
  documents = parsed(await succeed("export", run, "vectors"));
}, LIMIT);
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("prismrec export RUN vectors", () => {
  const items = () => documents.filter((one) => one.kind === "item");
  const interests = () => documents.filter((one) => one.kind === "interest");

  it("tells items with their attributes, and an interest of each user a line with shares that add up", () => {
    expect(items()).toHaveLength(48);
    const { id, title, attributes, bias, vector } = items().find((one) => one.id === "i7")!;
    expect({ id, title, attributes }).toEqual({
      id: "i7",
      title: "Title 7",
      attributes: { categories: ["group 1"], price: 3.5, inStock: true },
    });
    expect(vector.at(-2)).toBe(bias);
    const lengths = items().map((one) => Math.hypot(...one.vector));
    for (const length of lengths) expect(length).toBeCloseTo(lengths[0]!, 4);
    expect(new Set(interests().map((one) => one.id))).toEqual(new Set(histories.keys()));
    for (const user of histories.keys()) {
      const own = interests().filter((one) => one.id === user);
      expect(own.length).toBeGreaterThan(1);
      expect(own.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 6);
      expect(new Set(own.map(({ interest }) => interest)).size).toBe(own.length);
      for (const one of own) expect([one.vector.length, ...one.vector.slice(-2)]).toEqual([vector.length, 1, 0]);
    }
  });

  it("has the scores of the search in its products", () => {
    for (const user of histories.keys()) {
      const own = interests().filter((one) => one.id === user);
      const scored = items()
        .filter(({ id }) => !histories.get(user)!.includes(id))
        .map(({ id, vector }) => {
          const under = own.map(
            (one) => one.offset + one.vector.reduce((sum, value, x) => sum + value * vector[x]!, 0),
          );
          return { id, score: Math.log(under.reduce((sum, value) => sum + Math.exp(value), 0)) };
        })
        .sort((a, b) => b.score - a.score);
      for (const [place, { id, score }] of exact.get(user)!.entries()) {
        expect(scored.find((one) => one.id === id)!.score).toBeCloseTo(score, 3);
        expect(scored[place]!.score).toBeCloseTo(score, 3);
      }
    }
  });

  it.each([".parquet", ".csv"])("writes a row a vector into %s", async (extension) => {
    const path = join(folder, `x${extension}`);
    await succeed("export", run, "vectors", "-o", path);
    const from = extension === ".csv" ? `read_csv('${path}', all_varchar=true)` : `read_parquet('${path}')`;
    const rows = await withDuckDb(async (connection) => {
      const reader = await connection.runAndReadAll(`select to_json(t)::varchar from ${from} as t`);
      return reader.getRowsJS().map(([json]) => JSON.parse(String(json)));
    });
    expect(rows).toHaveLength(documents.length);
    const list = (value: unknown): number[] => (typeof value === "string" ? JSON.parse(value) : (value as number[]));
    for (const [place, row] of rows.entries()) {
      const document = documents[place]!;
      expect([row.kind, row.id, row.title ?? null]).toEqual([
        document.kind,
        document.id,
        document.kind === "item" ? document.title : null,
      ]);
      if (document.kind === "item") expect(JSON.parse(row.attributes)).toEqual(document.attributes);
      else
        expect([Number(row.interest), Math.fround(Number(row.offset))]).toEqual([document.interest, document.offset]);
      expect(list(row.vector).map(Math.fround)).toEqual(document.vector);
    }
  });

  it("writes a matrix of NumPy's format 1.0, and what its rows are", async () => {
    await succeed("export", run, "vectors", "-o", join(folder, "x.npy"));
    const bytes = await readFile(join(folder, "x.npy"));
    expect(bytes.subarray(0, 8).toString("latin1")).toBe("\x93NUMPY\x01\x00");
    const start = 10 + bytes.readUInt16LE(8);
    expect(start % 64).toBe(0);
    const cols = documents[0]!.vector.length;
    const header = bytes.subarray(10, start).toString("latin1");
    expect(header.trim()).toBe(`{'descr': '<f4', 'fortran_order': False, 'shape': (${documents.length}, ${cols}), }`);
    expect(header.endsWith("\n")).toBe(true);
    const numbers = Array.from({ length: (bytes.length - start) / 4 }, (_, n) => bytes.readFloatLE(start + 4 * n));
    expect(numbers).toEqual(documents.flatMap(({ vector }) => vector));
    const lines = parsed<object>(await readFile(join(folder, "x.ids.jsonl"), "utf8"));
    expect(lines).toEqual(documents.map(({ vector, ...rest }) => rest));
  });

  it("refuses a matrix or a database of anything else, and both at once", async () => {
    for (const args of [
      ["export", run, "metrics", "-o", "x.npy"],
      ["export", run, "items", "--to", "postgres://localhost/x"],
      ["export", run, "vectors", "--to", "mysql://localhost/x"],
      ["export", run, "vectors", "--to", "postgres://localhost/x", "-o", "x.npy"],
    ]) {
      expect((await prismrec(args, fakeIo({ cwd: folder }))).code, args.join(" ")).toBe(2);
    }
  });

  it("says which database did not answer, without the password", async () => {
    const url = "postgres://shop:secret@127.0.0.1:1/shop";
    const { code, stderr } = await prismrec(["export", run, "vectors", "--to", url], fakeIo({ cwd: folder }));
    expect(code).toBe(4);
    expect(stderr).toContain("127.0.0.1:1/shop did not take the vectors");
    expect(stderr).toContain("ECONNREFUSED");
    expect(stderr).not.toContain("secret");
  });
});

describe.skipIf(noPostgres !== undefined)(
  `prismrec export RUN vectors --to${noPostgres ? ` (${noPostgres})` : ""}`,
  () => {
    let server: TestPostgres;
    let sql: postgres.Sql;
    let guide: string[];
    beforeAll(async () => {
      server = await startPostgres();
      sql = postgres(server.url, { max: 1, onnotice: () => undefined });
      const text = await readFile(join(repositoryRoot, "docs/guides/vectors.md"), "utf8");
      guide = Array.from(text.matchAll(/^```sql\n(.*?)^```/gms), ([, query]) => query!);
      await succeed("export", run, "vectors", "--to", server.url);
    }, LIMIT);
    afterAll(async () => {
      await sql?.end();
      await server?.[Symbol.asyncDispose]();
    });

    /** Mean share of the exact ten that a query of the guide finds. */
    async function recall(query: string): Promise<number> {
      let sum = 0;
      for (const [user, items] of exact) {
        const found = await sql.unsafe(query, [user, histories.get(user)!]);
        expect(found).toHaveLength(items.length);
        const ids = new Set(found.map(({ id }) => id));
        sum += items.filter(({ id }) => ids.has(id)).length / items.length;
      }
      return sum / exact.size;
    }

    it("holds what the documents hold", async () => {
      const [item] = await sql`select id, title, attributes, bias, embedding::text from prismrec_items where id = 'i7'`;
      const { vector, kind, ...rest } = documents.find((one) => one.id === "i7")!;
      const { embedding, ...columns } = item!;
      // Said in as few digits as tell it from other numbers of 32 bits.
      expect({ ...columns, bias: Math.fround(columns.bias) }).toEqual(rest);
      expect(JSON.parse(embedding).map(Math.fround)).toEqual(vector);
      const [counts] =
        await sql`select (select count(*)::int from prismrec_items) as items, count(*)::int from prismrec_interests`;
      expect(counts).toEqual({ items: 48, count: documents.length - 48 });
      const [{ mark } = { mark: "" }] = await sql`select obj_description('prismrec_items'::regclass) as mark`;
      expect(mark).toBe("prismrec export: log-sum-exp of ldmi");
    });

    it("gives by the guide's exact scan what prismrec gives, scores included", async () => {
      expect(guide).toHaveLength(2);
      expect(await recall(guide[0]!)).toBeGreaterThan(0.995);
      const found = await sql.unsafe(guide[0]!, ["u7", histories.get("u7")!]);
      for (const [place, { score }] of exact.get("u7")!.entries()) expect(found[place]!.score).toBeCloseTo(score, 3);
    });

    it("gives nearly that by the guide's query over the index", async () => {
      await sql`set hnsw.ef_search = 200`;
      await sql`set enable_seqscan = off`;
      const plan = await sql.unsafe(`explain ${guide[1]!}`, ["u7", histories.get("u7")!]);
      expect(plan.map((row) => row["QUERY PLAN"]).join("\n")).toMatch(/Index Scan using \S*embedding/);
      expect(await recall(guide[1]!)).toBeGreaterThan(0.98);
      await sql`reset enable_seqscan`;
    });

    it("replaces what it made, and nothing that it did not", async () => {
      const before = await sql`select * from prismrec_items order by id`;
      await succeed("export", run, "vectors", "--to", server.url);
      expect(await sql`select * from prismrec_items order by id`).toEqual(before);
      await sql`create schema other`;
      await sql`create table other.prismrec_interests (mine text)`;
      const url = `${server.url}?search_path=other,public`;
      const { code, stderr } = await prismrec(["export", run, "vectors", "--to", url], fakeIo({ cwd: folder }));
      expect([code, stderr]).toEqual([2, expect.stringContaining("prismrec_interests that prismrec did not make")]);
      expect(await sql`select to_regclass('other.prismrec_items') as made`).toMatchObject([{ made: null }]);
      expect(await sql`select * from prismrec_items order by id`).toEqual(before);
      expect(await sql`select to_regclass('prismrec_items_new') as left`).toMatchObject([{ left: null }]);
    });
  },
);
