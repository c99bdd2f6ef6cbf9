import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sha256 } from "../../base/hash.js";
import { csvOf, describeDataset, type Row, TestFiles, unaccounted } from "../../testing/dataset-files.js";
import { packColumns } from "../column-storage.js";
import { type Column, MISSING_BOOLEAN } from "../columns.js";
import type { Catalog } from "../types.js";
import { type ImportOptions, importDataset } from "./import.js";
import { withDuckDb } from "./tables/duckdb.js";

let files: TestFiles;

beforeAll(async () => {
  files = await TestFiles.create();
});

afterAll(() => files.remove());

const ITEMS = ["a", "b", "c", "d", "e", "f"];
/** Ten users who took all six items, a most recent. */
const events: Row[] = Array.from({ length: 10 }, (_, u) =>
  ITEMS.map((item, t): Row => [`u${u}`, item, 1_700_000_000 + 100 * u - t]),
).flat();

async function imported(items: string | Uint8Array, options: Partial<ImportOptions> = {}, extension = "csv") {
  return await importDataset({
    interactions: await files.write(csvOf("user,item,time", events)),
    items: await files.write(items, extension),
    ...options,
  });
}

/** A column's values by item id; undefined: missing. */
function valuesOf({ items, columns }: Pick<Catalog, "items" | "columns">, name: string): Record<string, unknown> {
  const column = columns?.get(name);
  if (column === undefined) throw new Error(`no column ${name}`);
  const entries = items.slice(1).map(({ id }, n): [string, unknown] => [id, valueAt(column, n + 1)]);
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}

function valueAt(column: Column, row: number): unknown {
  switch (column.kind) {
    case "number":
      return Number.isNaN(column.values[row]) ? undefined : column.values[row];
    case "boolean":
      return column.values[row] === MISSING_BOOLEAN ? undefined : column.values[row] === 1;
    case "text":
      return column.codes[row] === 0 ? undefined : column.dictionary[column.codes[row]!];
    case "list": {
      const codes = column.codes.subarray(column.indptr[row], column.indptr[row + 1]);
      return codes.length === 0 ? undefined : Array.from(codes, (code) => column.dictionary[code]);
    }
  }
}

/** Values of one column whose cells are given in the order of `ITEMS`, as CSV. */
async function column(cells: readonly string[]) {
  const quoted = cells.map((cell) => `"${cell.replaceAll('"', '""')}"`);
  const { dataset, report } = await imported(
    csvOf(
      "item,title,it",
      quoted.map((cell, n) => [ITEMS[n]!, `Title ${n}`, cell]),
    ),
  );
  return { kind: dataset.catalog.columns?.get("it")?.kind, values: valuesOf(dataset.catalog, "it"), report };
}

