import { appendFile, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createRandom } from "../../base/random.js";
import { InterestModel } from "../../models/interest-model.js";
import { createNetwork, networkConfig } from "../../models/registry.js";
import { loadModel, saveModel } from "../../models/store.js";
import { catalogOf as itemsOf } from "../../testing/catalog.js";
import { ParameterSet } from "../layers/parameters.js";
import { useTensorBackend } from "../tensor/backend.js";
import { catalogFingerprint, listCheckpoints, readCheckpoint, writeCheckpoint } from "./checkpoint.js";

await useTensorBackend("cpu");

let dir = "";
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "prismrec-checkpoint-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

const checkpoint = (value: number) => ({
  kind: "training",
  content: { step: value },
  tensors: new Map([["x", { shape: [2], data: Float32Array.of(value, 2) }]]),
});

describe("checkpoints", () => {
  it("come back as they were written, and replace what stood there", async () => {
    const path = join(dir, "000000001");
    await writeCheckpoint(path, checkpoint(1));
    await writeCheckpoint(path, checkpoint(5));
    expect(await readCheckpoint(path, "training")).toEqual(checkpoint(5));
    expect(await readdir(dir)).toEqual(["000000001"]);
  });

  it("are listed by number, other folders left out", async () => {
    for (const name of ["000000010", "000000009", "notes"]) await writeCheckpoint(join(dir, name), checkpoint(1));
    expect((await listCheckpoints(dir)).map(({ step }) => step)).toEqual([9, 10]);
    expect(await listCheckpoints(join(dir, "missing"))).toEqual([]);
  });

  it("are refused by name when their tensors are cut short, changed or missing, or the manifest is no manifest", async () => {
    const path = join(dir, "1");
    const file = join(path, "tensors.safetensors");
    await writeCheckpoint(path, checkpoint(1));
    await truncate(file, 20);
    await expect(readCheckpoint(path, "training")).rejects.toMatchObject({ code: "DATA_FORMAT" });
    await writeCheckpoint(path, checkpoint(1));
    await appendFile(file, "x");
    await expect(readCheckpoint(path, "training")).rejects.toMatchObject({ code: "DATA_FORMAT" });
    await rm(file);
    await expect(readCheckpoint(path, "training")).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
    await writeFile(join(path, "manifest.json"), '{"format":"other"}');
    await expect(readCheckpoint(path, "training")).rejects.toMatchObject({ code: "DATA_FORMAT" });
    await writeFile(join(path, "manifest.json"), '{"form');
    await expect(readCheckpoint(path, "training")).rejects.toMatchObject({ code: "DATA_FORMAT" });
  });

  it("of another kind are incompatible", async () => {
    await writeCheckpoint(join(dir, "1"), checkpoint(1));
    await expect(readCheckpoint(join(dir, "1"), "model")).rejects.toMatchObject({ code: "CHECKPOINT_INCOMPATIBLE" });
  });
});

describe("stored models", () => {
  const catalogOf = (ids: readonly string[]) => itemsOf(ids.map((id) => ({ id })));
  const catalog = catalogOf(["a", "b", "c", "d"]);

  it.each(["ldmi", "comirec-sa", "comirec-dr"] as const)("of %s rank as they did before", async (name) => {
    const config = networkConfig({ model: name, dim: 4, maxHistory: 5 });
    const network = createNetwork(config);
    const random = createRandom(1);
    const items = { data: Float32Array.from({ length: 16 }, () => random.normal()), rows: 4, cols: 4 };
    const parameters = ParameterSet.create(network.specs(), random);
    using model = network.hasItemBias
      ? new InterestModel(network, parameters, items, Float32Array.of(1, 0, -1, 0))
      : new InterestModel(network, parameters, items);
    await saveModel(join(dir, "model"), model, config, catalog, { seed: 1 });
    using loaded = await loadModel(join(dir, "model"), catalog);
    const histories = [{ items: Uint32Array.of(1, 2), clusters: Int16Array.of(0, 1) }];
    expect(await loaded.rank(histories, { k: 2 })).toEqual(await model.rank(histories, { k: 2 }));
    const manifest: unknown = JSON.parse(await readFile(join(dir, "model", "manifest.json"), "utf8"));
    expect(manifest).toMatchObject({ content: { network: { model: name }, training: { seed: 1 } } });

    await expect(loadModel(join(dir, "model"), catalogOf(["a", "b", "d", "c"]))).rejects.toMatchObject({
      code: "CHECKPOINT_INCOMPATIBLE",
    });
  });

  it("of an architecture that cannot be are refused, with what is wrong in it", async () => {
    const config = networkConfig({ model: "ldmi", dim: 4, maxHistory: 5 });
    const network = createNetwork(config);
    const items = { data: new Float32Array(16), rows: 4, cols: 4 };
    using model = new InterestModel(
      network,
      ParameterSet.create(network.specs(), createRandom(1)),
      items,
      new Float32Array(4),
    );
    await saveModel(join(dir, "model"), model, config, catalog, {});
    const path = join(dir, "model", "manifest.json");
    const manifest = await readFile(path, "utf8");
    await writeFile(path, manifest.replace(/"heads": ?2/, '"heads": 3'));
    await expect(loadModel(join(dir, "model"), catalog)).rejects.toMatchObject({
      code: "DATA_FORMAT",
      received: expect.stringContaining("heads must divide dim"),
    });
  });

  it("know a catalog by its ids and their order", () => {
    expect(catalogFingerprint(catalogOf(["a", "b"]))).toBe(catalogFingerprint(catalogOf(["a", "b"])));
    expect(catalogFingerprint(catalogOf(["a", "b"]))).not.toBe(catalogFingerprint(catalogOf(["b", "a"])));
  });
});
