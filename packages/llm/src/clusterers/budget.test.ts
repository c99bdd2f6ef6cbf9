import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { titledCatalog } from "../../../core/src/testing/catalog.js";
import { AnswerCache } from "../cache/answer-cache.js";
import { FakeModel } from "../testing/fake-model.js";
import { createClusterer, estimateCost } from "./clusterers.js";

/** Twenty titles of the sea and as many of the sky, every second one with its category. */
const titles = Array.from({ length: 40 }, (_, i) => `${i % 2 === 0 ? "Sea" : "Sky"} ${i}`);
const catalog = titledCatalog(
  titles,
  titles.map((title, i) => (i % 4 < 2 ? [title.startsWith("Sea") ? "Fishing" : "Astronomy"] : [])),
);
const reader = () =>
  new FakeModel({
    score: (text, word) => (word === (text.startsWith("Sea") ? "fishing" : "astronomy") ? -1 : -6),
    embed: (text) => (/^sea|^fishing/i.test(text) ? [1, 0.1] : [-1, 0.1]),
    generate: (prompt) => (prompt.includes('"Sea') ? " fishing" : " astronomy"),
  });
/** Vocabulary is given, so that all that is asked is about items. */
const facets = ["fishing", "astronomy", "music"];

let dir = "";
let cache: AnswerCache;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "prismrec-budget-"));
  cache = await AnswerCache.open(dir, "m");
});
afterEach(async () => {
  await cache.close();
  await rm(dir, { recursive: true });
});

describe("a budget", () => {
  const order = [40, 39, 38, 37, 1, 2];

  it("reads what comes first, counts what it does not do for, and leaves that to the categories", async () => {
    const model = reader();
    const context = { catalog, model, cache, facets, order, budget: { maxCalls: 6 } };
    const { clusterer, report } = await createClusterer("facets", context);
    const asked = [...new Set(model.asked.map((text) => text.replace(/" is about$/, "")))];
    expect(asked.filter((text) => order.some((id) => titles[id - 1] === text))).toHaveLength(order.length);
    expect(report.unread?.items).toBe(titles.length - asked.length);
    const unread = titles.filter((title) => !asked.includes(title));
    const categorised = unread.filter((title) => titles.indexOf(title) % 4 < 2);
    expect(report.unread?.byCategory).toBe(categorised.length);
    expect(asked.length).toBeLessThanOrEqual(7);
    // Two that were read, one of the sky by its category, one of the sea without, which stands alone.
    const items = Uint32Array.of(40, 39, 6, 7);
    const [partition] = await clusterer.partition([{ key: "u", items, maxClusters: 8 }]);
    const [sky, sea, byCategory, alone] = partition!.assign;
    expect(byCategory).toBe(sky);
    expect(sea).not.toBe(sky);
    expect([sky, sea]).not.toContain(alone);
  });

  it("reads on with a larger one where it stopped, and ends as if there had been none", async () => {
    const first = reader();
    const { report } = await createClusterer("facets", {
      catalog,
      model: first,
      cache,
      facets,
      budget: { maxTokens: 100 },
    });
    expect(report.unread?.items).toBe(titles.length - new Set(first.asked).size);
    const second = reader();
    const whole = await createClusterer("facets", {
      catalog,
      model: second,
      cache,
      facets,
      budget: { maxCalls: 1000 },
    });
    expect(whole.report.unread).toBeUndefined();
    expect(second.asked).toHaveLength(report.unread!.items);
    const unlimited = await createClusterer("facets", { catalog, model: reader(), facets });
    expect(whole.clusterer.fingerprint).toBe(unlimited.clusterer.fingerprint);
  });

  it("that does for nothing leaves everything to the categories", async () => {
    const model = reader();
    const context = { catalog, model, cache, facets, budget: { maxSeconds: 1e-9 } };
    const { clusterer, report } = await createClusterer("facets", context);
    expect(model.asked).toEqual([]);
    expect(report.unread).toEqual({ items: 40, byCategory: 20 });
    const items = Uint32Array.of(1, 5, 2, 6);
    const [partition] = await clusterer.partition([{ key: "u", items, maxClusters: 8 }]);
    expect([...partition!.assign]).toEqual([0, 0, 1, 1]);
  });

  it("holds for vectors too: what has none stands alone", async () => {
    const model = reader();
    const { clusterer, report } = await createClusterer("embedding", {
      catalog,
      model,
      cache,
      order,
      budget: { maxCalls: 8 },
    });
    expect(model.asked).toHaveLength(8);
    expect(report.unread).toEqual({ items: 32, byCategory: 0 });
    const [partition] = await clusterer.partition([
      { key: "u", items: Uint32Array.of(40, 38, 39, 20), maxClusters: 8 },
    ]);
    expect([...partition!.assign]).toEqual([0, 0, 1, 2]);
  });

  it("holds for kinds: those that come first are read, the others go by their categories beside them", async () => {
    const model = reader();
    const budget = { maxCalls: 6 };
    const { clusterer, report } = await createClusterer("kinds", { catalog, model, cache, order, budget });
    const first = order.map((id) => `"${titles[id - 1]}"\nKind:`);
    expect(model.asked.map((prompt) => first.findIndex((end) => prompt.endsWith(end)))).toEqual([0, 1, 2, 3, 4, 5]);
    // Items 1, 2 and 37, 38 have a category, and were read.
    expect(report).toMatchObject({ unread: { items: 34, byCategory: 16 }, budgetSpent: true });
    const items = Uint32Array.of(40, 39, 6, 7);
    const [partition] = await clusterer.partition([{ key: "u", items, maxClusters: 8 }]);
    expect([...partition!.assign]).toEqual([0, 1, 0, 2]);
    const second = reader();
    const whole = await createClusterer("kinds", { catalog, model: second, cache });
    expect(whole.report.unread).toBeUndefined();
    expect(second.asked).toHaveLength(34);
  });

  it("is one for all that a clusterer asks: members of a join, and both models of kinds", async () => {
    const model = reader();
    const budget = { maxCalls: 50 };
    const { report } = await createClusterer("kinds+embedding", { catalog, model, budget });
    expect(model.asked).toHaveLength(50);
    expect(report).toMatchObject({ unread: { items: 30, byCategory: 0 }, budgetSpent: true });
    const [writer, embedder] = [reader(), reader()];
    const compared = await createClusterer("kinds", { catalog, model: writer, embedder, budget: { maxCalls: 41 } });
    expect([writer.asked.length, embedder.asked.length]).toEqual([40, 1]);
    expect(compared.report).toMatchObject({ unread: { items: 20, byCategory: 0 }, budgetSpent: true });
  });

  it("is estimated for kinds, with the vectors of what they say", async () => {
    const histories = { count: 10, meanLength: 10 };
    const kinds = await estimateCost("kinds", { catalog, model: reader(), cache }, histories);
    expect(kinds).toMatchObject({ calls: 40, kept: 10, tokens: 300 });
    const embedder = reader();
    await createClusterer("kinds", { catalog, model: reader(), cache, embedder });
    const all = await estimateCost("kinds", { catalog, model: reader(), cache, embedder }, histories);
    expect(all).toMatchObject({ calls: 42, kept: 42, tokens: 0 });
  });
});
