import { productionDataset } from "@prismrec/core/data";
import { partitionDataset } from "@prismrec/core/interests";
import { describe, expect, it } from "vitest";
import { plantedData, TruthClusterer } from "../planted/planted-data.js";
import { TemporaryFolder, TINY_CONFIG_NAMES, tinyConfig } from "../testing/tiny-input.js";
import { train } from "./train.js";

describe("training with nobody held out", () => {
  const { dataset, truth } = plantedData({ users: 120, items: 50, interests: 4, medianLength: 8, seed: 2 });

  it("learns from every event of every user", () => {
    const { split, log, fingerprint, catalog } = productionDataset(dataset);
    expect(split.train.users.length).toBe(log.userCount);
    expect(split.train.ends.reduce((sum, end) => sum + end, 0)).toBe(log.items.length);
    expect([split.valid.users.length, split.test.users.length]).toEqual([0, 0]);
    expect(fingerprint).not.toBe(dataset.fingerprint);
    expect(catalog).toBe(dataset.catalog);
  });

  it.each(TINY_CONFIG_NAMES)("trains %s for the epochs that are set, and keeps the last", async (name) => {
    const all = productionDataset(dataset);
    const partitions = await partitionDataset(all, new TruthClusterer(truth));
    await using folder = await TemporaryFolder.create();
    const result = await train({ dataset: all, partitions }, tinyConfig(name, { stopping: { epochs: 3 } }), {
      dir: folder.path,
    });
    expect(result).toMatchObject({ stoppedBy: "epochs", bestEpoch: 3 });
    expect(result.curve.map(({ metrics }) => metrics)).toEqual([{}, {}, {}]);
  });
});
