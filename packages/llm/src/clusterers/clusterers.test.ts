import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashJson } from "@prismrec/core/base";
import type { PartitionRequest } from "@prismrec/core/interests";
import { describe, expect, it } from "vitest";
import { titledCatalog } from "../../../core/src/testing/catalog.js";
import { AnswerCache } from "../cache/answer-cache.js";
import { FakeModel } from "../testing/fake-model.js";
import { CLUSTERERS, createClusterer, estimateCost } from "./clusterers.js";

const titles = ["Sea 1", "Sky 1", "Sea 2", "Sky 2", "Sea 3", "Sky 3", "Sea 4", "Sky 4"];
const catalog = titledCatalog(titles);
const everything: PartitionRequest = { key: "u", items: Uint32Array.of(1, 2, 3, 4, 5, 6, 7, 8), maxClusters: 8 };

/** Says "fishing" of the sea, "astronomy" of the sky, and much of "music" of everything. */
const reader = () =>
  new FakeModel({
    generate: (prompt) => (prompt.includes('"Sea') ? " whales" : " comets"),
    score: (text, word) => {
      if (word === "music") return -0.5;
      if (word === (text.startsWith("Sea") ? "fishing" : "astronomy")) return -1;
      return word === "whales" && text.startsWith("Sea") ? -1.5 : -6;
    },
  });

describe("createClusterer", () => {
  it("knows every clusterer by name and refuses others with the list", async () => {
    expect(CLUSTERERS.map(({ name }) => name)).toEqual([
      "facets",
      "kinds",
      "partition",
      "embedding",
      "title-words",
      "category",
      "year",
      "recorded-kinds",
      "shuffled",
      "random",
    ]);
    await expect(createClusterer("facet", { catalog })).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      expected: expect.stringContaining("facets"),
    });
  });

  it("says which clusterer needs a model", async () => {
    for (const name of ["facets", "kinds", "partition", "embedding", "kinds+title-words"]) {
      await expect(createClusterer(name, { catalog })).rejects.toMatchObject({ code: "MODEL_UNSUPPORTED" });
    }
  });
});

describe("estimateCost", () => {
  const histories = { count: 100, meanLength: 10 };

  it("counts the requests and asks few of them, and knows what is kept once they were made", async () => {
    const dir = await mkdtemp(join(tmpdir(), "prismrec-estimate-"));
    const cache = await AnswerCache.open(dir, "m");
    const model = reader();
    const context = { catalog, model, cache };
    const before = await estimateCost("facets", context, histories);
    expect(before.calls).toBe(16);
    // Three of the eight texts to be named are kept now; what is scored is not known yet.
    expect(before.tokens).toBeGreaterThanOrEqual(10 * (16 - before.kept));
    expect(model.asked.length).toBeLessThan(8);
    await createClusterer("facets", context);
    expect(await estimateCost("facets", context, histories)).toEqual({
      calls: 16,
      kept: 16,
      tokens: 0,
      seconds: 0,
    });
    await cache.close();
    await rm(dir, { recursive: true });
  });

  it("grows with the histories for partition, with the catalog for embedding, and is nothing for the controls", async () => {
    const partitioner = new FakeModel({
      generate: (prompt) =>
        Array.from(prompt.matchAll(/^(\d+)\. /gm), ([, n]) => `${n}=A`)
          .slice(4)
          .join(" "),
    });
    const few = await estimateCost("partition", { catalog, model: partitioner }, histories);
    const many = await estimateCost("partition", { catalog, model: partitioner }, { ...histories, count: 1000 });
    expect(many.tokens).toBeGreaterThan(6 * few.tokens);
    const context = { catalog, model: reader() };
    expect((await estimateCost("embedding", context, histories)).calls).toBe(titles.length);
    expect(await estimateCost("random", context, histories)).toEqual({ calls: 0, kept: 0, tokens: 0, seconds: 0 });
  });
});

describe("facets", () => {
  it("groups items by what the model says of each, whatever it says of all of them", async () => {
    const { clusterer, report } = await createClusterer("facets", { catalog, model: reader(), cut: "silhouette" });
    const [partition] = await clusterer.partition([everything]);
    expect([...partition!.assign]).toEqual([0, 1, 0, 1, 0, 1, 0, 1]);
    expect(partition!.labels[0]).toContain("fishing");
    expect(partition!.labels[1]).toContain("astronomy");
    expect(report.preset).toBe("themes");
  });

  it("says where each facet came from: the preset, the data's categories, the model's own words", async () => {
    const withCategories = titledCatalog(
      titles,
      titles.map(() => ["Voyages"]),
    );
    const { report } = await createClusterer("facets", { catalog: withCategories, model: reader(), maxFacets: 200 });
    const sources = new Map(report.facets?.map(({ word, source }) => [word, source]));
    expect(sources.get("fishing")).toBe("preset");
    expect(sources.get("voyages")).toBe("category");
    expect(sources.get("whales")).toBe("model");
  });

  it("uses the user's facets alone where they are given, and asks the model for none", async () => {
    const model = reader();
    const { report } = await createClusterer("facets", { catalog, model, facets: ["fishing", "astronomy"] });
    expect(report.facets?.map(({ word, source }) => `${word}:${source}`).sort()).toEqual([
      "astronomy:user",
      "fishing:user",
    ]);
    expect(new Set(model.asked)).toEqual(new Set(titles.map((title) => `${title}" is about`)));
  });

  it("asks films for genres when the categories are film genres", async () => {
    const genres = ["Drama", "Comedy", "Horror", "Thriller", "Action", "Drama", "Drama", "Drama"];
    const films = titledCatalog(
      titles,
      genres.map((genre) => [genre]),
    );
    const { report } = await createClusterer("facets", { catalog: films, model: reader() });
    expect(report.preset).toBe("films");
  });

  it("takes the year out of the titles unless told otherwise", async () => {
    const dated = titledCatalog(["Matrix, The (1999)", "Alien (1979)"]);
    for (const [textMode, expected] of [
      ["without-year", "The Matrix"],
      ["with-year", "The Matrix (1999)"],
    ] as const) {
      const model = reader();
      await createClusterer("facets", { catalog: dated, model, facets: ["art"], textMode });
      expect(model.asked[0]).toContain(expected);
      expect(model.asked.some((text) => text.includes("1999"))).toBe(textMode === "with-year");
    }
  });

  it("has one fingerprint for the same answers and another for other titles", async () => {
    const print = async (names: readonly string[]) =>
      (await createClusterer("facets", { catalog: titledCatalog(names), model: reader() })).clusterer.fingerprint;
    expect(await print(titles)).toBe(await print(titles));
    expect(await print([...titles.slice(1), "Sea 9"])).not.toBe(await print(titles));
  });
});

