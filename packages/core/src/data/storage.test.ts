import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { hashJson } from "../base/hash.js";
import { createCatalog } from "./catalog.js";
import { type Column, textColumn } from "./columns.js";
import { importDataset } from "./import/import.js";
import { checkDataset, loadDataset, saveDataset } from "./storage.js";
import type { Dataset } from "./types.js";

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "prismrec-dataset-"));
  const rows = Array.from({ length: 50 }, (_, n) => `0${n % 10},i${Math.floor(n / 10)},${2 ** 53 + n}`);
  await writeFile(join(dir, "events.csv"), `user,item,timestamp\n${rows.join("\n")}\n`);
  await writeFile(join(dir, "items.csv"), 'id,title,categories\ni0,"Ünïcode ""x"" (1999)",A|B\ni1,Plain,\n');
});

afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

async function saved() {
  const imported = await importDataset({ interactions: join(dir, "events.csv"), items: join(dir, "items.csv") });
  const folder = join(dir, "data");
  await saveDataset(imported.dataset, imported.report, folder);
  return { ...imported, folder };
}

describe("saveDataset and loadDataset", () => {
  it("give back the same dataset and report", async () => {
    const { dataset, report, folder } = await saved();
    const loaded = await loadDataset(folder);
    expect(loaded.report).toEqual(report);
    expect(loaded.dataset.fingerprint).toBe(dataset.fingerprint);
    expect(loaded.dataset.split).toEqual(dataset.split);
    expect(loaded.dataset.catalog.items).toEqual(dataset.catalog.items);
    expect(loaded.dataset.catalog.popularity).toEqual(dataset.catalog.popularity);
    expect(loaded.dataset.catalog.idOf("i1")).toBe(dataset.catalog.idOf("i1"));
    const { indexOf: _, ...log } = loaded.dataset.log;
    expect(dataset.log).toMatchObject(log);
    expect(loaded.dataset.log.indexOf("03")).toBe(dataset.log.indexOf("03"));
  });

  it("give back a catalog that is written in several pieces", async () => {
    const { dataset, report } = await saved();
    const items = Array.from({ length: 70_000 }, (_, n) => ({ id: `j${n}`, title: `"Größe" ${n}`, categories: [] }));
    const catalog = createCatalog(
      [...dataset.catalog.items, ...items],
      Uint32Array.from([...dataset.catalog.popularity, ...items.map(() => 0)]),
    );
    const folder = join(dir, "large");
    await saveDataset({ ...dataset, catalog }, report, folder);
    const loaded = await loadDataset(folder);
    expect(hashJson(loaded.dataset.catalog.items)).toBe(hashJson(catalog.items));
    expect(JSON.parse(await readFile(join(folder, "items.json"), "utf8"))).toHaveLength(catalog.size);
  });

  it("write the same bytes for the same dataset", async () => {
    const { dataset, report, folder } = await saved();
    const again = join(dir, "again");
    await saveDataset(dataset, report, again);
    for (const name of await readdir(folder)) {
      expect(await readFile(join(again, name))).toEqual(await readFile(join(folder, name)));
    }
  });

  it("refuse a folder without a dataset", async () => {
    await expect(loadDataset(join(dir, "absent"))).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
  });

  it("refuse a file that was cut or changed, whichever it is", async () => {
    const { folder } = await saved();
    const manifest = await readFile(join(folder, "dataset.json"));
    for (const name of await readdir(folder)) {
      const path = join(folder, name);
      const bytes = await readFile(path);
      await truncate(path, bytes.length >> 1);
      await expect(loadDataset(folder), name).rejects.toMatchObject({ code: "DATA_FORMAT" });
      await rm(path);
      await expect(loadDataset(folder), name).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
      await writeFile(path, bytes);
    }
    await writeFile(join(folder, "dataset.json"), manifest.toString().replace('"format": 3', '"format": 1'));
    await expect(loadDataset(folder)).rejects.toMatchObject({
      code: "DATA_FORMAT",
      message: expect.stringContaining("another version"),
      received: "format 1",
      hint: "Import again.",
    });
  });
});

