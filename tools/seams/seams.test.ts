import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Dataset } from "@prismrec/core/data";
import { partitionDataset } from "@prismrec/core/interests";
import { RANKING_METRICS, rankingMetrics, registerRankingMetric } from "@prismrec/core/metrics";
import {
  type InterestModel,
  isScorer,
  loadModel,
  MODELS,
  modelNamed,
  registerModel,
  saveModel,
} from "@prismrec/core/models";
import { Recommender } from "@prismrec/core/recommend";
import { createClusterer, estimateCost, registerClusterer } from "@prismrec/llm";
import { defaultTrainConfig, evaluate, plantedData, train } from "@prismrec/trainer";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { root } from "../lib/run.mjs";
import { firstLetter } from "./clusterer.js";
import { rankBiasedPrecision } from "./metric.js";
import { meanPool } from "./model.js";
import { markovChain } from "./scorer.js";

const { dataset } = plantedData({ users: 600, items: 80, interests: 6, medianLength: 10 });
let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "prismrec-seams-"));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

it("the toys reach the packages by their names alone", async () => {
  const folder = join(root, "tools", "seams");
  const files = (await readdir(folder)).filter((name) => name.endsWith(".ts"));
  expect(files.length).toBeGreaterThan(4);
  for (const name of files) {
    const text = await readFile(join(folder, name), "utf8");
    for (const [, path = ""] of text.matchAll(/\bfrom "(\.[^"]*)"/g)) {
      expect(path, name).toMatch(/^\.\/[a-z-]+\.m?js$|^\.\.\/lib\/run\.mjs$/);
    }
  }
});

describe("a model of a program's own, with a term of its own", () => {
  const settings = { network: { dim: 8 }, batchSize: 32, stopping: { epochs: 30 } };
  const squares = (model: InterestModel) =>
    Array.from(model.parameters).reduce(
      (sum, { values }) => sum + values.reduce((own, value) => own + value ** 2, 0),
      0,
    );
  const trained = async (name: string, overrides: Record<string, unknown> = {}) => {
    const config = defaultTrainConfig("mean-pool", dataset, { ...settings, ...overrides });
    return { config, ...(await train({ dataset }, config, { dir: join(dir, name) })) };
  };
  let first: Awaited<ReturnType<typeof trained>>;

  beforeAll(async () => {
    expect(() => modelNamed("mean-pool")).toThrowError(expect.objectContaining({ code: "CONFIG_INVALID" }));
    registerModel(meanPool);
    first = await trained("first");
  });

  it("is listed, and takes its own settings and its term's, but no other", () => {
    expect(MODELS.at(-1)?.name).toBe("mean-pool");
    expect(first.config).toMatchObject({
      network: { model: "mean-pool", dim: 8 },
      shrinkage: { weight: 1e-3 },
      optimizer: { learningRate: 0.01 },
    });
    for (const wrong of [{ network: { width: 3 } }, { shrinkage: { weight: -1 } }, { shrinkag: {} }]) {
      expect(() => defaultTrainConfig("mean-pool", dataset, wrong)).toThrowError(
        expect.objectContaining({ code: "CONFIG_INVALID" }),
      );
    }
  });

  it("learns: it ranks the test users' items better than popularity does", async () => {
    const popular = modelNamed("most-popular");
    if (!isScorer(popular)) throw new Error("most-popular is a scorer");
    const floor = await evaluate((await popular.fit(dataset, {})).model, dataset, {
      part: "test",
      metrics: ["ndcg@20"],
    });
    const own = await evaluate(first.model, dataset, { part: "test", metrics: ["ndcg@20"] });
    expect(own.metrics["ndcg@20"]).toBeGreaterThan(1.1 * floor.metrics["ndcg@20"]!);
  });

  it("learns from its term: more of it makes the parameters smaller, and the curve has it", async () => {
    const without = await trained("without", { shrinkage: { weight: 0 } });
    const much = await trained("much", { shrinkage: { weight: 0.1 } });
    expect(first.curve[0]?.parts.shrinkage).toBeGreaterThan(0);
    expect(squares(much.model)).toBeLessThan(0.8 * squares(without.model));
  });

  it("is saved and loaded bit for bit, and recommends with its interest beside every item", async () => {
    const { config, model } = first;
    await saveModel(join(dir, "saved"), model, config.network, dataset.catalog, {});
    for (const place of ["saved", "first/model"]) {
      const loaded = await loadModel(join(dir, place), dataset.catalog);
      expect([...loaded.parameters]).toEqual([...model.parameters]);
      expect(loaded.itemVectors()).toEqual(model.itemVectors());
      using recommender = new Recommender({ model: loaded, catalog: dataset.catalog, log: dataset.log });
      const { items, interests } = await recommender.recommend({ user: dataset.log.userIds[0]! }, { k: 5 });
      expect(items).toHaveLength(5);
      expect(interests).toEqual([expect.objectContaining({ kind: "collaborative", share: expect.closeTo(1, 9) })]);
      loaded.dispose();
    }
  });

  it("is refused under a name that is taken or that is none, and where its parts do not fit", () => {
    const recipe = { ...meanPool.recipe, terms: [...meanPool.recipe.terms, ...meanPool.recipe.terms] };
    for (const wrong of [
      meanPool,
      { ...meanPool, name: "ldmi" },
      { ...meanPool, name: "Mean Pool" },
      { ...meanPool, name: "other" },
      { ...meanPool, name: "mean-pool-2", config: meanPool.config, recipe },
    ]) {
      expect(() => registerModel(wrong), wrong.name).toThrowError(expect.objectContaining({ code: "CONFIG_INVALID" }));
    }
    expect(MODELS.filter(({ name }) => name.startsWith("mean-pool"))).toHaveLength(1);
  });
});

