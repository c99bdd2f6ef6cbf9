import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { importDataset } from "./import/import.js";
import { checkDataset, loadDataset, saveDataset } from "./storage.js";

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
    await writeFile(join(folder, "dataset.json"), manifest.toString().replace('"format": 2', '"format": 1'));
    await expect(loadDataset(folder)).rejects.toMatchObject({
      code: "DATA_FORMAT",
      message: expect.stringContaining("another version"),
      received: "format 1",
      hint: "Import again.",
    });
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