describe("columns of items, events and users", () => {
  async function rich() {
    const rows = Array.from({ length: 50 }, (_, n) => {
      return `0${n % 10},i${Math.floor(n / 10)},${1000 + n},${["view", "buy", ""][n % 3]},${n % 4 === 0 ? "" : n / 8}`;
    });
    await writeFile(join(dir, "events.csv"), `user,item,timestamp,event,quantity\n${rows.join("\n")}\n`);
    await writeFile(
      join(dir, "items.csv"),
      'id,title,price,stock,shop,marks,nothing\ni0,"A (1999)",1.5,yes,"x\n""y""",p|q,\ni1,B,,no,größe,q,\ni2,C,-3,,,,\n',
    );
    await writeFile(join(dir, "users.csv"), "user,age,city\n03,30,Köln\n05,,Rom\n");
    const { dataset, report } = await importDataset({
      interactions: join(dir, "events.csv"),
      items: join(dir, "items.csv"),
      users: join(dir, "users.csv"),
    });
    const folder = join(dir, "rich");
    await saveDataset(dataset, report, folder);
    return { dataset, report, folder };
  }

  it("come back as they were, to the bit", async () => {
    const { dataset, report, folder } = await rich();
    const loaded = await loadDataset(folder);
    expect(loaded.report).toEqual(report);
    expect([...dataset.catalog.columns!].map(([name, { kind }]) => [name, kind])).toEqual([
      ["price", "number"],
      ["stock", "boolean"],
      ["shop", "text"],
      ["marks", "list"],
      ["nothing", "text"],
    ]);
    expect([...loaded.dataset.catalog.columns!]).toEqual([...dataset.catalog.columns!]);
    expect([...loaded.dataset.log.profile!]).toEqual([...dataset.log.profile!]);
    expect(loaded.dataset.log.behaviours).toEqual(dataset.log.behaviours);
    expect(loaded.dataset.log.weights).toEqual(dataset.log.weights);
    const again = join(dir, "again");
    await saveDataset(loaded.dataset, loaded.report, again);
    for (const name of await readdir(folder)) {
      expect(await readFile(join(again, name)), name).toEqual(await readFile(join(folder, name)));
    }
  });

  it("know after a reading whether there is an order at all", async () => {
    const { dataset, report } = await rich();
    expect((await loadDataset(join(dir, "rich"))).dataset.log).not.toHaveProperty("unordered");
    const drawn = { ...dataset, log: { ...dataset.log, unordered: true as const } };
    await saveDataset(drawn, report, join(dir, "unordered"));
    expect((await loadDataset(join(dir, "unordered"))).dataset.log.unordered).toBe(true);
  });

  it("are stored in few files, each of which is checked", async () => {
    const { folder } = await rich();
    const names = (await readdir(folder)).filter((name) => /^(?:item|user)-columns|^behaviours|^weights/.test(name));
    expect(names.sort()).toEqual([
      ...["behaviours.json", "behaviours.u32"],
      ...["f64", "json", "jsonl", "u32", "u8"].map((type) => `item-columns.${type}`),
      ...["f64", "json", "jsonl", "u32"].map((type) => `user-columns.${type}`),
      "weights.f32",
    ]);
    for (const name of names) {
      const path = join(folder, name);
      const bytes = await readFile(path);
      await truncate(path, bytes.length - 1);
      await expect(loadDataset(folder), name).rejects.toMatchObject({ code: "DATA_FORMAT" });
      await writeFile(path, bytes);
    }
  });

  it("are noticed where they do not fit", async () => {
    const { dataset } = await rich();
    const { catalog, log } = dataset;
    const withColumn = (column: Column) => ({ ...dataset, catalog: { ...catalog, columns: new Map([["c", column]]) } });
    const rows = catalog.size + 1;
    const codes = new Uint32Array(rows);
    const broken: Dataset[] = [
      withColumn({ kind: "number", values: new Float64Array(1) }),
      withColumn({ kind: "boolean", values: new Uint8Array(rows).fill(2) }),
      withColumn({ kind: "text", codes: codes.map(() => 1), dictionary: [""] }),
      withColumn({ kind: "text", codes, dictionary: ["x"] }),
      withColumn({ kind: "list", indptr: new Uint32Array(rows + 1), codes: Uint32Array.of(1), dictionary: ["", "x"] }),
      withColumn({
        kind: "list",
        indptr: Uint32Array.from({ length: rows + 1 }, (_, row) => (row === 0 || row === 2 ? 0 : 1)),
        codes: Uint32Array.of(1),
        dictionary: ["", "x"],
      }),
      { ...dataset, log: { ...log, weights: new Float32Array(1) } },
      { ...dataset, log: { ...log, behaviours: textColumn(["view"]) } },
      { ...dataset, log: { ...log, profile: new Map([["age", textColumn(["x"])]]) } },
    ];
    expect(() => checkDataset(dataset, "here")).not.toThrow();
    for (const bad of broken) {
      expect(() => checkDataset(bad, "here")).toThrowError(expect.objectContaining({ code: "DATA_FORMAT" }));
    }
  });
});

describe("checkDataset", () => {
  it("notices ids and splits that do not fit", async () => {
    const { dataset } = await saved();
    const { log, split } = dataset;
    const broken = [
      { ...dataset, log: { ...log, items: log.items.map(() => 99) } },
      { ...dataset, log: { ...log, indptr: log.indptr.slice(1) } },
      { ...dataset, log: { ...log, timestamps: new BigInt64Array(1) } },
      { ...dataset, split: { ...split, train: { ...split.train, ends: split.train.ends.map(() => 1000) } } },
      { ...dataset, split: { ...split, test: { ...split.test, historyEnds: split.test.targetEnds } } },
      { ...dataset, split: { ...split, test: { ...split.test, users: Uint32Array.of(1000) } } },
    ];
    expect(() => checkDataset(dataset, "here")).not.toThrow();
    for (const bad of broken) {
      expect(() => checkDataset(bad, "here")).toThrowError(expect.objectContaining({ code: "DATA_FORMAT" }));
    }
  });
});
