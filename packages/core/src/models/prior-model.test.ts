import { describe, expect, it } from "vitest";
import { createRandom } from "../base/random.js";
import type { History } from "../data/history.js";
import { ParameterSet } from "../nn/layers/parameters.js";
import { trainingData } from "../testing/training-data.js";
import { Blend } from "./blend.js";
import { fitEase } from "./ease.js";
import { InterestModel } from "./interest-model.js";
import { fitItemKnn, ItemKnn } from "./item-knn.js";
import type { ScoringModel } from "./model.js";
import { fitMostPopular } from "./most-popular.js";
import { DENSE_PRIOR_ITEMS, PRUNED_ENTRIES, PriorModel } from "./prior-model.js";
import { createNetwork, networkConfig, scorerNamed } from "./registry.js";
import { measuredItems, spreadOf } from "./score-spread.js";

const ITEMS = 60;
const draw = createRandom(11);
const lists = Array.from({ length: 80 }, () => {
  const drawn = new Set(Array.from({ length: 9 }, () => 1 + Math.floor(ITEMS * draw.uniform() ** 2)));
  return [...drawn];
});
const dataset = trainingData(lists, ITEMS);
const HISTORIES: readonly History[] = Array.from({ length: 150 }, (_, n) => ({
  items: Uint32Array.from({ length: n % 11 }, () => draw.integer(1, ITEMS + 1)),
}));

function network(model: string, items: number, dim = 8): InterestModel {
  const random = createRandom(5, model);
  const own = createNetwork(networkConfig({ model, dim, maxHistory: 7 }));
  const table = { data: Float32Array.from({ length: items * dim }, () => random.normal()), rows: items, cols: dim };
  const bias = Float32Array.from({ length: items }, () => random.normal());
  return new InterestModel(own, ParameterSet.create(own.specs(), random), table, own.hasItemBias ? bias : undefined);
}

/** What the scores of a network and a prior are together, in doubles: for each history the score of each item id - 1. */
async function expectedScores(
  model: InterestModel,
  prior: ScoringModel,
  weight: number,
  histories: readonly History[],
) {
  const all = await model.rank(histories, { k: model.itemCount, excludeHistory: false });
  return histories.map(({ items }, row) => {
    const own = new Float64Array(model.itemCount);
    for (let at = row * all.k; at < row * all.k + all.counts[row]!; at++) own[all.ids[at]! - 1] = all.scores[at]!;
    const added = new Float64Array(model.itemCount);
    prior.score({ items: Uint32Array.from(new Set(items)) }, added);
    const [spread, other] = [spreadOf(own, measuredItems(model.itemCount)), spreadOf(added)];
    const factor = other.deviation === 0 ? 0 : (weight * spread.deviation) / other.deviation;
    return { own, added, scores: own.map((score, i) => score + factor * added[i]!), factor, spread, other };
  });
}

describe.each(["ldmi", "comirec-sa", "sasrec"])("%s with ease", (name) => {
  it("ranks by the sum of its score and the prior's under one spread", async () => {
    using model = network(name, ITEMS);
    const prior = await fitEase(dataset, { lambda: 5 });
    using both = new PriorModel(model, prior, 0.7);
    const excluded = Uint32Array.of(3, 9);
    const filter = Uint32Array.of(0xffff_fff3, 0xffff_ffff);
    const exclude = {
      indptr: Uint32Array.from({ length: HISTORIES.length + 1 }, (_, row) => 2 * row),
      indices: Uint32Array.from({ length: 2 * HISTORIES.length }, (_, n) => excluded[n % 2]!),
      rows: HISTORIES.length,
      cols: ITEMS + 1,
    };
    const ranking = await both.rank(HISTORIES, { k: 12, exclude, filter });
    const expected = await expectedScores(model, prior, 0.7, HISTORIES);
    for (const [row, { items }] of HISTORIES.entries()) {
      const { scores, own, added, factor, spread, other } = expected[row]!;
      const hidden = new Set([...items, 3, 9, 3, 4]);
      const order = Array.from(scores, (score, i) => ({ id: i + 1, score }))
        .filter(({ id }) => items.length > 0 && !hidden.has(id))
        .sort((a, b) => b.score - a.score || a.id - b.id)
        .slice(0, 12);
      expect(ranking.counts[row]).toBe(order.length);
      for (const [place, { score }] of order.entries()) {
        const at = row * 12 + place;
        const id = ranking.ids[at]!;
        expect(hidden.has(id)).toBe(false);
        expect(ranking.scores[at]).toBeCloseTo(score, 3);
        expect(ranking.scores[at]).toBeCloseTo(scores[id - 1]!, 3);
        const lead = Math.max(0, factor * (added[id - 1]! - other.mean));
        const rest = Math.max(0, own[id - 1]! - spread.mean);
        expect(ranking.priorShares![at]).toBeCloseTo(lead === 0 ? 0 : lead / (lead + rest), 3);
      }
    }
  });
});