describe("a column of the items file", () => {
  it.each<[string, readonly string[], string, Record<string, unknown>]>([
    ["numbers", ["1", "-2.5", "", "1e3", ".5", "0"], "number", { a: 1, b: -2.5, d: 1000, e: 0.5, f: 0 }],
    ["numbers with words for nothing", ["1", "NULL", "nan", "None", "\\N", "NA"], "number", { a: 1 }],
    ["0 and 1, which are numbers", ["0", "1", "1", "", "0", "0"], "number", { a: 0, b: 1, c: 1, e: 0, f: 0 }],
    ["true and false", ["True", "false", "", "TRUE", "none", "x".slice(1)], "boolean", { a: true, b: false, d: true }],
    ["only true", ["true", "", "", "", "", "true"], "boolean", { a: true, f: true }],
    ["yes and no", ["yes", "No", "YES", "", "no", "no"], "boolean", { a: true, b: false, c: true, e: false, f: false }],
    ["y and n", ["y", "n", "", "", "", "N"], "boolean", { a: true, b: false, f: false }],
    ["only t, which may be a size", ["t", "T", "", "", "", ""], "text", { a: "t", b: "T" }],
    ["flags of two kinds", ["yes", "false", "", "", "", ""], "text", { a: "yes", b: "false" }],
    ["mixed numbers and words", ["1", "2", "dear", "", "4", ""], "text", { a: "1", b: "2", c: "dear", e: "4" }],
    ["codes with leading zeros", ["007", "7", "", "", "", ""], "text", { a: "007", b: "7" }],
    ["numbers beyond 2^53", ["9007199254740993", "1", "", "", "", ""], "text", { a: "9007199254740993", b: "1" }],
    ["numbers with a sign or a comma", ["+49", "1,5", "", "", "", ""], "text", { a: "+49", b: "1,5" }],
    ["numbers out of range", ["1e999", "1", "", "", "", ""], "text", { a: "1e999", b: "1" }],
    ["dates", ["2019-01-02", "2020-10-11", "", "", "", ""], "text", { a: "2019-01-02", b: "2020-10-11" }],
    ["quotes and line breaks", ['say "x"', "a\nb", "c, d", "", "", ""], "text", { a: 'say "x"', b: "a\nb", c: "c, d" }],
    ["other scripts", ["größe", "日本", "👍", "", "", "İ"], "text", { a: "größe", b: "日本", c: "👍", f: "İ" }],
    ["separated lists", ["x|y", "y", "", "z|x|z", "", ""], "list", { a: ["x", "y"], b: ["y"], d: ["z", "x"] }],
    ["JSON lists", ['["x|y", "z"]', "[]", "", "[1, 2]", "", ""], "list", { a: ["x|y", "z"], d: ["1", "2"] }],
    ["Python lists", ["['x']", "['y', 'x']", "", "", "", ""], "list", { a: ["x"], b: ["y", "x"] }],
    ["objects, which are no lists", ['{"k": 1}', "", "", "", "", ""], "text", { a: '{"k": 1}' }],
    ["lists beside texts", ["['x']", "y", "", "", "", ""], "text", { a: "['x']", b: "y" }],
    ["nothing at all", ["", "NULL", "", "", "", ""], "text", {}],
  ])("of %s", async (_, cells, kind, values) => {
    const found = await column(cells);
    expect({ kind: found.kind, values: found.values }).toEqual({ kind, values });
    expect(found.report.itemColumns).toMatchObject([{ name: "it", kind, filled: Object.keys(values).length }]);
  });

  it("is prose, not a list, where a bar stands between sentences", async () => {
    const prose = `${"It was the best of times. ".repeat(4)}|${" It was the worst of times.".repeat(4)}`;
    expect((await column([prose, "x", "", "", "", ""])).kind).toBe("text");
  });

  it("that is all but one a number is kept as text, and says which cell it is", async () => {
    const items = Array.from({ length: 30 }, (_, n): Row => [`i${n}`, n === 9 ? "on request" : n]);
    const taken = Array.from({ length: 10 }, (_, u) => items.map(([id], n): Row => [`u${u}`, id!, n])).flat();
    const { dataset, report } = await importDataset({
      interactions: await files.write(csvOf("user,item,time", taken)),
      items: await files.write(csvOf("item,price", items)),
    });
    expect(dataset.catalog.columns?.get("price")?.kind).toBe("text");
    expect(report.notes).toContain('items: "price" is kept as text: "on request" is no number');
  });

  it("is missing for an item without a row, and for a row that ends before it", async () => {
    const { dataset } = await imported("item,title,price,shop\na,A,5,x\nb,B\nc,C,7\n");
    expect(valuesOf(dataset.catalog, "price")).toEqual({ a: 5, c: 7 });
    expect(valuesOf(dataset.catalog, "shop")).toEqual({ a: "x" });
    expect(dataset.catalog.columns?.get("price")).toMatchObject({ values: { length: ITEMS.length + 1 } });
  });

  it("keeps the row that came first of an item that has several", async () => {
    const { dataset } = await imported("item,title,price\na,A,5\na,A,9\nb,B,1\n");
    expect(valuesOf(dataset.catalog, "price")).toEqual({ a: 5, b: 1 });
  });

  it("is judged by the items of the events: a stranger's cell does not make text of it", async () => {
    const { dataset } = await imported("item,title,price\na,A,5\nstranger,S,none of your business\n");
    expect(dataset.catalog.columns?.get("price")?.kind).toBe("number");
  });

  it("called like one that every item has goes by another name, and the import says so", async () => {
    const { dataset, report } = await imported(
      "movieId,title,genres,id,categories,id_2\na,A,x|y,1,z,q\nb,B,y,2,z,q\n",
      {
        columns: { itemId: "movieId", categories: "genres" },
      },
    );
    const { columns, items } = dataset.catalog;
    expect([...columns!.keys()]).toEqual(["genres", "id_3", "categories_2", "id_2"]);
    expect(valuesOf(dataset.catalog, "id_3")).toEqual({ a: 1, b: 2 });
    expect(items.find(({ id }) => id === "a")!.categories).toEqual(["x", "y"]);
    expect(valuesOf(dataset.catalog, "genres")).toEqual({ a: ["x", "y"], b: ["y"] });
    expect(report.notes).toContainEqual(expect.stringContaining('its column "id" is kept as "id_3"'));
  });

  it("that is the title or the categories goes by its own name too, as it is written there", async () => {
    const { dataset } = await imported("item,name,genre\na,Heat (1995),x\nb,Ran,\n");
    const { columns, items } = dataset.catalog;
    expect([...columns!.keys()]).toEqual(["name", "genre"]);
    expect(items.find(({ id }) => id === "a")).toEqual({ id: "a", title: "Heat", categories: ["x"], year: 1995 });
    expect(valuesOf(dataset.catalog, "name")).toEqual({ a: "Heat (1995)", b: "Ran" });
    expect(valuesOf(dataset.catalog, "genre")).toEqual({ a: ["x"] });
  });

  it("may be one of a thousand", async () => {
    const names = Array.from({ length: 1000 }, (_, c) => `column ${c}`);
    const rows = ITEMS.map((item, n): Row => [item, `T${n}`, ...names.map((_, c) => (c % 2 === 0 ? n * c : `w${n}`))]);
    const { dataset } = await imported(csvOf(`item,title,${names.join(",")}`, rows));
    const { columns } = dataset.catalog;
    expect(columns?.size).toBe(1000);
    expect(valuesOf(dataset.catalog, "column 998")).toEqual({ a: 0, b: 998, c: 1996, d: 2994, e: 3992, f: 4990 });
    expect(columns!.get("column 999")).toMatchObject({ kind: "text", dictionary: { length: 7 } });
  });

  it("is refused where two have one name", async () => {
    await expect(imported("item,title,price,price\na,A,5,6\n")).rejects.toMatchObject({
      code: "DATA_FORMAT",
      received: '"price" twice',
    });
  });

  it("comes from JSON lines as from CSV", async () => {
    const lines = [
      { item: "a", title: "A", price: 5, stock: true, tags: ["x", "y"], note: null },
      { item: "b", title: "B", price: 0.25, stock: false, tags: [], note: "n" },
    ];
    const { dataset } = await imported(lines.map((line) => JSON.stringify(line)).join("\n"), {}, "jsonl");
    expect(valuesOf(dataset.catalog, "price")).toEqual({ a: 5, b: 0.25 });
    expect(valuesOf(dataset.catalog, "stock")).toEqual({ a: true, b: false });
    expect(valuesOf(dataset.catalog, "tags")).toEqual({ a: ["x", "y"] });
    expect(valuesOf(dataset.catalog, "note")).toEqual({ b: "n" });
  });

  it("comes from Parquet as from CSV", async () => {
    const path = await files.write("", "parquet");
    await withDuckDb(async (connection) => {
      await connection.run(
        `COPY (SELECT * FROM (VALUES ('a', 5.5::DOUBLE, true, ['x', 'y'], DATE '2019-01-02'), ('b', NULL, false, [], NULL))
         t(item, price, stock, tags, day)) TO '${path}' (FORMAT parquet)`,
      );
    });
    const { dataset } = await importDataset({
      interactions: await files.write(csvOf("user,item,time", events)),
      items: path,
    });
    expect(valuesOf(dataset.catalog, "price")).toEqual({ a: 5.5 });
    expect(valuesOf(dataset.catalog, "stock")).toEqual({ a: true, b: false });
    expect(valuesOf(dataset.catalog, "tags")).toEqual({ a: ["x", "y"] });
    expect(valuesOf(dataset.catalog, "day")).toEqual({ a: "2019-01-02T00:00:00.000000Z" });
  });
});

