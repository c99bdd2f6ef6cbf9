import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createRandom } from "../base/random.js";
import { catalogOf } from "../testing/catalog.js";
import { categoryClusterer } from "./category-clusterer.js";
import { openClusterer, saveClusterer } from "./clusterer-store.js";
import { RandomClusterer, ShuffledClusterer } from "./controls.js";
import { isPortable, type PortableClusterer } from "./portable.js";
import { SignatureClusterer } from "./signature-clusterer.js";
import type { Clusterer, PartitionRequest } from "./types.js";

const catalog = catalogOf([
  { id: "a", categories: ["Drama"] },
  { id: "b", categories: ["Drama"] },
  { id: "c", categories: ["War"] },
  { id: "d", categories: ["War"] },
  { id: "e", categories: [] },
]);
const signatures = { data: Float32Array.from([2, 0, 3, 0.1, 0, 1, 0, 4, 0, 0]), rows: 5, cols: 2 };
const clusterer = (): SignatureClusterer =>
  new SignatureClusterer({
    name: "facets",
    fingerprint: "f",
    catalog,
    signatures,
    facets: ["tears", "tanks"],
    threshold: 0.5,
    labelFacets: 1,
  });
const shuffledOver = (inner: Clusterer): PortableClusterer => {
  const shuffled = new ShuffledClusterer(inner, 5);
  if (isPortable(shuffled)) return shuffled;
  throw new Error("what it shuffles cannot be saved");
};
const request = (key: string, ...items: number[]): PartitionRequest => ({
  key,
  items: Uint32Array.from(items),
  maxClusters: 8,
});

let dir = "";
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "prismrec-clusterer-"));
});
afterEach(() => rm(dir, { recursive: true }));

