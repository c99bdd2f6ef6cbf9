import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { createRandom } from "../base/random.js";
import { type Column, listColumn, textColumn, valueAt } from "../data/columns.js";
import { fitEase } from "../models/ease.js";
import { InterestModel } from "../models/interest-model.js";
import { LdmiNetwork, ldmiSchema } from "../models/ldmi.js";
import { PriorModel } from "../models/prior-model.js";
import { ParameterSet } from "../nn/layers/parameters.js";
import { titledCatalog } from "../testing/catalog.js";
import { labelClusterer } from "../testing/clusterer.js";
import { trainingData } from "../testing/training-data.js";
import { Recommender } from "./recommender.js";
import type { RawRules } from "./rules.js";
import type { Recommendation, RecommendOptions } from "./types.js";

const ITEMS = 230;
const DIM = 6;
const COMPETING = 100;
const WHOM = { history: ["i1", "i5", "i9", "i13", "i4", "i8", "i11"] };
/** What a list may hold, at most. */
const LEFT = ITEMS - WHOM.history.length;

const random = createRandom(7);
const dense = Array.from({ length: ITEMS + 1 }, (_, n) => n);
const columns = new Map<string, Column>([
  ["brand", textColumn(dense.map((n) => (n % 11 === 0 ? "" : `brand ${(n * n) % 6}`)))],
  ["price", { kind: "number", values: Float64Array.from(dense, (n) => (n === 0 ? Number.NaN : n % 40)) }],
  ["sale", { kind: "boolean", values: Uint8Array.from(dense, (n) => (n % 5 === 0 ? 255 : n % 2)) }],
  ["tags", listColumn(dense.map((n) => [`t${n % 4}`, `t${n % 9}`]))],
]);
const catalog = {
  ...titledCatalog(dense.slice(1).map((n) => `Title ${n}`)),
  popularity: Uint32Array.from(dense, (n) => (n === 0 ? 0 : ITEMS + 1 - n)),
  columns,
};
const vectors = { data: Float32Array.from({ length: ITEMS * DIM }, () => random.normal()), rows: ITEMS, cols: DIM };
const network = new LdmiNetwork(ldmiSchema.parse({ dim: DIM, maxHistory: 20, layers: 1 }));
const parameters = ParameterSet.create(network.specs(), random);
const model = new InterestModel(network, parameters, vectors, new Float32Array(ITEMS));
const users = Array.from({ length: 60 }, (_, u) =>
  Array.from({ length: 8 }, (_, n) => 1 + ((u * 7 + n * n * 5) % ITEMS)),
);
const ease = await fitEase(trainingData(users, ITEMS), { lambda: 10 });
const withPrior = new PriorModel(model, ease, 0.7);
const shelves = labelClusterer((item) => `shelf ${item % 3}`);
const plain = new Recommender({ model, catalog, clusterer: shelves });
const added = new Recommender({ model: withPrior, catalog, clusterer: shelves });
const linear = new Recommender({ model: ease, catalog });
afterAll(() => {
  for (const held of [plain, added, linear, withPrior, model]) held[Symbol.dispose]();
});

const ids = ({ items }: Pick<Recommendation, "items">): string[] => items.map(({ id }) => id);
const denseOf = (id: string): number => catalog.idOf(id)!;
const whole = async (recommender: Recommender, options: RecommendOptions = {}): Promise<string[]> =>
  ids(await recommender.recommend(WHOM, { ...options, k: ITEMS }));
const valuesOf = (column: string, id: string): unknown[] => {
  const value = valueAt(columns.get(column)!, denseOf(id));
  return value === null ? [] : Array.isArray(value) ? value : [value];
};

function cosine(a: string, b: string): number {
  const [x, y] = [denseOf(a) - 1, denseOf(b) - 1].map((row) => row * DIM) as [number, number];
  let [xy, xx, yy] = [0, 0, 0];
  for (let n = 0; n < DIM; n++) {
    const [p, q] = [vectors.data[x + n]!, vectors.data[y + n]!];
    xy += p * q;
    xx += p * p;
    yy += q * q;
  }
  return xy / Math.sqrt(xx * yy);
}

/** Mean over a list of how like each item is to the one before it that is most like it. */
function likeness(list: readonly string[]): number {
  const most = list.slice(1).map((a, n) => Math.max(...list.slice(0, n + 1).map((b) => cosine(a, b))));
  return most.reduce((sum, value) => sum + value, 0) / most.length;
}