describe("kept columns", () => {
  const table = 'item,title,price,stock,shop,marks\na,A,5,yes,"x, ""y""",p|q\nb,B,,no,z,q\nc,C,7.25,,,\n';

  it("change nothing of users, items, events and the split", async () => {
    const plain = await imported("item,title\na,A\nb,B\nc,C\n");
    const rich = await imported(table);
    expect(describeDataset(rich.dataset)).toEqual(describeDataset(plain.dataset));
    expect(rich.dataset.catalog.items).toEqual(plain.dataset.catalog.items);
    expect(plain.dataset.catalog.columns).toBeUndefined();
    expect(plain.report.itemColumns).toBeUndefined();
  });

  it("are the very same bits for the same content, whatever the order of the file's rows", async () => {
    const [head, ...rows] = table.trim().split("\n");
    const packed = async (text: string) => {
      const { dataset } = await imported(text);
      const { head: columns, texts, f64, u8, u32 } = packColumns(dataset.catalog.columns!, dataset.catalog.size + 1);
      const bytes = [f64, u8, u32].map(({ buffer, byteOffset, byteLength }) =>
        Buffer.from(buffer, byteOffset, byteLength),
      );
      return sha256(Buffer.concat([Buffer.from(columns + texts), ...bytes])).slice(0, 16);
    };
    const hash = await packed(table);
    expect(await packed([head, ...rows.reverse()].join("\n"))).toBe(hash);
    // As they have always been: they may change with a decision only, never with a mend.
    expect(hash).toBe("06b6535842aadd9c");
  });

  it("give a dataset a fingerprint that is its content's", async () => {
    const first = (await imported(table)).dataset.fingerprint;
    expect((await imported(table)).dataset.fingerprint).toBe(first);
    expect((await imported(table.replace("7.25", "7.5"))).dataset.fingerprint).not.toBe(first);
    const users = await files.write("user,age\nu1,30\n");
    const copy = await files.write("user,age\nu1,30\n");
    const withUsers = (await imported(table, { users })).dataset.fingerprint;
    expect(withUsers).not.toBe(first);
    expect((await imported(table, { users: copy })).dataset.fingerprint).toBe(withUsers);
  });

  it("hold a text once, and four bytes for each cell", async () => {
    const many = Array.from({ length: 2000 }, (_, n) => `i${n}`);
    const taken = Array.from({ length: 10 }, (_, u) => many.map((item, n): Row => [`u${u}`, item, n])).flat();
    const long = "a long description that repeats itself ".repeat(5);
    const { dataset } = await importDataset({
      interactions: await files.write(csvOf("user,item,time", taken)),
      items: await files.write(
        csvOf(
          "item,blurb",
          many.map((item, n) => [item, `${long}${n % 3}`]),
        ),
      ),
    });
    const text = dataset.catalog.columns?.get("blurb");
    if (text?.kind !== "text") throw new Error("not a text");
    expect(text.dictionary).toHaveLength(4);
    expect(text.codes.byteLength).toBe(4 * (many.length + 1));
  });
});