it("takes interests that were told before, and gives the same lists", async () => {
  using model = network("ldmi", ITEMS);
  using both = new PriorModel(model, await fitItemKnn(dataset), 1);
  expect(await both.rank(HISTORIES, { k: 5, interests: both.interests(HISTORIES) })).toEqual(
    await both.rank(HISTORIES, { k: 5 }),
  );
});

it("is the network where the prior tells items apart for nobody", async () => {
  using model = network("ldmi", ITEMS);
  const flat = new ItemKnn({
    indptr: new Uint32Array(ITEMS + 1),
    indices: new Uint32Array(0),
    rows: ITEMS,
    cols: ITEMS,
  });
  using both = new PriorModel(model, flat, 2);
  const { priorShares, ...ranking } = await both.rank(HISTORIES, { k: 5 });
  expect(ranking).toEqual(await model.rank(HISTORIES, { k: 5 }));
  expect(priorShares!.every((share) => share === 0)).toBe(true);
});

it("adds the best entries of a prior where the catalog is large", async () => {
  const items = DENSE_PRIOR_ITEMS + 1;
  using model = network("ldmi", items, 4);
  const votes = 300;
  const prior = new ItemKnn({
    indptr: Uint32Array.from({ length: items + 1 }, (_, row) => (row === 0 ? 0 : votes)),
    indices: Uint32Array.from({ length: votes }, (_, n) => n * 50),
    values: Float32Array.from({ length: votes }, (_, n) => (n % 3 === 0 ? -1 : 1 + ((n * 37) % votes))),
    rows: items,
    cols: items,
  });
  using both = new PriorModel(model, prior, 1);
  const histories = [{ items: Uint32Array.of(1) }, { items: Uint32Array.of(2) }, { items: new Uint32Array(0) }];
  const k = 400;
  const ranking = await both.rank(histories, { k });
  const [expected] = await expectedScores(model, prior, 1, histories);
  const { own, added, factor } = expected!;
  const kept = new Set(
    Array.from(added, (score, i) => ({ i, score }))
      .sort((a, b) => b.score - a.score)
      .filter(({ score }) => score > 0)
      .slice(0, PRUNED_ENTRIES)
      .map(({ i }) => i),
  );
  expect(kept.size).toBe(PRUNED_ENTRIES);
  const scores = own.map((score, i) => (kept.has(i) ? score + factor * added[i]! : score));
  scores[0] = -Infinity;
  const best = [...scores].sort((a, b) => b - a);
  for (let place = 0; place < k; place++) {
    const id = ranking.ids[place]!;
    expect(ranking.scores[place]).toBeCloseTo(best[place]!, 2);
    expect(ranking.scores[place]).toBeCloseTo(scores[id - 1]!, 2);
    if (!kept.has(id - 1)) expect(ranking.priorShares![place]).toBe(0);
  }
  expect(ranking.counts[2]).toBe(0);
});