/** Maximal marginal relevance as it is defined, over the whole ranking. */
function marginal(ranked: readonly { readonly id: string; readonly score: number }[], k: number, weight: number) {
  const left = [...ranked];
  const list: string[] = [];
  while (list.length < k && left.length > 0) {
    const window = left.slice(0, COMPETING);
    const [high, low] = [window[0]!.score, window.at(-1)!.score];
    const values = window.map(({ id, score }) => {
      const relevance = high > low ? (score - low) / (high - low) : 0;
      const like = list.length === 0 ? 0 : Math.max(...list.map((other) => cosine(id, other)));
      return (1 - weight) * relevance - weight * like;
    });
    const [chosen] = left.splice(values.indexOf(Math.max(...values)), 1);
    list.push(chosen!.id);
  }
  return list;
}

describe("diversity", () => {
  it("of 0, and rules of which none holds, leave every list as it is", async () => {
    for (const recommender of [plain, added, linear]) {
      const asked = await recommender.recommend(WHOM, { k: 20 });
      expect(asked).toMatchObject({ exact: true, rules: [] });
      expect(await recommender.recommend(WHOM, { k: 20, diversity: 0 })).toEqual(asked);
      for (const raw of [{}, { pin: [{ item: "i2", position: 1, to: "2020-01-01" }] }]) {
        expect(await recommender.recommend(WHOM, { k: 20, rules: recommender.rules(raw) })).toEqual(asked);
      }
      // So do rules that hold and have nothing to do.
      const idle = { bury: [{ items: ["i1"] }], limit: [{ column: "brand", most: 20 }] };
      expect(await recommender.recommend(WHOM, { k: 20, rules: recommender.rules(idle) })).toEqual(asked);
    }
  });

  it("trades score for spread as maximal marginal relevance over the exact ranking does", async () => {
    for (const recommender of [plain, added]) {
      const filter = { price: { from: 2 } };
      const ranked = (await recommender.recommend(WHOM, { k: ITEMS, filter })).items;
      for (const [weight, k] of [
        [0.1, 30],
        [0.5, 12],
        [0.9, 25],
        [1, 60],
      ] as const) {
        const given = await recommender.recommend(WHOM, { k, filter, diversity: weight });
        expect(ids(given)).toEqual(marginal(ranked, k, weight));
        expect(given.items[0]!.id).toBe(ranked[0]!.id);
        expect(given.exact).toBe(false);
        // Scores and reasons are those that the items have in the list by score.
        for (const item of given.items) expect(item).toEqual(ranked.find(({ id }) => id === item.id));
      }
    }
  });

  it("makes lists whose items are less alike", async () => {
    const lists = await Promise.all(
      [0, 0.3, 0.7].map(async (diversity) => likeness(ids(await plain.recommend(WHOM, { k: 20, diversity })))),
    );
    expect(lists[1]).toBeLessThan(lists[0]!);
    expect(lists[2]).toBeLessThan(lists[1]!);
  });

  it("is refused where it means nothing", async () => {
    for (const diversity of [-0.1, 1.1, Number.NaN]) {
      await expect(plain.recommend(WHOM, { diversity })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    }
    await expect(linear.recommend(WHOM, { diversity: 0.5 })).rejects.toMatchObject({ code: "MODEL_UNSUPPORTED" });
  });
});

const item = fc.integer({ min: 1, max: ITEMS }).map((n) => `i${n}`);
const limit = fc.record(
  {
    column: fc.constantFrom("brand", "tags", "price", "sale"),
    most: fc.integer({ min: 1, max: 3 }),
    within: fc.integer({ min: 4, max: 12 }),
  },
  { requiredKeys: ["column", "most"] },
);
const pins = fc.uniqueArray(fc.record({ item, position: fc.integer({ min: 1, max: 40 }) }), {
  maxLength: 4,
  selector: ({ position }) => position,
});
const rulesOf = fc
  .record({
    pin: pins.map((all) => all.filter((pin, n) => all.findIndex((other) => other.item === pin.item) === n)),
    bury: fc.array(
      fc.oneof(
        fc.record({ items: fc.array(item, { minLength: 1, maxLength: 30 }) }),
        fc.constantFrom({ where: { brand: "brand 1" } }, { where: { price: { from: 20 } } }),
      ),
      { maxLength: 2 },
    ),
    limit: fc.array(limit, { maxLength: 2 }),
    calibrate: fc.option(fc.record({ weight: fc.double({ min: 0.05, max: 1, noNaN: true }) }), { nil: undefined }),
  })
  .map(({ calibrate, ...rest }): RawRules => (calibrate === undefined ? rest : { ...rest, calibrate }));

describe("rules", () => {
  it("give pages that are together the one long list, in which nothing comes twice and pins have their places", async () => {
    const [allowedAlone, allowedAdded] = await Promise.all(
      [plain, added].map(
        async (recommender) => new Set(await whole(recommender, { exclude: ["i20"], filter: { sale: true } })),
      ),
    );
    await fc.assert(
      fc.asyncProperty(
        rulesOf,
        fc.constantFrom(0, 0.4),
        fc.array(fc.integer({ min: 1, max: 15 }), { minLength: 2, maxLength: 5 }),
        fc.constantFrom(plain, added),
        async (raw, diversity, sizes, recommender) => {
          const options = { rules: recommender.rules(raw), diversity, exclude: ["i20"], filter: { sale: true } };
          const total = sizes.reduce((sum, size) => sum + size, 0);
          const long = await recommender.recommend(WHOM, { ...options, k: total });
          const shown: string[] = [];
          for (const k of sizes) {
            const page = await recommender.recommend(WHOM, { ...options, k, shown });
            shown.push(...ids(page));
            if (page.items.length < k) break;
          }
          expect(shown).toEqual(ids(long));
          expect(new Set(shown).size).toBe(shown.length);
          const allowed = (recommender === plain ? allowedAlone : allowedAdded)!;
          expect(shown.filter((id) => !allowed.has(id))).toEqual([]);
          for (const { item, position } of raw.pin ?? []) {
            if (allowed.has(item) && position <= shown.length) expect(shown.indexOf(item)).toBe(position - 1);
          }
        },
      ),
      { numRuns: 25, seed: 3 },
    );
  });

  it("hold every stretch of a list to a limit, and take the best that it lets through", async () => {
    const ranked = await whole(plain);
    await fc.assert(
      fc.asyncProperty(limit, fc.integer({ min: 1, max: 60 }), async (own, k) => {
        const list = ids(await plain.recommend(WHOM, { k, rules: plain.rules({ limit: [own] }) }));
        const { column, most, within = Infinity } = own as { column: string; most: number; within?: number };
        const fits = (place: number, before: readonly string[]): boolean =>
          valuesOf(column, before[place]!).every((value) => {
            const from = Math.max(0, place - within + 1);
            return before.slice(from, place + 1).filter((id) => valuesOf(column, id).includes(value)).length <= most;
          });
        list.forEach((_, place) => {
          expect(fits(place, list)).toBe(true);
        });
        const greedy: string[] = [];
        while (greedy.length < k) {
          const next = ranked.find((id) => !greedy.includes(id) && fits(greedy.length, [...greedy, id]));
          if (next === undefined) break;
          greedy.push(next);
        }
        expect(list).toEqual(greedy);
      }),
      { numRuns: 20, seed: 5 },
    );
  });

  it("count a pinned item among those of its value before it stands there", async () => {
    const [first, ...rest] = await whole(plain);
    const [brand] = valuesOf("brand", first!);
    const pinned = rest.find((id) => valuesOf("brand", id)[0] === brand)!;
    const raw = { pin: [{ item: pinned, position: 4 }], limit: [{ column: "brand", most: 1, within: 4 }] };
    const list = ids(await plain.recommend(WHOM, { k: 8, rules: plain.rules(raw) }));
    expect(list[3]).toBe(pinned);
    expect(list.slice(0, 3)).not.toContain(first);
    expect(list).toContain(first);
  });

  it("list what is buried when nothing else is left, in its own order", async () => {
    const ranked = await whole(plain);
    const rules = plain.rules({ bury: [{ name: "old", where: { price: { from: 10 } } }, { items: ["i2", "i3"] }] });
    const isBuried = (id: string): boolean => ["i2", "i3"].includes(id) || (valuesOf("price", id)[0] as number) >= 10;
    const all = await plain.recommend(WHOM, { k: ITEMS, rules });
    expect(ids(all)).toEqual([...ranked.filter((id) => !isBuried(id)), ...ranked.filter(isBuried)]);
    const { items, rules: acted, exact } = await plain.recommend(WHOM, { k: 5, rules });
    expect(items.map(({ id }) => id)).toEqual(ranked.filter((id) => !isBuried(id)).slice(0, 5));
    const last = ranked.indexOf(items.at(-1)!.id);
    const held = ranked.slice(0, last).filter(isBuried);
    expect(exact).toBe(false);
    expect(acted.map(({ items: count }) => count).reduce((sum, count) => sum + count, 0)).toBe(held.length);
    expect(acted[0]).toMatchObject({ rule: "#/bury/0", name: "old" });
  });

  it("hold from their first moment to before their last", async () => {
    const ranked = await whole(plain);
    const late = ranked.at(-1)!;
    const rules = plain.rules({
      pin: [
        { item: late, position: 1, from: "2026-12-01", to: "2026-12-02T01:00:00+01:00" },
        { item: late, position: 2, from: "2026-12-02" },
      ],
    });
    const firstAt = async (at: string) => {
      const { items, rules: acted } = await plain.recommend(WHOM, { k: 3, rules, at: new Date(at) });
      return [items.findIndex(({ id }) => id === late), acted.map(({ rule }) => rule)];
    };
    expect(await firstAt("2026-11-30T23:59:59.999Z")).toEqual([-1, []]);
    expect(await firstAt("2026-12-01T00:00:00Z")).toEqual([0, ["#/pin/0"]]);
    expect(await firstAt("2026-12-01T23:59:59.999Z")).toEqual([0, ["#/pin/0"]]);
    expect(await firstAt("2026-12-02T00:00:00Z")).toEqual([1, ["#/pin/1"]]);
  });

  it("yield to the request: what it excludes, filters out or knows already is not pinned", async () => {
    const rules = plain.rules({
      pin: [
        { item: "i20", position: 1 },
        { item: "i21", position: 2 },
        { item: "i1", position: 3 },
        { item: "i22", position: 4 },
      ],
    });
    const filter = { price: { from: 22 } };
    const asked = await plain.recommend(WHOM, { k: 6, exclude: ["i20"], filter, rules });
    expect(asked.items.map(({ pinned }) => pinned)).toEqual([
      undefined,
      undefined,
      undefined,
      true,
      undefined,
      undefined,
    ]);
    expect(asked.items[3]!.id).toBe("i22");
    expect(asked.rules).toEqual([{ rule: "#/pin/3", items: 1 }]);
    const scores = new Map((await plain.recommend(WHOM, { k: ITEMS })).items.map(({ id, score }) => [id, score]));
    for (const { id, score } of asked.items) expect(score).toBe(scores.get(id));
    expect(asked.considered).toBe((await plain.recommend(WHOM, { k: 6, exclude: ["i20"], filter })).considered);
  });

  it("put a pin behind a list that does not reach its place", async () => {
    const filter = { id: ["i30", "i31", "i32"] };
    const rules = plain.rules({ pin: [{ item: "i30", position: 9 }] });
    const { items } = await plain.recommend(WHOM, { k: 10, filter, rules });
    expect(items.map(({ id }) => id).at(-1)).toBe("i30");
    expect(items).toHaveLength(3);
  });

  it("bring the mix of interests nearer to the user's shares, the more the heavier they are", async () => {
    const divergence = ({ items, interests }: Recommendation): number =>
      interests.reduce((sum, { index, share }) => {
        const given = items.filter(({ interest }) => interest === index).length / items.length;
        return sum + (share > 0 ? share * Math.log(share / (0.99 * given + 0.01 * share)) : 0);
      }, 0);
    for (const recommender of [plain, added]) {
      const mixes: number[] = [];
      for (const weight of [undefined, 0.5, 1]) {
        const options = weight === undefined ? {} : { rules: recommender.rules({ calibrate: { weight } }) };
        const list = await recommender.recommend(WHOM, { k: 20, ...options });
        mixes.push(divergence(list));
        expect(list.rules).toEqual(list.exact ? [] : [{ rule: "#/calibrate", items: expect.any(Number) as number }]);
      }
      expect(mixes[1]).toBeLessThan(mixes[0]!);
      expect(mixes[2]).toBeLessThanOrEqual(mixes[1]!);
      expect(mixes[2]).toBeLessThan(0.02);
    }
  });

  it("hold for lists of several users as for each alone", async () => {
    const raw = { limit: [{ column: "tags", most: 1, within: 6 }], calibrate: { weight: 0.3 } };
    const requests = [WHOM, { history: ["i3"] }, { history: ["i200", "i100", "i2"] }];
    const options = { k: 15, rules: plain.rules(raw), diversity: 0.2 };
    const together = await plain.recommendMany(requests, options);
    for (const [n, request] of requests.entries()) {
      expect(ids(together[n]!)).toEqual(ids(await plain.recommend(request, options)));
    }
  });

  it("hold for the most popular items too", () => {
    const rules = plain.rules({
      pin: [{ item: "i50", position: 2 }],
      bury: [{ items: ["i1"] }],
      limit: [{ column: "sale", most: 2 }],
    });
    const { items, exact, rules: acted } = plain.popularItems({ k: 6, rules });
    expect(items.map(({ id }) => id)).toEqual(["i2", "i50", "i3", "i4", "i5", "i7"]);
    expect(exact).toBe(false);
    expect(acted.map(({ rule }) => rule).sort()).toEqual(["#/bury/0", "#/limit/0", "#/pin/0"]);
    const next = plain.popularItems({ k: 2, rules, shown: items.map(({ id }) => id) });
    expect(next.items.map(({ id }) => id)).toEqual(["i10", "i15"]);
    expect(plain.popularItems({ k: LEFT, rules: plain.rules({}) })).toEqual(plain.popularItems({ k: LEFT }));
  });

  it.each<[unknown, string, string]>([
    [7, "#", "object"],
    [{ pins: [] }, "#/pins", "no part of this name"],
    [{ pin: [{ item: "i2", position: 0 }] }, "#/pin/0/position", ">=1"],
    [{ pin: [{ item: "gone", position: 1 }] }, "#/pin/0/item", "no item gone"],
    [{ bury: [{ items: ["i1", "gone"] }] }, "#/bury/0/items/1", "no item gone"],
    [{ bury: [{}] }, "#/bury/0", "either items or where"],
    [{ bury: [{ where: {} }] }, "#/bury/0/where", "a condition at least"],
    [{ bury: [{ where: { brnd: "x" } }] }, "#/bury/0/where/brnd", "no column"],
    [{ bury: [{ where: { price: "cheap" } }] }, "#/bury/0/where/price", "does not fit"],
    [{ limit: [{ column: "brnd", most: 1 }] }, "#/limit/0/column", "no column"],
    [{ limit: [{ column: "brand", most: 3, within: 3 }] }, "#/limit/0/within", "could never act"],
    [{ pin: [{ item: "i2", position: 1, from: "tomorrow" }] }, "#/pin/0/from", "a day"],
    [{ pin: [{ item: "i2", position: 1, from: "2026-12-02T10:00:00" }] }, "#/pin/0/from", "with its zone"],
    [{ pin: [{ item: "i2", position: 1, from: "2026-12-02", to: "2026-12-02" }] }, "#/pin/0/to", "ends before"],
    [
      {
        pin: [
          { item: "i2", position: 1 },
          { item: "i3", position: 1, from: "2026-12-02" },
        ],
      },
      "#/pin/1/position",
      "#/pin/0",
    ],
    [
      {
        pin: [
          { item: "i2", position: 1 },
          { item: "i2", position: 4 },
        ],
      },
      "#/pin/1/item",
      "#/pin/0",
    ],
    [{ calibrate: { weight: 2 } }, "#/calibrate/weight", "<=1"],
  ])("that cannot be are refused with a pointer: %j", (raw, pointer, detail) => {
    let fault: unknown;
    try {
      plain.rules(raw, "rules.json");
    } catch (error) {
      fault = error;
    }
    expect(fault).toMatchObject({ code: "CONFIG_INVALID" });
    expect((fault as Error).message).toContain(`rules.json, ${pointer}: `);
    expect((fault as Error).message).toContain(detail);
    expect((fault as { received: string }).received).toBeTruthy();
  });

  it("of a mix are refused for a model without interests; the others hold for it", async () => {
    expect(() => linear.rules({ calibrate: { weight: 0.5 } })).toThrow("#/calibrate");
    const { items } = await linear.recommend(WHOM, {
      k: 4,
      rules: linear.rules({ pin: [{ item: "i90", position: 2 }] }),
    });
    expect(items[1]).toMatchObject({ id: "i90", pinned: true });
  });
});