describe("columns of the events", () => {
  const kinds = ["view", "cart", "buy"];
  /** Every user views every item, puts every other one into the cart and buys every third. */
  const shopped: Row[] = Array.from({ length: 12 }, (_, u) =>
    ITEMS.flatMap((item, n) =>
      kinds
        .filter((_, kind) => n % (kind + 1) === 0)
        .map((kind, t): Row => [`u${u}`, item, 100 * n + t, kind, n + t / 2]),
    ),
  ).flat();
  const header = "user,item,timestamp,event_type,quantity";

  async function read(options: Partial<ImportOptions> = {}, rows = shopped, names = header) {
    const { dataset, report } = await importDataset({
      interactions: await files.write(csvOf(names, rows)),
      ...options,
    });
    expect(unaccounted(report)).toBe(0);
    const { log, catalog } = dataset;
    const from = log.indptr[log.indexOf("u3")!]!;
    const to = log.indptr[log.indexOf("u3")! + 1]!;
    const own = Array.from(log.items.subarray(from, to), (item, t) => [
      catalog.items[item]!.id,
      ...(log.behaviours === undefined ? [] : [log.behaviours.dictionary[log.behaviours.codes[from + t]!]]),
      ...(log.weights === undefined ? [] : [log.weights[from + t]]),
    ]);
    return { dataset, report, own };
  }

  it("stand beside every event that is kept: views, carts and purchases of one item", async () => {
    const { own, report, dataset } = await read({ repeats: "keep" });
    expect(own).toEqual(
      shopped.filter(([user]) => user === "u3").map(([, item, , kind, count]) => [item, kind, count]),
    );
    expect(report.columns).toMatchObject({ behaviour: "event_type", weight: "quantity" });
    expect(dataset.log.behaviours?.dictionary).toEqual(["", "view", "cart", "buy"]);
    expect(dataset.log.weights).toHaveLength(report.kept.events);
  });

  it("are those of the earliest event where repeats go", async () => {
    const { own, dataset } = await read();
    expect(own).toEqual(ITEMS.map((item, n) => [item, "view", n]));
    const plain = await read({ columns: { behaviour: "none", weight: "none", event: "none" } });
    expect(plain.dataset.log.behaviours).toBeUndefined();
    expect(plain.dataset.log.weights).toBeUndefined();
    expect(describeDataset(dataset)).toEqual(describeDataset(plain.dataset));
  });

  it("are those that were named", async () => {
    const odd = "user,item,timestamp,was,worth";
    const unnamed = await read({}, shopped, odd);
    expect(unnamed.own[0]).toEqual(["a"]);
    const { own } = await read({ columns: { behaviour: "was", weight: "worth" } }, shopped, odd);
    expect(own[2]).toEqual(["c", "view", 2]);
    await expect(read({ columns: { weight: "absent" } })).rejects.toMatchObject({ code: "DATA_FORMAT" });
  });

  it("are missing where a cell is empty, unreadable, or the row ends before it", async () => {
    const rows = shopped.map(([user, item, time, kind, count], n): Row => {
      if (n % 3 === 0) return [user!, item!, time!];
      return [user!, item!, time!, n % 3 === 1 ? "" : kind!, n % 3 === 1 ? "many" : count!];
    });
    const { dataset, report } = await read(
      { repeats: "keep", columns: { behaviour: "event_type", weight: "quantity" } },
      rows,
    );
    const { behaviours, weights } = dataset.log;
    expect(report.kept.events).toBe(shopped.length);
    const filled = rows.filter((row, n) => row.length > 3 && n % 3 === 2).length;
    expect(behaviours!.codes.filter((code) => code > 0)).toHaveLength(filled);
    expect(weights!.filter((weight) => !Number.isNaN(weight))).toHaveLength(filled);
  });

  it("are ratings where the file has those", async () => {
    const rows = shopped.map(([user, item, time], n): Row => [user!, item!, time!, 1 + (n % 5), n]);
    const { report, dataset } = await read({}, rows, "user,item,timestamp,rating,quantity");
    expect(report.columns.weight).toBe("rating");
    expect(Math.max(...dataset.log.weights!)).toBe(5);
  });
});

