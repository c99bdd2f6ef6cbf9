import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AnswerCache } from "../cache/answer-cache.js";
import { LlamaCppModel } from "../model/llama-cpp.js";
import { FakeModel } from "../testing/fake-model.js";
import { type TinyModels, tinyModels } from "../testing/tiny-model.js";
import { probeCatalog } from "./probe-catalog.js";
import { probeModel } from "./probe-model.js";

let models: TinyModels;
beforeAll(async () => {
  models = await tinyModels();
});
afterAll(() => models.remove());

describe("probeModel", () => {
  it("refuses a model of random weights and recommends categories, with figures, reasons and costs", async () => {
    const model = await LlamaCppModel.open({ modelPath: models.llama, threads: 1 });
    const probe = await probeModel(model, { items: 1000, users: 500, histories: 4 });
    await model.close();
    expect(probe.recommended).toBe("category");
    expect(probe.tokensPerSecond).toBeGreaterThan(0);
    expect(probe.strategies.map(({ clusterer, usable }) => [clusterer, usable])).toEqual([
      ["kinds", false],
      ["facets", false],
      ["partition", false],
    ]);
    for (const { failures, hours, why } of probe.strategies) {
      expect(why).toBe(failures.join("; "));
      expect(failures.length).toBeGreaterThan(0);
      expect(hours).toBeGreaterThan(0);
    }
    expect(probe.strategies[1]!.bytes).toBe(160_000);
  });

  it("asks a model that embeds for vectors alone", async () => {
    const model = await LlamaCppModel.open({ modelPath: models.bert, threads: 1 });
    const probe = await probeModel(model, { items: 10 });
    await model.close();
    expect(probe.strategies.map(({ clusterer }) => clusterer)).toEqual(["embedding"]);
    expect(probe.strategies[0]!.auc).toBeGreaterThan(0);
  });

  const { catalog, truth } = probeCatalog();
  const themes = ["sailing", "cooking", "astronomy", "gardening", "music", "war"];
  const themeOf = new Map(catalog.items.map(({ title }, id) => [title, themes[truth[id]!]!]));
  const inOrder = (prompt: string): string => {
    const items = [...prompt.slice(prompt.indexOf("Now use")).matchAll(/^\d+\. /gm)].length;
    return Array.from({ length: items }, (_, i) => `${i + 1}=${"ABCDEF"[Math.min(i, 5)]}`).join(" ");
  };
  const titleOf = (prompt: string): string => prompt.slice(prompt.lastIndexOf(': "') + 3, prompt.lastIndexOf('"'));

  it("recommends facets for a model that scores but cannot write, and says that its letters follow the place", async () => {
    const model = new FakeModel({
      score: (text, word) => (themeOf.get(text.replace('" is about', "")) === word ? -1 : -5),
      generate: (prompt) => (prompt.includes("Now use") ? inOrder(prompt) : " a thing"),
    });
    const probe = await probeModel(model);
    expect(probe.recommended).toBe("facets");
    const [kinds, facets, partition] = probe.strategies;
    expect(kinds!.why).toContain("the same of 100 %");
    expect(facets).toMatchObject({ usable: true, auc: 1, planted: { mean: 1 } });
    expect(partition!.failures.join()).toContain("the items' places");
    expect(partition!.positionBias!.nats).toBeGreaterThan(partition!.positionBias!.byChance);
  });

  it("recommends kinds for a server's model, which scores no words", async () => {
    const answers = { generate: (prompt: string) => ` ${themeOf.get(titleOf(prompt))}, thing` };
    const model = new FakeModel(answers, "server", { scoreWords: false, grammar: false, jsonSchema: true });
    const probe = await probeModel(model, { histories: 0 });
    expect(probe.strategies.map(({ clusterer }) => clusterer)).toEqual(["kinds"]);
    expect(probe.recommended).toBe("kinds");
  });

  it("recommends kinds for a model that says what things are, and asks nothing again of a model it knows", async () => {
    const dir = await mkdtemp(join(tmpdir(), "prismrec-probe-"));
    const cache = await AnswerCache.open(dir, "m");
    const model = new FakeModel({
      score: () => -1,
      generate: (prompt) => (prompt.includes("Now use") ? inOrder(prompt) : ` ${themeOf.get(titleOf(prompt))}, thing`),
    });
    const probe = await probeModel(model, { cache });
    expect(probe.recommended).toBe("kinds");
    expect(probe.because).toContain("known groups come back (1.00");
    const asked = model.asked.length;
    const again = await probeModel(model, { cache });
    expect(model.asked.length).toBe(asked);
    expect(again.strategies.map(({ perSecond, ...rest }) => rest)).toEqual(
      probe.strategies.map(({ perSecond, ...rest }) => rest),
    );
    await cache.close();
    await rm(dir, { recursive: true });
  });
});