describe("embedding", () => {
  it("groups items by their vectors and names a group by its central title", async () => {
    const model = new FakeModel({ embed: (text) => (text.startsWith("Sea") ? [5, 1, 0.1] : [5, -1, 0]) });
    const { clusterer } = await createClusterer("embedding", { catalog, model, cut: "silhouette" });
    const [partition] = await clusterer.partition([everything]);
    expect([...partition!.assign]).toEqual([0, 1, 0, 1, 0, 1, 0, 1]);
    expect(partition!.labels[0]).toMatch(/^Sea/);
  });

  it("refuses a model whose vectors cannot be compared", async () => {
    const model = new FakeModel({ embed: () => [Number.NaN] });
    await expect(createClusterer("embedding", { catalog, model })).rejects.toMatchObject({
      code: "LLM_OUTPUT_INVALID",
    });
  });
});

/** The titles a partition prompt asks about, in the order shown. */
const shown = (prompt: string): string[] =>
  [...prompt.slice(prompt.indexOf("Now use")).matchAll(/^\d+\. (.+)$/gm)].map(([, title]) => title!);
const write = (groups: readonly string[]): string => groups.map((group, i) => `${i + 1}=${group}`).join(" ");

describe("partition", () => {
  const requests = Array.from({ length: 12 }, (_, u): PartitionRequest => {
    const start = u % 3;
    return { key: `u${u}`, items: everything.items.slice(start, start + 6), maxClusters: 6 };
  });

  it("uses a model that reads the items, and asks for labels after", async () => {
    const model = new FakeModel({
      generate: (prompt) =>
        prompt.includes("Groups:")
          ? write(shown(prompt).map((title) => (title.startsWith("Sea") ? "C" : "A")))
          : prompt.includes("Sea")
            ? "the sea"
            : "the sky",
    });
    const { clusterer } = await createClusterer("partition", { catalog, model });
    const partitions = await clusterer.partition(requests);
    partitions.forEach(({ assign, labels }, r) => {
      const items = requests[r]!.items;
      assign.forEach((cluster, i) => {
        expect(labels[cluster]).toBe(titles[items[i]! - 1]!.startsWith("Sea") ? "the sea" : "the sky");
      });
    });
  });

  it("answers requests by their place, not by what they are called", async () => {
    const model = new FakeModel({
      generate: (prompt) =>
        prompt.includes("Groups:")
          ? write(shown(prompt).map((title) => (title.startsWith("Sea") ? "C" : "A")))
          : "a label",
    });
    const { clusterer } = await createClusterer("partition", { catalog, model });
    const asked = [[1, 2, 3], [2, 4], [1], [2, 4, 6]].map((items) => ({
      key: "one name for all",
      items: Uint32Array.from(items),
      maxClusters: 6,
    }));
    const partitions = await clusterer.partition(asked);
    expect(partitions.map(({ assign }) => [...assign])).toEqual([[0, 1, 0], [0, 0], [0], [0, 0, 0]]);
  });

  it("refuses a model whose letters follow the place, with the figures and what to use instead", async () => {
    const model = new FakeModel({
      generate: (prompt) => write(shown(prompt).map((_, place) => "ABCDEF"[Math.min(place, 3)]!)),
    });
    const { clusterer } = await createClusterer("partition", { catalog, model });
    await expect(clusterer.partition(requests)).rejects.toMatchObject({
      code: "PARTITION_DEGENERATE",
      received: expect.stringMatching(/another order.*places/),
      hint: expect.stringContaining("facets"),
    });
  });

  it("refuses a model that puts everything into one group, or draws lots", async () => {
    const lots = (prompt: string) => Number.parseInt(hashJson(prompt).slice(0, 8), 16);
    const models = {
      "nearly everything is one group": () => "A",
      "another order": (title: string, prompt: string) => "ABC"[lots(title + prompt) % 3]!,
    };
    for (const [failure, group] of Object.entries(models)) {
      const model = new FakeModel({
        generate: (prompt) => write(shown(prompt).map((title) => group(title, prompt))),
      });
      const { clusterer } = await createClusterer("partition", { catalog, model });
      await expect(clusterer.partition(requests)).rejects.toMatchObject({
        code: "PARTITION_DEGENERATE",
        received: expect.stringContaining(failure),
      });
    }
  });

  it("refuses an answer that ends too early", async () => {
    const model = new FakeModel({ generate: () => "1=A 2=" });
    const { clusterer } = await createClusterer("partition", { catalog, model });
    await expect(clusterer.partition(requests)).rejects.toMatchObject({ code: "LLM_OUTPUT_INVALID" });
  });
});
