import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sha256 } from "@prismrec/core/base";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { titledCatalog } from "../../../core/src/testing/catalog.js";
import { createClusterer, estimateCost } from "../clusterers/clusterers.js";
import type { LanguageModel } from "../model/language-model.js";
import { LlamaCppModel } from "../model/llama-cpp.js";
import { ServerModel } from "../model/server-model.js";
import { OpenAiServer } from "../testing/openai-server.js";
import { type TinyModels, tinyModels } from "../testing/tiny-model.js";
import { AnswerCache } from "./answer-cache.js";
import { CachedModel } from "./cached-model.js";
import type { CostEstimate } from "./cost.js";

let files: TinyModels;
let dir = "";
beforeAll(async () => {
  files = await tinyModels();
  dir = await mkdtemp(join(tmpdir(), "prismrec-cost-"));
}, 120_000);
afterAll(async () => {
  await files.remove();
  await rm(dir, { recursive: true });
});

/** Titles of one to nine words, as uneven as titles are. */
const TITLES = Array.from({ length: 120 }, (_, i) =>
  Array.from({ length: 1 + ((i * 7) % 9) }, (_, w) => ["sea", "Überfahrt", "of", "2", "the", "astronomy"][(i + w) % 6])
    .concat(`${i}`)
    .join(" "),
);
const catalog = titledCatalog(TITLES);

/** Whether what then happened is within a fifth of what was said. */
function expectHeld(estimate: CostEstimate, spent: { calls: number; tokens: number }): void {
  const calls = estimate.calls - estimate.kept;
  expect(Math.abs(calls - spent.calls) / spent.calls).toBeLessThan(0.2);
  expect(Math.abs(estimate.tokens - spent.tokens) / spent.tokens).toBeLessThan(0.2);
}

async function spentBy(model: LanguageModel, work: () => Promise<unknown>): Promise<{ calls: number; tokens: number }> {
  const before = model.usage();
  await work();
  const after = model.usage();
  const tokens = after.promptTokens + after.generatedTokens - before.promptTokens - before.generatedTokens;
  return { calls: after.calls - before.calls, tokens };
}

describe("a dry run", () => {
  it("says within a fifth what facets take, with a prefix that each process reads once", async () => {
    const cache = await AnswerCache.open(dir, "facets");
    const sampling = await LlamaCppModel.open({ modelPath: files.llama, threads: 2 });
    const estimate = await estimateCost("facets", { catalog, model: sampling, cache }, { count: 0, meanLength: 0 });
    const asked = sampling.usage().calls;
    await sampling.close();
    expect(estimate.calls).toBe(48 + TITLES.length);
    expect(asked).toBeLessThan(30);
    const model = await LlamaCppModel.open({ modelPath: files.llama, threads: 2 });
    const spent = await spentBy(model, () => createClusterer("facets", { catalog, model, cache }));
    expectHeld(estimate, spent);
    expect(estimate.seconds).toBeGreaterThan(0);
    await model.close();
    await cache.close();
  });

  it("says within a fifth what a server counts, for texts written and for vectors", async () => {
    const [tiny, bert] = await Promise.all([
      LlamaCppModel.open({ modelPath: files.llama, threads: 1 }),
      LlamaCppModel.open({ modelPath: files.bert, threads: 1 }),
    ]);
    const server = await OpenAiServer.start({ models: { tiny, bert } });
    const open = (model: string) => ServerModel.open({ base: server.base, model, concurrency: 2, env: {} });
    const [writer, embedder] = await Promise.all([open("tiny"), open("bert")]);
    const cache = await AnswerCache.open(dir, "server");
    const cached = new CachedModel(writer, cache);
    const prompts = TITLES.map((title) => `"Bread" is a food.\n"${title}" is a`);
    const options = { chat: false, maxTokens: 3 };
    const estimate = await cached.estimateTexts(prompts, options);
    expect(estimate.kept).toBeLessThan(20);
    expectHeld(estimate, await spentBy(writer, () => cached.generate(prompts, options)));
    const context = { catalog, model: embedder, cache };
    const vectors = await estimateCost("embedding", context, { count: 0, meanLength: 0 });
    const spent = await spentBy(embedder, () => createClusterer("embedding", context));
    expect(Math.abs(vectors.tokens - spent.tokens) / spent.tokens).toBeLessThan(0.2);
    await Promise.all([writer.close(), embedder.close(), cache.close(), server.close()]);
    await Promise.all([tiny.close(), bert.close()]);
  });

  it("says within a fifth what partitions and their labels take", async () => {
    const model = await LlamaCppModel.open({ modelPath: files.llama, threads: 1 });
    const small = titledCatalog(TITLES.slice(0, 60));
    // Fewer than are tested for what they mean, which those of random weights fail.
    const requests = Array.from({ length: 7 }, (_, r) => ({
      key: `user ${r}`,
      items: Uint32Array.from({ length: 6 + (r % 3) }, (_, i) => 1 + ((r * 11 + i * 7) % 60)),
      maxClusters: 8,
    }));
    const meanLength = requests.reduce((sum, { items }) => sum + items.length, 0) / requests.length;
    const estimate = await estimateCost("partition", { catalog: small, model }, { count: requests.length, meanLength });
    const { clusterer } = await createClusterer("partition", { catalog: small, model });
    expectHeld(estimate, await spentBy(model, () => clusterer.partition(requests)));
    await model.close();
  });

  it("is exact about what is kept: nothing is left", async () => {
    const cache = await AnswerCache.open(dir, "facets");
    const model = await LlamaCppModel.open({ modelPath: files.llama, threads: 1 });
    const estimate = await estimateCost("facets", { catalog, model, cache }, { count: 0, meanLength: 0 });
    expect(estimate).toEqual({ calls: 168, kept: 168, tokens: 0, seconds: 0 });
    expect(model.usage().calls).toBe(0);
    await model.close();
    await cache.close();
  });
});

describe("what is changed", () => {
  it("is read again alone: one title of many", async () => {
    const cache = await AnswerCache.open(dir, "facets");
    const model = await LlamaCppModel.open({ modelPath: files.llama, threads: 1 });
    // Those with the lowest hashes are asked for themes of their own too: neither is one of them.
    const old = [...TITLES].sort((a, b) => (sha256(a) < sha256(b) ? 1 : -1))[0];
    const fresh = Array.from({ length: 100 }, (_, i) => `a new title ${i}`).find((title) => sha256(title) > "f");
    const changed = titledCatalog(TITLES.map((title) => (title === old ? fresh! : title)));
    await createClusterer("facets", { catalog: changed, model, cache });
    expect(model.usage().calls).toBe(1);
    await model.close();
    await cache.close();
  });
});