describe("SignatureClusterer", () => {
  it("groups items that say the same and names the groups by their facets", async () => {
    const [partition] = await clusterer().partition([request("u", 3, 1, 4, 2)]);
    expect([...partition!.assign]).toEqual([0, 1, 0, 1]);
    expect(partition!.labels).toEqual(["tanks", "tears"]);
  });

  it("calls a group of items it knows nothing of mixed, and answers an empty history", async () => {
    const [unknown, empty] = await clusterer().partition([request("u", 5), request("v")]);
    expect(unknown!.labels).toEqual(["mixed"]);
    expect(empty).toEqual({ key: "v", assign: new Int16Array(), labels: [] });
  });

  it("refuses items outside the catalog and signatures that do not cover it", async () => {
    await expect(clusterer().partition([request("u", 6)])).rejects.toMatchObject({ code: "UNKNOWN_ITEM" });
    const short = { data: new Float32Array(2), rows: 1, cols: 2 };
    expect(
      () => new SignatureClusterer({ name: "x", fingerprint: "f", catalog, signatures: short, facets: [] }),
    ).toThrow(/cover the catalog/);
  });

  it("stops with the signal's own reason", async () => {
    const reason = new Error("enough");
    await expect(clusterer().partition([request("u", 1)], { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});

describe("sparse signatures", () => {
  const sparse = {
    indptr: Uint32Array.of(0, 1, 3, 4, 5, 5),
    indices: Uint32Array.of(0, 0, 1, 1, 1),
    values: Float32Array.of(2, 3, 0.1, 1, 4),
    rows: 5,
    cols: 2,
  };
  const sparseClusterer = (): SignatureClusterer =>
    new SignatureClusterer({
      name: "facets",
      fingerprint: "f",
      catalog,
      signatures: sparse,
      facets: ["tears", "tanks"],
      threshold: 0.5,
      labelFacets: 1,
    });
  const requests = [request("u", 3, 1, 4, 2), request("v", 5), request("w"), request("x", 5, 2, 3)];

  it("give the partitions of the same whole ones", async () => {
    expect(await sparseClusterer().partition(requests)).toEqual(await clusterer().partition(requests));
  });

  it("are saved and opened over a catalog in another order", async () => {
    await saveClusterer(sparseClusterer(), dir);
    const opened = await openClusterer(
      dir,
      catalogOf([{ id: "d" }, { id: "new" }, { id: "b" }, { id: "a" }, { id: "c" }]),
    );
    const [before] = await sparseClusterer().partition([request("u", 3, 1, 4, 2)]);
    expect((await opened.partition([request("u", 5, 4, 1, 3)]))[0]).toEqual(before);
    expect((await opened.partition([request("u", 2)]))[0]!.labels).toEqual(["mixed"]);
    await writeFile(join(dir, "signatures.f32"), (await readFile(join(dir, "signatures.f32"))).subarray(4));
    await expect(openClusterer(dir, catalog)).rejects.toMatchObject({ code: "RUN_INVALID" });
  });

  it("name a group by no column without a name", async () => {
    const unnamed = new SignatureClusterer({
      name: "x",
      fingerprint: "f",
      catalog,
      signatures: sparse,
      facets: ["", "tanks"],
      threshold: 0.5,
    });
    expect((await unnamed.partition([request("u", 1, 3)]))[0]!.labels).toEqual(["mixed", "tanks"]);
  });
});

describe("the controls", () => {
  it("category groups by the items' categories", async () => {
    const [partition] = await categoryClusterer(catalog).partition([request("u", 1, 3, 2, 4)]);
    expect([...partition!.assign]).toEqual([0, 1, 0, 1]);
    expect(partition!.labels).toEqual(["Drama", "War"]);
  });

  it("category refuses a catalog without categories", () => {
    expect(() => categoryClusterer(catalogOf([{ id: "a" }]))).toThrow(/needs items with categories/);
  });

  it("shuffled keeps the sizes of each history's clusters and moves the members", async () => {
    const requests = Array.from({ length: 40 }, (_, u) => request(`u${u}`, 1, 2, 3, 4));
    const inner = await clusterer().partition(requests);
    const shuffled = await new ShuffledClusterer(clusterer(), 1).partition(requests);
    const sizes = (assign: Int16Array) => [0, 1].map((c) => assign.filter((x) => x === c).length).sort();
    shuffled.forEach(({ assign, labels }, u) => {
      expect(sizes(assign)).toEqual(sizes(inner[u]!.assign));
      expect(new Set(labels)).toEqual(new Set(inner[u]!.labels));
    });
    const moved = shuffled.filter(({ assign }, u) => assign.join() !== inner[u]!.assign.join());
    expect(moved.length).toBeGreaterThan(10);
  });

  it("random and shuffled give the same answer to the same request, whatever else is asked", async () => {
    const clusterers = [new RandomClusterer(3), new ShuffledClusterer(clusterer(), 3)];
    for (const control of clusterers) {
      const [alone] = await control.partition([request("u", 1, 2, 3, 4, 5)]);
      const [, among] = await control.partition([request("v", 1, 2), request("u", 1, 2, 3, 4, 5)]);
      expect(among).toEqual(alone);
    }
  });
});

describe("saved clusterers", () => {
  it("partition as before after saving and opening, over a catalog in another order", async () => {
    const other = catalogOf([{ id: "d" }, { id: "c" }, { id: "b" }, { id: "a" }, { id: "new" }]);
    await saveClusterer(clusterer(), dir);
    const opened = await openClusterer(dir, other);
    const [before] = await clusterer().partition([request("u", 3, 1, 4, 2)]);
    const [after] = await opened.partition([request("u", 2, 4, 1, 3)]);
    expect(after).toEqual(before);
    expect((await opened.partition([request("u", 5, 1)]))[0]!.labels[0]).toBe("mixed");
  });

  it("keep the control around what it shuffles", async () => {
    const shuffled = new ShuffledClusterer(clusterer(), 5);
    if (!isPortable(shuffled)) throw new Error("facets can be kept, so its shuffled twin can");
    await saveClusterer(shuffled, dir);
    const opened = await openClusterer(dir, catalog);
    const asked = [request("u", 1, 2, 3, 4)];
    expect(await opened.partition(asked)).toEqual(await shuffled.partition(asked));
  });

  it.each<[string, () => PortableClusterer]>([
    ["signatures", clusterer],
    ["random", () => new RandomClusterer(4)],
    ["categories", () => categoryClusterer(catalog)],
    ["shuffled signatures", () => shuffledOver(clusterer())],
    ["shuffled random groups", () => shuffledOver(new RandomClusterer(4))],
    ["twice shuffled categories", () => shuffledOver(shuffledOver(categoryClusterer(catalog)))],
  ])("have the fingerprint and the partitions of what was saved, however often: %s", async (_, make) => {
    const made = make();
    const asked = [request("u", 1, 2, 3, 4, 5), request("v", 5, 2, 1)];
    const partitions = await made.partition(asked);
    let saved: Clusterer = made;
    for (let time = 0; time < 3; time++) {
      if (!isPortable(saved)) throw new Error("what was opened can be saved again");
      const folder = join(dir, String(time));
      await saveClusterer(saved, folder);
      saved = await openClusterer(folder, catalog);
      expect(saved.fingerprint).toBe(made.fingerprint);
      expect(await saved.partition(asked)).toEqual(partitions);
    }
  });

  it("hold signatures that opening leaves to the bit", async () => {
    const random = createRandom(1, "signatures");
    const many = catalogOf(Array.from({ length: 2000 }, (_, i) => ({ id: String(i) })));
    const data = Float32Array.from({ length: 3 * many.size }, () => random.uniform() - 0.5);
    const signatures = { data, rows: many.size, cols: 3 };
    const made = new SignatureClusterer({ name: "embedding", fingerprint: "e", catalog: many, signatures, facets: [] });
    await saveClusterer(made, dir);
    const opened = await openClusterer(dir, many);
    if (!(opened instanceof SignatureClusterer)) throw new Error("signatures were saved");
    expect(opened.signatures).toEqual(made.signatures);
  });

  it("cannot be made of a clusterer that needs its language model", () => {
    const bound = { name: "partition", fingerprint: "p", partition: async () => [] };
    expect(isPortable(new ShuffledClusterer(bound, 1))).toBe(false);
  });

  it("are refused when damaged, missing, or of another catalog", async () => {
    await expect(openClusterer(dir, catalog)).rejects.toMatchObject({ code: "RUN_INVALID" });
    await saveClusterer(clusterer(), dir);
    await expect(openClusterer(dir, catalogOf([{ id: "z" }]))).rejects.toMatchObject({
      code: "CHECKPOINT_INCOMPATIBLE",
    });
    const numbers = await readFile(join(dir, "signatures.f32"));
    await writeFile(join(dir, "signatures.f32"), numbers.subarray(0, numbers.length / 2));
    await expect(openClusterer(dir, catalog)).rejects.toMatchObject({ code: "RUN_INVALID" });
    await writeFile(join(dir, "clusterer.json"), "{");
    await expect(openClusterer(dir, catalog)).rejects.toMatchObject({ code: "RUN_INVALID" });
  });
});
