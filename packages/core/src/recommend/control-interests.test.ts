import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { createRandom } from "../base/random.js";
import { fitEase } from "../models/ease.js";
import { InterestModel } from "../models/interest-model.js";
import { LdmiNetwork, ldmiSchema } from "../models/ldmi.js";
import { PriorModel } from "../models/prior-model.js";
import { ParameterSet } from "../nn/layers/parameters.js";
import { titledCatalog } from "../testing/catalog.js";
import { labelClusterer } from "../testing/clusterer.js";
import { trainingData } from "../testing/training-data.js";
import { Recommender } from "./recommender.js";
import type { Recommendation } from "./types.js";

const ITEMS = 60;
const DIM = 6;
const catalog = titledCatalog(Array.from({ length: ITEMS }, (_, n) => `Title ${n + 1}`));
const shelf = (dense: number): number => dense % 3;

/** Puts an item on one of three shelves. */
const shelves = labelClusterer((dense) => `shelf ${shelf(dense)}`);

const random = createRandom(5);
const lists = Array.from({ length: 40 }, (_, u) =>
  Array.from({ length: 6 }, (_, n) => 1 + ((u * 7 + n * n * 5) % ITEMS)),
);
const vectors = { data: Float32Array.from({ length: ITEMS * DIM }, () => random.normal()), rows: ITEMS, cols: DIM };
const network = new LdmiNetwork(ldmiSchema.parse({ dim: DIM, maxHistory: 20, layers: 1 }));
const model = new InterestModel(
  network,
  ParameterSet.create(network.specs(), random),
  vectors,
  new Float32Array(ITEMS),
);
const ease = await fitEase(trainingData(lists, ITEMS), { lambda: 10 });
const withPrior = new PriorModel(model, ease, 0.7);
const plain = new Recommender({ model, catalog, clusterer: shelves });
const added = new Recommender({ model: withPrior, catalog, clusterer: shelves });
afterAll(() => {
  for (const held of [plain, added, withPrior, model]) held[Symbol.dispose]();
});

const WHOM = { history: ["i1", "i5", "i9", "i13", "i4", "i8", "i11"] };
const scores = ({ items }: Recommendation) => new Map(items.map(({ id, score }) => [id, score]));