describe("a users file", () => {
  const users = "USER,age,premium,city\nu3,30,yes,Köln\nu0,41,no,\nu3,99,no,Rom\nstranger,x,x,x\n,1,yes,Rom\n";

  it("becomes the log's profile, typed and in the order of its users", async () => {
    const { dataset, report } = await imported("item,title\na,A\n", { users: await files.write(users) });
    const { log } = dataset;
    const { profile } = log;
    const at = (name: string, id: string) => valueAt(profile!.get(name)!, log.indexOf(id)!);
    expect([...profile!.keys()]).toEqual(["age", "premium", "city"]);
    expect(["u3", "u0", "u5"].map((id) => at("age", id))).toEqual([30, 41, undefined]);
    expect(["u3", "u0", "u5"].map((id) => at("premium", id))).toEqual([true, false, undefined]);
    expect(at("city", "u3")).toBe("Köln");
    expect(report.userRowsRead).toBe(5);
    expect(report.columns.userId).toBe("USER");
    expect(report.userColumns).toMatchObject([{ name: "age", kind: "number", filled: 2, distinct: 2 }, {}, {}]);
    expect(report.drops.filter(({ file }) => file === "users")).toMatchObject([
      { reason: "duplicate-user", count: 1, examples: [{ row: 3, text: "u3" }] },
      { reason: "missing-user", count: 1, examples: [{ row: 5 }] },
    ]);
    expect(report.warnings).toContainEqual(expect.stringMatching(/^8 of 10 users have no row in /));
  });

  it("may name its id column, and must have one", async () => {
    const named = await files.write("who,age\nu1,3\n");
    const found = await imported("item,title\na,A\n", { users: named, columns: { userId: "who" } });
    expect(found.dataset.log.profile?.get("age")).toMatchObject({ kind: "number" });
    const plain = await imported("item,title\na,A\n", { users: await files.write("age,id\n3,u1\n") });
    expect(plain.report.columns.userId).toBe("id");
    const nobody = await files.write("age,city\n1,x\n2,y\n");
    await expect(imported("item,title\na,A\n", { users: nobody })).rejects.toMatchObject({ code: "DATA_FORMAT" });
  });
});