describe("a scorer of a program's own", () => {
  it("is fitted, judged, stored as tensors and opened again", async () => {
    registerModel(markovChain);
    const definition = modelNamed("markov-chain");
    if (!isScorer(definition)) throw new Error("it was registered as a scorer");
    const { model } = await definition.fit(dataset, definition.settings.parse({}));
    const { metrics } = await evaluate(model, dataset, { part: "test", metrics: ["recall@20"] });
    expect(metrics["recall@20"]).toBeGreaterThan(0.2);
    const opened = definition.open(dataset, definition.tensors(model));
    const histories = [{ items: Uint32Array.of(3, 1, 2) }];
    expect(await opened.rank(histories, { k: 9 })).toEqual(await model.rank(histories, { k: 9 }));
  });
});

describe("a clusterer of a program's own", () => {
  /** Every item under a title of its own interest. */
  const titled: Dataset = {
    ...dataset,
    catalog: {
      ...dataset.catalog,
      items: dataset.catalog.items.map((item, id) => ({ ...item, title: id === 0 ? "" : `${"abc"[id % 3]} ${id}` })),
    },
  };

  it("is made by name, and its interests reach training and recommendations", async () => {
    await expect(createClusterer("first-letter", titled)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    registerClusterer(firstLetter);
    expect(() => registerClusterer(firstLetter)).toThrowError(expect.objectContaining({ code: "CONFIG_INVALID" }));
    expect(await estimateCost("first-letter", titled, { count: 9, meanLength: 9 })).toMatchObject({ calls: 0 });
    const { clusterer } = await createClusterer("first-letter", titled);
    const partitions = await partitionDataset(titled, clusterer);
    partitions.test.labels.forEach((labels) => {
      expect(["A", "B", "C"]).toEqual(expect.arrayContaining([...labels]));
    });
    const config = defaultTrainConfig("ldmi", titled, {
      network: { dim: 8, interests: 2, layers: 1 },
      batchSize: 32,
      stopping: { epochs: 1 },
    });
    const { model } = await train({ dataset: titled, partitions }, config, { dir: join(dir, "letters") });
    const { catalog, log } = titled;
    using recommender = new Recommender({ model, catalog, log, clusterer });
    const { interests } = await recommender.recommend({ user: log.userIds[0]! });
    const semantic = interests.filter(({ kind }) => kind === "semantic");
    expect(semantic.length).toBeGreaterThan(0);
    for (const { labels, because } of semantic) {
      for (const id of because) expect(catalog.items[catalog.idOf(id)!]!.title[0]?.toUpperCase()).toBe(labels[0]);
    }
    model.dispose();
  });
});

describe("a metric of a program's own", () => {
  it("is asked for by name, with any cut-off, wherever metrics are", async () => {
    const ranking = { k: 3, ids: Uint32Array.of(5, 7, 9), scores: Float32Array.of(3, 2, 1), counts: Uint32Array.of(3) };
    expect(() => rankingMetrics(ranking, [[7, 9]], ["rbp@3"])).toThrowError(
      expect.objectContaining({ code: "CONFIG_INVALID" }),
    );
    registerRankingMetric(rankBiasedPrecision);
    expect(rankingMetrics(ranking, [[7, 9]], ["rbp@3", "rbp@1", "rbp@2"])).toEqual({
      "rbp@3": Float64Array.of((1 - 0.8) * (0.8 + 0.8 ** 2)),
      "rbp@1": Float64Array.of(0),
      "rbp@2": Float64Array.of((1 - 0.8) * 0.8),
    });
    const popular = modelNamed("most-popular");
    if (!isScorer(popular)) throw new Error("most-popular is a scorer");
    const { model } = await popular.fit(dataset, {});
    const { metrics } = await evaluate(model, dataset, { part: "test", metrics: ["rbp@10", "recall@10"] });
    expect(metrics["rbp@10"]).toBeGreaterThan(0);
    expect(metrics["rbp@10"]).toBeLessThan(1);
  });

  it("is refused under a name that is taken", () => {
    expect(() => registerRankingMetric({ ...rankBiasedPrecision, name: "recall" })).toThrowError(
      expect.objectContaining({ code: "CONFIG_INVALID", received: "recall" }),
    );
    expect(RANKING_METRICS.filter(({ name }) => name === "recall")).toHaveLength(1);
  });
});
