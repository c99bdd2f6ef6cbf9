import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { adjustedRandIndex, type Clusterer, type Mean, meanOf } from "@prismrec/core/interests";
import { describe, expect, it } from "vitest";
import { titledCatalog } from "../../core/src/testing/catalog.js";
import { createClusterer } from "./clusterers/clusterers.js";
import { LlamaCppModel } from "./model/llama-cpp.js";
import { type Sample, writeSample } from "./testing/sample.js";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const models = resolve(root, process.env.PRISMREC_SHARED ?? "../shared", "models");
const smol = resolve(models, "SmolLM2-135M-Instruct.Q4_1.gguf");
const miniLm = resolve(models, "all-MiniLM-L6-v2.Q8_0.gguf");

async function recovery({ requests, truth }: Sample, clusterer: Clusterer): Promise<Mean> {
  const partitions = await clusterer.partition(requests);
  return meanOf(
    partitions.map(({ assign }, r) =>
      adjustedRandIndex(
        assign,
        Array.from(requests[r]!.items, (id) => truth[id]!),
      ),
    ),
  );
}

describe.skipIf(!existsSync(smol))("SmolLM2-135M-Instruct (skipped where it is not in the shared models)", () => {
  it("recovers the planted interests of the sample far better than categories, chance and its shuffled self", async () => {
    const sample = await writeSample(300, 144);
    const { catalog } = sample;
    const model = await LlamaCppModel.open({ modelPath: smol });
    try {
      const { clusterer, report } = await createClusterer("facets", { catalog, model });
      const found = await recovery(sample, clusterer);
      for (const name of ["category", "random", "shuffled"]) {
        const control = await recovery(sample, (await createClusterer(name, { catalog, inner: clusterer })).clusterer);
        const margin = 10 * Math.hypot(found.standardError, control.standardError);
        expect(found.mean - control.mean, name).toBeGreaterThan(margin);
      }
      expect(found.mean).toBeGreaterThan(0.5);
      expect(report.facets?.length).toBeGreaterThan(10);
    } finally {
      await model.close();
    }
  }, 300_000);

  it("cannot partition by itself, and is refused for it", async () => {
    const titles = [
      "Rings of Saturn",
      "Rye Bread",
      "Comets",
      "Pie Crusts",
      "The Moon",
      "Muffin Tins",
      "Jupiter",
      "Yeast",
    ];
    const model = await LlamaCppModel.open({ modelPath: smol });
    try {
      const { clusterer } = await createClusterer("partition", { catalog: titledCatalog(titles), model });
      const requests = Array.from({ length: 8 }, (_, u) => ({
        key: `u${u}`,
        items: Uint32Array.from([1, 2, 3, 4, 5, 6, 7, 8].filter((id) => id !== u + 1 && id !== ((u + 3) % 8) + 1)),
        maxClusters: 4,
      }));
      await expect(clusterer.partition(requests)).rejects.toMatchObject({ code: "PARTITION_DEGENERATE" });
    } finally {
      await model.close();
    }
  }, 300_000);
});

describe.skipIf(!existsSync(miniLm))("all-MiniLM-L6-v2 (skipped where it is not in the shared models)", () => {
  it("groups titles of the same kind by their vectors", async () => {
    const titles = [
      "Rings of Saturn",
      "Rye bread loaves",
      "Comets and moons",
      "Cinnamon rolls",
      "A telescope",
      "Pie crusts",
    ];
    const model = await LlamaCppModel.open({ modelPath: miniLm, threads: 1 });
    try {
      const { clusterer } = await createClusterer("embedding", {
        catalog: titledCatalog(titles),
        model,
        cut: "silhouette",
      });
      const request = { key: "u", items: Uint32Array.of(1, 2, 3, 4, 5, 6), maxClusters: 3 };
      const [partition] = await clusterer.partition([request]);
      expect(adjustedRandIndex(partition!.assign, [0, 1, 0, 1, 0, 1])).toBe(1);
    } finally {
      await model.close();
    }
  }, 120_000);
});
