import { beforeEach, describe, expect, it } from "vitest";
import { createRandom } from "../base/random.js";
import { createCatalog, createLog } from "../data/catalog.js";
import { textColumn } from "../data/columns.js";
import { categoryClusterer } from "../interests/category-clusterer.js";
import { InterestModel } from "../models/interest-model.js";
import { createNetwork, networkConfig } from "../models/registry.js";
import { ParameterSet } from "../nn/layers/parameters.js";
import { filterKey } from "./filter.js";
import { Recommender } from "./recommender.js";

const ITEMS = 300;
const DIM = 16;
const random = createRandom(3, "interest-states");
const network = createNetwork(networkConfig({ model: "ldmi", dim: DIM }));
const parameters = ParameterSet.create(network.specs(), random);
const vectors = { data: Float32Array.from({ length: ITEMS * DIM }, () => random.normal()), rows: ITEMS, cols: DIM };
const catalog = createCatalog(
  Array.from({ length: ITEMS + 1 }, (_, dense) => ({
    id: dense === 0 ? "" : `i${dense}`,
    title: dense === 0 ? "" : `Item ${dense}`,
    categories: dense === 0 ? [] : [`shelf ${dense % 5}`],
  })),
  new Uint32Array(ITEMS + 1),
);
const log = createLog({
  userIds: ["ann", "ben"],
  indptr: Uint32Array.of(0, 6, 10),
  items: Uint32Array.of(3, 14, 15, 92, 65, 35, 8, 97, 93, 23),
  profile: new Map([["country", textColumn(["at", "ch"])]]),
});
const clusterer = categoryClusterer(catalog);

/** How often a network has been asked. */
let read = 0;
beforeEach(() => {
  read = 0;
});

function recommenderOf(states?: number): Recommender {
  const model = new InterestModel(network, parameters, vectors, new Float32Array(ITEMS));
  const interests = model.interests.bind(model);
  model.interests = (histories) => {
    read++;
    return interests(histories);
  };
  return new Recommender({ model, catalog, log, clusterer, ...(states === undefined ? {} : { states }) });
}

const REQUESTS = [
  { user: "ann" },
  { user: "ben" },
  { user: "ann", since: ["i40"] },
  { user: "ann", since: ["i41"] },
  { history: ["i3", "i14", "i15"] },
  { history: ["i14", "i3", "i15"] },
  { history: ["i3"], profile: { country: "at" } },
  { history: ["i3"], profile: { country: "ch" } },
];

describe("what a recommender keeps of histories", () => {
  it("changes no bit of an answer", async () => {
    const [keeping, forgetful] = [recommenderOf(), recommenderOf(0)];
    const options = [
      { k: 7 },
      { k: 3, filter: { categories: ["shelf 1", "shelf 2"] } },
      { k: 5, excludeHistory: false },
    ];
    for (const request of [...REQUESTS, ...REQUESTS]) {
      for (const each of options) {
        expect(await keeping.recommend(request, each)).toStrictEqual(await forgetful.recommend(request, each));
      }
      const { index } = (await keeping.interests(request))[0]!;
      const boosted = { interests: { boost: [{ interest: index, factor: 4 }] } };
      expect(await keeping.recommend(request, boosted)).toStrictEqual(await forgetful.recommend(request, boosted));
    }
  });

  it("spares the network what it has read, and nothing that is not the same", async () => {
    const recommender = recommenderOf();
    for (const request of REQUESTS) await recommender.recommend(request);
    expect(read).toBe(REQUESTS.length);
    for (const request of REQUESTS) {
      await recommender.recommend(request, { k: 3 });
      await recommender.interests(request);
    }
    expect(read).toBe(REQUESTS.length);
  });

  it("is not altered by what a caller does to an answer", async () => {
    const recommender = recommenderOf();
    const first = await recommender.recommend({ user: "ann" });
    const kept = structuredClone(first);
    for (const interest of first.interests) {
      (interest.labels as string[])[0] = "mine";
      (interest.because as string[]).length = 0;
    }
    for (const { because } of first.items) (because as string[]).push("mine");
    expect(await recommender.recommend({ user: "ann" })).toStrictEqual(kept);
    expect(await recommender.interests({ user: "ann" })).toStrictEqual(kept.interests);
  });

  it("is no more than was asked for, the longest unasked going first", async () => {
    const recommender = recommenderOf(2);
    const ask = async (...items: string[]): Promise<void> => {
      for (const item of items) await recommender.recommend({ history: [item] });
    };
    await ask("i1", "i2", "i1", "i3", "i1");
    expect(read).toBe(3);
    await ask("i2");
    expect(read).toBe(4);
    expect(() => recommenderOf(-1)).toThrow(/states must be a whole number of at least 0/);
  });

  it("tells filters apart, those that are refused included", async () => {
    const refused = [{ year: Number.NaN }, { year: undefined }, { year: null }] as never[];
    const filters = [{}, { title: "1" }, { title: 1 }, { title: true }, { title: "true" }, ...refused];
    expect(new Set(filters.map(filterKey)).size).toBe(filters.length);
    const recommender = recommenderOf();
    await recommender.recommend({ user: "ann" }, { filter: {} });
    await expect(recommender.recommend({ user: "ann" }, { filter: { title: undefined } as never })).rejects.toThrow();
  });
});