it("refuses a prior of another catalog, and a weight that adds nothing", async () => {
  using model = network("ldmi", ITEMS);
  const prior = await fitItemKnn(dataset);
  using other = network("ldmi", ITEMS + 1);
  expect(() => new PriorModel(other, prior, 1)).toThrow(expect.objectContaining({ code: "SHAPE_MISMATCH" }));
  for (const weight of [0, -1, Number.NaN, Infinity]) {
    expect(() => new PriorModel(model, prior, weight)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  }
});

describe("the items that spreads are measured over", () => {
  it("are all of a small catalog, and the same 1,024 of a large one", () => {
    expect([...measuredItems(5)]).toEqual([0, 1, 2, 3, 4]);
    const places = measuredItems(30_000);
    expect([new Set(places).size, places.length, places.at(-1)! < 30_000]).toEqual([1024, 1024, true]);
    expect([...places]).toEqual([...places].sort((a, b) => a - b));
    expect(measuredItems(30_000)).toEqual(places);
  });

  it("tell mean and deviation", () => {
    expect(spreadOf([1, 5, 9, 100], Uint32Array.of(0, 1, 2))).toEqual({ mean: 5, deviation: Math.sqrt(32 / 3) });
    expect(spreadOf([2, 2])).toEqual({ mean: 2, deviation: 0 });
  });
});

describe("blend", () => {
  const definition = scorerNamed("blend");
  const settings = (members: readonly object[], weights = [0.5, 0, 2]) =>
    definition.settings.parse({ members, weights });

  it("adds up what its members score, each over its spread", async () => {
    const [ease, popular] = [await fitEase(dataset, { lambda: 5 }), fitMostPopular(dataset)];
    using blend = new Blend([
      { model: ease, weight: 1 },
      { model: popular, weight: 0.3 },
    ]);
    const history = { items: Uint32Array.of(4, 7) };
    const [all, a, b] = [1, 2, 3].map(() => new Float64Array(ITEMS)) as [Float64Array, Float64Array, Float64Array];
    expect([blend.score(history, all), ease.score(history, a), popular.score(history, b)]).toEqual([true, true, true]);
    const expected = a.map((score, i) => score / spreadOf(a).deviation + (0.3 * b[i]!) / spreadOf(b).deviation);
    for (let i = 0; i < ITEMS; i++) expect(all[i]).toBeCloseTo(expected[i]!, 9);
    expect((await blend.rank([{ items: new Uint32Array(0) }], { k: 3 })).counts[0]).toBe(0);
  });

  it("chooses weights on validation, one member after the other, and is fitted the same again", async () => {
    const judged: string[] = [];
    const choose = async (model: unknown): Promise<number> => {
      const members = (model as Blend).members.map(({ model: { name }, weight }) => `${name} ${weight}`);
      judged.push(members.join(" + "));
      return members.join().includes("item-knn 2") ? 1 : 0;
    };
    const { model, facts } = await definition.fit(
      dataset,
      settings([{ model: "most-popular" }, { model: "item-knn", settings: { neighbours: 5 } }]),
      {},
      choose as never,
    );
    expect(judged).toEqual([
      "most-popular 1",
      "most-popular 1 + item-knn 0.5",
      "most-popular 1",
      "most-popular 1 + item-knn 2",
    ]);
    const again = await definition.fit(dataset, definition.chosen!(facts));
    expect(await again.model.rank(HISTORIES, { k: 7 })).toEqual(await model.rank(HISTORIES, { k: 7 }));
    const opened = definition.open(dataset, definition.tensors(model));
    expect(await opened.rank(HISTORIES, { k: 7 })).toEqual(await model.rank(HISTORIES, { k: 7 }));
  });

  it.each([
    ["a member twice", [{ model: "ease" }, { model: "ease" }]],
    ["itself", [{ model: "blend" }]],
    ["a network", [{ model: "ldmi" }]],
    ["nothing with a weight", [{ model: "ease", weight: 0 }]],
    ["settings that its member has not", [{ model: "ease", settings: { lamda: 3 } }]],
  ])("refuses %s", async (_, members) => {
    await expect(definition.fit(dataset, settings(members))).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  });
});
