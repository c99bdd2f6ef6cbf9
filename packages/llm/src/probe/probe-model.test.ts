import { afterAll, beforeAll, describe, expect, it } from "vitest";
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
  it("refuses a model of random weights and recommends categories, with figures and costs", async () => {
    const model = await LlamaCppModel.open({ modelPath: models.llama, threads: 1 });
    const probe = await probeModel(model, { items: 1000, users: 500, generateUsers: 8 });
    await model.close();
    expect(probe.recommended).toBe("category");
    expect(probe.tokensPerSecond).toBeGreaterThan(0);
    expect(probe.strategies.map(({ clusterer, passed }) => [clusterer, passed])).toEqual([
      ["facets", false],
      ["partition", false],
    ]);
    for (const { failures, hours } of probe.strategies) {
      expect(failures.length).toBeGreaterThan(0);
      expect(hours).toBeGreaterThan(0);
    }
  });

  it("recommends facets for a model that knows the items one by one but cannot partition", async () => {
    const { catalog, truth } = probeCatalog();
    const themes = ["sailing", "cooking", "astronomy", "gardening", "music", "war"];
    const group = new Map(catalog.items.map(({ title }, id) => [title, themes[truth[id]!]]));
    const model = new FakeModel({
      score: (text, word) => (group.get(text.replace('" is about', "")) === word ? -1 : -5),
      generate: (prompt) => {
        const items = [...prompt.slice(prompt.indexOf("Now use")).matchAll(/^\d+\. /gm)].length;
        return Array.from({ length: items }, (_, i) => `${i + 1}=${"ABCDEF"[Math.min(i, 5)]}`).join(" ");
      },
    });
    const probe = await probeModel(model);
    expect(probe.recommended).toBe("facets");
    expect(probe.strategies[0]!.planted.mean).toBe(1);
    expect(probe.strategies[1]!.failures.join()).toContain("the items' places");
  });
});