describe("muting and boosting", () => {
  it("by the factor 1 changes nothing", async () => {
    for (const recommender of [plain, added]) {
      const asked = await recommender.recommend(WHOM, { k: 20 });
      const boost = asked.interests.map(({ index }) => ({ interest: index, factor: 1 }));
      const again = await recommender.recommend(WHOM, { k: 20, interests: { boost } });
      expect(again.items).toEqual(asked.items);
      expect(again.interests).toEqual(asked.interests.map((interest) => ({ ...interest, factor: 1 })));
    }
  });

  it("of all interests alike lifts every score by the logarithm of the factor, and no prior with it", async () => {
    await fc.assert(
      fc.asyncProperty(fc.double({ min: 0.05, max: 20, noNaN: true }), async (factor) => {
        for (const recommender of [plain, added]) {
          const asked = await recommender.recommend(WHOM, { k: 20 });
          const boost = asked.interests.map(({ index }) => ({ interest: index, factor }));
          const lifted = scores(await recommender.recommend(WHOM, { k: 20, interests: { boost } }));
          for (const [id, score] of scores(asked)) expect(lifted.get(id)).toBeCloseTo(score + Math.log(factor), 3);
        }
      }),
      { numRuns: 12 },
    );
  });

  it("keeps the prior's scores as they are, whatever is muted", async () => {
    const [asked, bare] = await Promise.all([added, plain].map((of) => of.recommend(WHOM, { k: ITEMS })));
    const mute = [asked!.interests[0]!.index];
    const [muted, bareMuted] = await Promise.all(
      [added, plain].map((of) => of.recommend(WHOM, { k: ITEMS, interests: { mute } })),
    );
    for (const [id, score] of scores(asked!)) {
      const prior = score - scores(bare!).get(id)!;
      expect(scores(muted!).get(id)! - scores(bareMuted!).get(id)!).toBeCloseTo(prior, 3);
    }
  });

  it("leaves muted interests out of the list and its reasons, and shows them with their shares", async () => {
    const asked = await plain.recommend(WHOM, { k: 20 });
    const [first] = asked.interests;
    const byLabel = first!.labels.join(", ");
    const muted = await plain.recommend(WHOM, { k: 20, interests: { mute: [first!.index] } });
    expect(await plain.recommend(WHOM, { k: 20, interests: { mute: [byLabel] } })).toEqual(muted);
    expect(muted.items.map(({ interest }) => interest)).not.toContain(first!.index);
    expect(muted.interests[0]).toEqual({ ...first, factor: 0 });
    expect(muted.interests.slice(1)).toEqual(asked.interests.slice(1));
    expect(muted.items.map(({ id }) => id)).not.toEqual(asked.items.map(({ id }) => id));
    // Against the definition: a mixture without the muted terms.
    for (const [id, score] of scores(muted)) {
      const before = scores(await plain.recommend(WHOM, { k: ITEMS })).get(id)!;
      expect(score).toBeLessThan(before);
    }
  });

  it("of everything leaves an empty list", async () => {
    const { interests } = await added.recommend(WHOM);
    const muted = await added.recommend(WHOM, { interests: { mute: interests.map(({ index }) => index) } });
    expect(muted.items).toEqual([]);
    expect(muted.interests.map(({ factor }) => factor)).toEqual(interests.map(() => 0));
  });

  it("holds for each of many as for one alone", async () => {
    const many = [WHOM, { history: ["i2", "i5", "i8", "i3"] }, { history: ["i2", "i3", "i6"] }];
    const interests = { mute: ["shelf 2"], boost: [{ interest: "shelf 0", factor: 3 }] };
    const together = await plain.recommendMany(many, { k: 5, interests });
    for (const [n, whom] of many.entries()) {
      const alone = await plain.recommend(whom, { k: 5, interests });
      expect(together[n]!.items.map(({ id }) => id)).toEqual(alone.items.map(({ id }) => id));
    }
  });

  it.each([
    [{ mute: [99] }, /no such interest/],
    [{ mute: ["nothing"] }, /no such interest/],
    [{ boost: [{ interest: "shelf 1", factor: 0 }] }, /cannot be boosted/],
    [{ boost: [{ interest: "shelf 1", factor: Number.NaN }] }, /cannot be boosted/],
    [{ boost: [{ interest: "shelf 1", factor: Number.POSITIVE_INFINITY }] }, /cannot be boosted/],
    [{ mute: ["shelf 1"], boost: [{ interest: "shelf 1", factor: 2 }] }, /twice/],
  ])("refuses %j", async (interests, message) => {
    await expect(plain.recommend(WHOM, { interests })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(message),
    });
  });

  it("is refused by a model without interests, unless nothing is asked", async () => {
    const recommender = new Recommender({ model: ease, catalog });
    await expect(recommender.recommend(WHOM, { interests: { mute: [0] } })).rejects.toMatchObject({
      code: "MODEL_UNSUPPORTED",
    });
    expect(await recommender.recommend(WHOM, { interests: {} })).toEqual(await recommender.recommend(WHOM));
  });
});

describe("items considered", () => {
  it("are those that history, exclude and filter let through", async () => {
    const filter = { id: ["i1", "i2", "i3", "i20", "i21"] };
    expect((await plain.recommend(WHOM)).considered).toBe(ITEMS - WHOM.history.length);
    expect((await plain.recommend(WHOM, { excludeHistory: false })).considered).toBe(ITEMS);
    const { items, considered } = await plain.recommend(WHOM, { filter, exclude: ["i2", "i40", "gone"] });
    expect(considered).toBe(3);
    expect(items.map(({ id }) => id).sort()).toEqual(["i20", "i21", "i3"]);
    expect(plain.popularItems({ filter, exclude: ["i2", "i40"] }).considered).toBe(4);
  });
});
