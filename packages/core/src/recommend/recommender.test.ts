import { describe, expect, it, vi } from "vitest";
import type { Matrix } from "../base/matrix.js";
import { createRandom } from "../base/random.js";
import { userHistory } from "../data/catalog.js";
import { type Column, listColumn, MISSING_BOOLEAN, textColumn } from "../data/columns.js";
import type { History } from "../data/history.js";
import type { Catalog, InteractionLog, Item } from "../data/types.js";
import type { Clusterer, PartitionRequest } from "../interests/types.js";
import type { Ranking } from "../metrics/ranking.js";
import { fitEase } from "../models/ease.js";
import { InterestModel } from "../models/interest-model.js";
import { INTEREST_BATCH } from "../models/interest-search.js";
import { fitItemKnn } from "../models/item-knn.js";
import { LdmiNetwork, ldmiSchema } from "../models/ldmi.js";
import type { InterestBatch, InterestRankOptions, Model, MultiInterestModel } from "../models/model.js";
import { MostPopular } from "../models/most-popular.js";
import { ParameterSet } from "../nn/layers/parameters.js";
import { ExactIndex } from "../ops/similarity-search/exact-index.js";
import { trainingData } from "../testing/training-data.js";
import { Recommender } from "./recommender.js";
import type { HistoryEntry, RecommendationRequest, RecommendOptions } from "./types.js";

// Two tastes along two axes: a, b, c and d lie on the first, x, y and z on the second.
const vectors: readonly [string, readonly string[], number, number][] = [
  ["a", ["drama", "war"], 4, 0],
  ["x", ["drama", "space"], 0, 4],
  ["b", ["drama", "war"], 3, 0],
  ["y", ["drama", "space"], 0, 3],
  ["c", ["drama", "war"], 2, 0],
  ["z", ["drama", "space"], 0, 2],
  ["d", ["drama"], 1, 0],
];
const items: Item[] = [
  { id: "", title: "", categories: [] },
  ...vectors.map(([id, categories]) => ({ id, title: `Title ${id}`, categories })),
];
const catalog: Catalog = {
  size: vectors.length,
  items,
  popularity: Uint32Array.from([0, 7, 6, 5, 4, 3, 2, 1]),
  idOf: (id) => {
    const found = items.findIndex((item, n) => n > 0 && item.id === id);
    return found < 0 ? undefined : found;
  },
};
const log: InteractionLog = {
  userCount: 1,
  userIds: ["ada"],
  indptr: Uint32Array.of(0, 3),
  items: Uint32Array.of(1, 3, 2),
  indexOf: (id) => (id === "ada" ? 0 : undefined),
};

interface Shape {
  readonly offsets?: readonly number[];
  readonly semantic?: boolean;
  readonly attention?: boolean;
}

/** Interest 0 is the history's mass on the first axis, interest 1 that on the second. */
class TwoTastes implements MultiInterestModel {
  readonly name = "two-tastes";
  readonly itemCount = vectors.length;
  readonly dim = 2;
  readonly maxHistory = 5;
  readonly readout = "max" as const;

  constructor(readonly shape: Shape = {}) {}

  itemVectors(): Matrix {
    return { data: Float32Array.from(vectors.flatMap(([, , p, q]) => [p, q])), rows: vectors.length, cols: 2 };
  }

  itemBias(): undefined {
    return undefined;
  }

  interests(histories: readonly History[]): InterestBatch {
    const read = histories.map(({ items: all }) => all.subarray(Math.max(0, all.length - this.maxHistory)));
    const along = (axis: 0 | 1, id: number) => vectors[id - 1]![axis + 2] as number;
    const mass = read.flatMap((own) =>
      ([0, 1] as const).map((axis) => own.reduce((sum, id) => sum + along(axis, id), 0)),
    );
    const length = Math.max(...read.map((own) => own.length));
    return {
      count: 2,
      vectors: {
        data: Float32Array.from(mass.flatMap((value, n) => (n % 2 === 0 ? [value, 0] : [0, value]))),
        rows: mass.length,
        cols: 2,
      },
      offsets: Float32Array.from(mass, (value, n) =>
        value === 0 ? Number.NEGATIVE_INFINITY : (this.shape.offsets?.[n % 2] ?? 0),
      ),
      clusters: Int16Array.from(mass, (_, n) => (this.shape.semantic === true ? n % 2 : -1)),
      ...(this.shape.attention === false
        ? {}
        : {
            attention: Float32Array.from(
              read.flatMap((own) =>
                ([0, 1] as const).flatMap((axis) =>
                  Array.from({ length }, (_, t) => (t < own.length ? along(axis, own[t]!) : 0)),
                ),
              ),
            ),
          }),
    };
  }

  async rank(histories: readonly History[], options: InterestRankOptions): Promise<Ranking> {
    using index = ExactIndex.buildSync(this.itemVectors());
    const { count, vectors: queries, offsets: own } = this.interests(histories);
    const offsets = options.offsets ?? own;
    const hidden = histories.map(({ items: own }, row) => [
      ...(options.excludeHistory === false ? [] : own),
      ...(options.exclude?.indices.subarray(options.exclude.indptr[row]!, options.exclude.indptr[row + 1]!) ?? []),
    ]);
    const indptr = Uint32Array.from([0, ...hidden.map((_, row) => hidden.slice(0, row + 1).flat().length)]);
    const indices = Uint32Array.from(hidden.flat(), (id) => id - 1);
    const found = await index.search({
      queries,
      offsets,
      interestsPerQuery: count,
      k: options.k,
      exclude: { indptr, indices, rows: histories.length, cols: this.itemCount },
    });
    return { ...found, ids: found.ids.map((row) => row + 1) };
  }
}

/** Splits by axis and names the axes. */
const axes: Clusterer & { readonly seen: PartitionRequest[] } = {
  name: "axes",
  fingerprint: "axes",
  seen: [],
  async partition(requests) {
    axes.seen.push(...requests);
    return requests.map(({ key, items: own }) => {
      const axis = Array.from(own, (id) => (vectors[id - 1]![2] > 0 ? "wars" : "stars"));
      const labels = [...new Set(axis)];
      return { key, assign: Int16Array.from(axis, (name) => labels.indexOf(name)), labels };
    });
  },
};

const open = (model: Model = new TwoTastes(), clusterer?: Clusterer) =>
  new Recommender({ model, catalog, log, ...(clusterer === undefined ? {} : { clusterer }) });

describe("a recommender", () => {
  it("recommends titles to a history it has never seen, each with the interest behind it", async () => {
    const { items: found } = await open().recommend({ history: ["c", "z", "y"] }, { k: 3 });
    // Mass 2 on the first axis, 5 on the second.
    expect(found).toEqual([
      { id: "x", title: "Title x", score: 20, interest: 1, because: ["y", "z"] },
      { id: "a", title: "Title a", score: 8, interest: 0, because: ["c"] },
      { id: "b", title: "Title b", score: 6, interest: 0, because: ["c"] },
    ]);
  });

  it("recommends to a user of the log as to that user's history", async () => {
    const recommender = open();
    const user = await recommender.recommend({ user: "ada" });
    expect(user).toEqual(await recommender.recommend({ history: ["a", "b", "x"] }));
    expect(user.items.map(({ id }) => id)).toEqual(["c", "y", "z", "d"]);
  });

  it("answers many requests as it answers each alone", async () => {
    const recommender = open(new TwoTastes(), axes);
    const requests = [{ history: ["a", "x"] }, { user: "ada" }, { history: ["z"] }] as const;
    const together = await recommender.recommendMany(requests, { k: 2 });
    for (const [n, request] of requests.entries()) {
      expect(together[n]).toEqual(await recommender.recommend(request, { k: 2 }));
    }
  });

  it("leaves out what it is told to, and what the history holds unless told otherwise", async () => {
    const recommender = open();
    const ids = async (options: Parameters<Recommender["recommend"]>[1]) =>
      (await recommender.recommend({ history: ["a"] }, options)).items.map(({ id }) => id);
    expect(await ids({ k: 3, exclude: ["c", "never heard of"] })).toEqual(["b", "d", "x"]);
    expect(await ids({ k: 2, excludeHistory: false })).toEqual(["a", "b"]);
    expect(await ids({ k: 100 })).toHaveLength(6);
  });

  it("refuses an unknown item or leaves it out and says so", async () => {
    const recommender = open();
    await expect(recommender.recommend({ history: ["a", "nope"] })).rejects.toMatchObject({
      code: "UNKNOWN_ITEM",
      received: "nope",
    });
    const skipped = await recommender.recommend({ history: ["nope", "a", "no"] }, { unknownItems: "skip" });
    expect(skipped.unknownItems).toEqual(["nope", "no"]);
    expect(skipped.items).toEqual((await recommender.recommend({ history: ["a"] })).items);
  });

  it("refuses an unknown user", async () => {
    await expect(open().recommend({ user: "eve" })).rejects.toMatchObject({ code: "UNKNOWN_USER", received: "eve" });
    const nobody = new Recommender({ model: new TwoTastes(), catalog });
    await expect(nobody.recommend({ user: "ada" })).rejects.toMatchObject({ code: "UNKNOWN_USER" });
  });

  it("takes the list of a model without interests as it is", async () => {
    const found = await open(new MostPopular(catalog.popularity)).recommend({ history: ["x"] }, { k: 2 });
    expect(found.items).toEqual([
      { id: "a", title: "Title a", score: 7, interest: null, because: [] },
      { id: "b", title: "Title b", score: 5, interest: null, because: [] },
    ]);
    expect(found.interests).toEqual([]);
  });

  it("has nothing to say of an empty history's interests", async () => {
    const found = await open(new MostPopular(catalog.popularity), axes).recommend({ history: [] }, { k: 1 });
    expect(found).toMatchObject({ items: [{ id: "a" }], interests: [] });
  });

  it("gives the vectors of the interests that it shows, with their offsets", async () => {
    using recommender = new Recommender({ model: new TwoTastes({ offsets: [-1, -0.25] }), catalog, log });
    const [ada = [], nobody] = await recommender.interestVectors([{ user: "ada" }, { history: [] }]);
    expect(nobody).toEqual([]);
    expect(ada.map(({ index, offset }) => [index, offset])).toEqual([
      [0, -1],
      [1, -0.25],
    ]);
    const shown = await recommender.interests({ user: "ada" });
    for (const { index, labels, share, vector } of ada) {
      expect(vector).toHaveLength(2);
      expect(shown.find((one) => one.index === index)).toMatchObject({ labels, share });
    }
    using popular = new Recommender({ model: new MostPopular(catalog.popularity), catalog, log });
    await expect(popular.interestVectors([{ user: "ada" }])).rejects.toMatchObject({ code: "MODEL_UNSUPPORTED" });
  });

  it("refuses a model of another catalog", () => {
    expect(() => open(new MostPopular(new Uint32Array(3)))).toThrow(
      expect.objectContaining({ code: "SHAPE_MISMATCH" }),
    );
  });

  it("refuses a list of no length", async () => {
    await expect(open().recommend({ history: ["a"] }, { k: 0 })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("rejects with the signal's own reason", async () => {
    const reason = new Error("enough");
    const signal = AbortSignal.abort(reason);
    await expect(open().recommend({ history: ["a"] }, { signal })).rejects.toBe(reason);
    await expect(open().similarItems("a", { signal })).rejects.toBe(reason);
  });

  it("refuses every use after it has been disposed of, and may be disposed of twice", async () => {
    const recommender = open();
    await recommender.similarItems("a");
    recommender[Symbol.dispose]();
    recommender[Symbol.dispose]();
    expect(recommender.disposed).toBe(true);
    await expect(recommender.recommend({ history: ["a"] })).rejects.toMatchObject({ code: "DISPOSED" });
    await expect(recommender.similarItems("a")).rejects.toMatchObject({ code: "DISPOSED" });
  });
});

describe("a history with more than ids", () => {
  /** Sees the histories that it is asked to rank. */
  class Watching extends TwoTastes {
    readonly seen: History[] = [];
    override interests(histories: readonly History[]): InterestBatch {
      this.seen.push(...histories);
      return super.interests(histories);
    }
  }
  const read = async (history: readonly HistoryEntry[], times?: readonly bigint[], options?: RecommendOptions) => {
    const model = new Watching();
    const timed = times === undefined ? log : { ...log, timestamps: BigInt64Array.from(times) };
    const { unknownItems } = await new Recommender({ model, catalog, log: timed }).recommend({ history }, options);
    const { items: own, events, times: at } = model.seen[0]!;
    return {
      items: Array.from(own, (item) => items[item]!.id),
      ...(events === undefined ? {} : { events: Array.from(events.codes, (code) => events.dictionary[code]) }),
      ...(at === undefined ? {} : { times: [...at] }),
      unknownItems,
    };
  };

  it("stands in the order of its times where every event has one, equal ones as given", async () => {
    const history = [
      { item: "c", time: 30 },
      { item: "x", time: 10, event: "buy" },
      { item: "a", time: 30n, event: "view" },
      { item: "y", time: "20" },
    ];
    expect(await read(history)).toEqual({
      items: ["x", "y", "c", "a"],
      events: ["buy", "", "", "view"],
      times: [10n, 20n, 30n, 30n],
      unknownItems: [],
    });
  });

  it("stands as given where none has, ids and events side by side", async () => {
    expect(await read(["c", { item: "x", event: "buy" }, { item: "a" }])).toEqual({
      items: ["c", "x", "a"],
      events: ["", "buy", ""],
      unknownItems: [],
    });
    expect(await read([{ item: "c" }, "x"])).toEqual({ items: ["c", "x"], unknownItems: [] });
  });

  it("is refused where only some have a time, and where a time cannot be read", async () => {
    await expect(read([{ item: "c", time: 3 }, "a"])).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      received: "1 of 2 with a time; none for the 2. of them, a",
    });
    for (const time of ["yesterday", Number.NaN, "1/2/2019", Infinity]) {
      await expect(read([{ item: "c", time }])).rejects.toMatchObject({
        code: "INVALID_ARGUMENT",
        received: String(time),
      });
    }
  });

  it("has its times brought to the log's unit", async () => {
    const seconds = [1_700_000_000n, 1_700_000_001n, 1_700_000_002n];
    const history = [
      { item: "a", time: "2023-11-14T22:13:20Z" },
      { item: "x", time: 1_700_000_000_001 },
      { item: "b", time: 1_700_000_005n },
    ];
    expect((await read(history, seconds)).times).toEqual([1_700_000_000n, 1_700_000_000n, 1_700_000_005n]);
    const micros = seconds.map((time) => time * 1_000_000n);
    expect((await read(history, micros)).times).toEqual([
      1_700_000_000_000_000n,
      1_700_000_000_001_000n,
      1_700_000_005_000_000n,
    ]);
  });

  it("loses the unknown items with their events and times", async () => {
    const history = [
      { item: "nope", time: 1, event: "view" },
      { item: "c", time: 2, event: "buy" },
    ];
    expect(await read(history, undefined, { unknownItems: "skip" })).toEqual({
      ...{ items: ["c"], events: ["buy"], times: [2n], unknownItems: ["nope"] },
    });
  });

  it("is the log's own, with kinds and times, for a user of the log", async () => {
    const model = new Watching();
    const kept = { ...log, behaviours: textColumn(["view", "", "buy"]), timestamps: BigInt64Array.of(1n, 2n, 3n) };
    await new Recommender({ model, catalog, log: kept }).recommend({ user: "ada" });
    expect(model.seen[0]).toEqual({ items: log.items, events: kept.behaviours, times: kept.timestamps });
    expect(userHistory(kept, 0, 2)).toEqual({
      items: Uint32Array.of(1, 3),
      events: { ...kept.behaviours, codes: Uint32Array.of(1, 0) },
      times: BigInt64Array.of(1n, 2n),
    });
    expect(userHistory(log, 0, 9)).toEqual({ items: log.items });
  });

  describe("and a profile", () => {
    const profile = new Map<string, Column>([
      ["country", textColumn(["FR"])],
      ["age", { kind: "number", values: Float64Array.of(35) }],
      ["premium", { kind: "boolean", values: Uint8Array.of(1) }],
      ["tags", listColumn([["a", "b"]])],
    ]);
    const seen = async (request: RecommendationRequest, known: InteractionLog | undefined = { ...log, profile }) => {
      const model = new Watching();
      await new Recommender({ model, catalog, ...(known === undefined ? {} : { log: known }) }).recommend(request);
      return model.seen[0]!.profile;
    };
    const asked = (given: Record<string, unknown>, known?: InteractionLog) =>
      seen({ history: ["a"], profile: given as never }, known);

    it("is the users file's for a user of the log, and none where there is no such file", async () => {
      expect(await seen({ user: "ada" })).toEqual({ columns: profile, row: 0 });
      expect(await seen({ user: "ada" }, log)).toBeUndefined();
      expect(await seen({ history: ["a"] })).toBeUndefined();
    });

    it("is given with a history, in the kinds of the users file", async () => {
      const given = { country: "DE", age: 20, premium: false, tags: "c" };
      expect(await asked(given)).toEqual({
        row: 0,
        columns: new Map<string, Column>([
          ["country", textColumn(["DE"])],
          ["age", { kind: "number", values: Float64Array.of(20) }],
          ["premium", { kind: "boolean", values: Uint8Array.of(0) }],
          ["tags", listColumn([["c"]])],
        ]),
      });
      expect(await asked({ country: null, age: undefined, tags: ["b"] })).toEqual({
        row: 0,
        columns: new Map([["tags", listColumn([["b"]])]]),
      });
    });

    it("says its own kinds where there is no log to go by", async () => {
      const model = new Watching();
      const given = { country: "DE", age: 20 };
      await new Recommender({ model, catalog }).recommend({ history: ["a"], profile: given });
      expect(Object.fromEntries(model.seen[0]!.profile!.columns)).toEqual({
        country: textColumn(["DE"]),
        age: { kind: "number", values: Float64Array.of(20) },
      });
    });

    it.each<[Record<string, unknown>, object]>([
      [{ contry: "DE" }, { received: "contry", hint: 'Did you mean "country"?' }],
      [{ country: 3 }, { expected: "a text", received: "3" }],
      [{ age: "20" }, { expected: "a finite number", received: '"20"' }],
      [{ age: Number.NaN }, { received: "NaN" }],
      [{ premium: 1 }, { expected: "true or false" }],
      [{ tags: [1] }, { expected: "a text, or a list of texts" }],
      [{ country: {} }, { expected: "a text" }],
    ])("is refused where it does not fit: %j", async (given, error) => {
      await expect(asked(given)).rejects.toMatchObject({ code: "INVALID_ARGUMENT", ...error });
    });

    it("is refused where no users file has said what there is to know", async () => {
      await expect(asked({ age: 20 }, log)).rejects.toMatchObject({
        code: "INVALID_ARGUMENT",
        expected: "no profile: there was no users file",
      });
    });
  });
});

describe("filters and exclusions", () => {
  const shop: Catalog = {
    ...catalog,
    columns: new Map([["inStock", { kind: "boolean", values: Uint8Array.of(MISSING_BOOLEAN, 0, 1, 1, 1, 1, 0, 1) }]]),
  };
  const trained = () => {
    const network = new LdmiNetwork(ldmiSchema.parse({ dim: 2, maxHistory: 5, layers: 1 }));
    const parameters = ParameterSet.create(network.specs(), createRandom(2));
    return new InterestModel(network, parameters, new TwoTastes().itemVectors(), new Float32Array(catalog.size));
  };
  const ids = (found: readonly { readonly id: string }[]) => found.map(({ id }) => id);

  it("hold in lists and among similar items, of models with vectors and without", async () => {
    const lists = [Uint32Array.of(1, 3, 5), Uint32Array.of(1, 3, 7), Uint32Array.of(2, 4, 6), Uint32Array.of(2, 4, 1)];
    const dataset = trainingData(
      lists.map((list) => [...list]),
      catalog.size,
    );
    using network = trained();
    for (const model of [network, await fitEase(dataset, { lambda: 1 }), await fitItemKnn(dataset)]) {
      using recommender = new Recommender({ model, catalog: shop, log });
      const whole = ids((await recommender.recommend({ user: "ada" })).items);
      expect(whole).toHaveLength(4);
      const { items: found } = await recommender.recommend({ user: "ada" }, { filter: { inStock: true } });
      expect(ids(found)).toEqual(whole.filter((id) => id !== "a" && id !== "z"));
      const excluded = await recommender.recommend({ user: "ada" }, { filter: { inStock: true }, exclude: ["d", "?"] });
      expect(ids(excluded.items)).toEqual(ids(found).filter((id) => id !== "d"));
      const similar = ids(await recommender.similarItems("a"));
      expect(similar).not.toContain("a");
      expect(ids(await recommender.similarItems("a", { filter: { categories: "war" }, exclude: ["c"] }))).toEqual(
        similar.filter((id) => id === "b"),
      );
      await expect(recommender.similarItems("a", { filter: { stock: true } })).rejects.toMatchObject({
        code: "INVALID_ARGUMENT",
      });
    }
  });

  it("may leave nothing", async () => {
    using model = trained();
    const found = await new Recommender({ model, catalog: shop }).recommend({ history: ["a"] }, { filter: { id: [] } });
    expect(found.items).toEqual([]);
    expect(found.interests.length).toBeGreaterThan(0);
  });
});

describe("a model that scores items by the history", () => {
  // a is taken with b and c, x with y; nobody took z with anything.
  const dataset = trainingData([[1, 3], [1, 3], [1, 3, 5], [1, 5], [2, 4], [2, 4], [6], [7]], catalog.size);

  it("names the events that gave each item its score, most first", async () => {
    for (const model of [await fitEase(dataset, { lambda: 1 }), await fitItemKnn(dataset)]) {
      const recommender = open(model);
      const { items: found, interests } = await recommender.recommend({ history: ["x", "c", "a"] });
      expect(interests).toEqual([]);
      const because = Object.fromEntries(found.map((item) => [item.id, item.because]));
      expect(because.b![0]).toBe("a");
      expect(because.y).toEqual(["x"]);
      expect(because.z).toEqual([]);
      const plain = await recommender.recommend({ history: ["x", "c", "a"] }, { explain: false });
      expect(plain.items).toEqual(found.map((item) => ({ ...item, because: [] })));
    }
  });

  it("has for similar items its own item-to-item weights", async () => {
    const ease = await fitEase(dataset, { lambda: 1 });
    const similar = await open(ease).similarItems("a");
    expect(similar.map(({ id }) => id)).toEqual(["b", "c"]);
    const row = ease.weights.data.subarray(0, catalog.size);
    expect(similar.map(({ score }) => score)).toEqual([row[2], row[4]]);
  });

  it("has no interests to tell of", async () => {
    expect(await open(await fitItemKnn(dataset)).interests({ history: ["a"] })).toEqual([]);
  });
});

describe("the interests of a user", () => {
  it("are told without a list as with one", async () => {
    const recommender = open(new TwoTastes({ semantic: true }), axes);
    const request = { history: ["c", "nope", "z", "y"] };
    const skip = { unknownItems: "skip" } as const;
    const { interests } = await recommender.recommend(request, skip);
    expect(interests).toHaveLength(2);
    expect(await recommender.interests(request, skip)).toEqual(interests);
    expect(await recommender.interests({ history: [] })).toEqual([]);
    await expect(recommender.interests(request)).rejects.toMatchObject({ code: "UNKNOWN_ITEM" });
    await expect(recommender.interests({ user: "eve" })).rejects.toMatchObject({ code: "UNKNOWN_USER" });
  });

  it("are named by the clusters they stand for", async () => {
    const { interests } = await open(new TwoTastes({ semantic: true }), axes).recommend({ history: ["c", "z", "y"] });
    expect(interests.map(({ index, kind, labels }) => [index, kind, labels])).toEqual([
      [1, "semantic", ["stars"]],
      [0, "semantic", ["wars"]],
    ]);
  });

  it("are named by the cluster they attend to most where behaviour alone made them", async () => {
    const { interests } = await open(new TwoTastes(), axes).recommend({ history: ["c", "z", "y"] });
    expect(interests.map(({ kind, labels }) => [kind, labels])).toEqual([
      ["collaborative", ["stars"]],
      ["collaborative", ["wars"]],
    ]);
  });

  it("are named by what sets their items apart where there are no clusters", async () => {
    for (const attention of [true, false]) {
      const { interests } = await open(new TwoTastes({ attention })).recommend({ history: ["a", "x"] });
      // Every item is a drama, so that says nothing.
      expect(interests.map(({ index, labels }) => [index, labels[0]])).toEqual([
        [0, "war"],
        [1, "space"],
      ]);
    }
  });

  it("are named by the titles they rest on where there is nothing else", async () => {
    const { interests } = await open().recommend({ history: ["d"] });
    expect(interests).toEqual([
      { index: 0, kind: "collaborative", labels: ["like Title d"], share: 1, because: ["d"] },
    ]);
  });

  it("share by the model's prior", async () => {
    const offsets = [Math.log(0.3), Math.log(0.6)];
    const { interests } = await open(new TwoTastes({ offsets })).recommend({ history: ["a", "x"] });
    expect(interests.map(({ index }) => index)).toEqual([1, 0]);
    expect(interests[0]!.share).toBeCloseTo(2 / 3, 6);
    expect(interests[1]!.share).toBeCloseTo(1 / 3, 6);
  });

  it("share by the events that attend to them where the model has no prior", async () => {
    const { interests } = await open().recommend({ history: ["c", "z", "y"] });
    expect(interests.map(({ index, share }) => [index, share])).toEqual([
      [1, expect.closeTo(2 / 3, 9)],
      [0, expect.closeTo(1 / 3, 9)],
    ]);
  });

  it("name the items they rest on, strongest first", async () => {
    const { interests } = await open().recommend({ history: ["c", "a", "z", "b"] });
    expect(interests.find(({ index }) => index === 0)!.because).toEqual(["a", "b", "c"]);
  });

  it("read no further back than the model does, and cluster a repeated item once", async () => {
    axes.seen.length = 0;
    const { interests } = await open(new TwoTastes(), axes).recommend({ history: ["x", "a", "a", "b", "c", "d", "b"] });
    expect(interests.map(({ index }) => index)).toEqual([0]);
    expect(axes.seen.map(({ items: own }) => [...own])).toEqual([[2, 1, 5, 7, 3]]);
  });
});

describe("a history longer than a clusterer takes", () => {
  it("is cut to the most recent items, as in training, and the rest has no cluster", async () => {
    axes.seen.length = 0;
    const limited: Clusterer = { ...axes, maxItems: 2 };
    const long = { history: ["x", "a", "a", "b", "c", "d", "b"] };
    const { interests } = await open(new TwoTastes({ semantic: true }), limited).recommend(long);
    const own = new Recommender({ model: new TwoTastes(), catalog, clusterer: axes, maxItems: 3 });
    await own.recommend(long);
    expect(axes.seen.map(({ items: seen }) => [...seen])).toEqual([
      [7, 3],
      [5, 7, 3],
    ]);
    expect(interests[0]!.labels).toEqual(["wars"]);
  });
});

describe("many requests", () => {
  it("run the network once for each batch, whatever is said of their interests", async () => {
    const model = new TwoTastes();
    let batches = 0;
    const interests = model.interests.bind(model);
    model.interests = (histories) => {
      batches++;
      return interests(histories);
    };
    // This model's `rank` asks for its interests itself; what the recommender asks for comes on top.
    const requests = Array.from({ length: 300 }, (_, n) => ({ history: [vectors[n % 7]![0]] }));
    const found = await open(model).recommendMany(requests, { k: 1 });
    expect(found).toHaveLength(300);
    expect(found.every(({ items: own, interests: named }) => own.length === 1 && named.length === 1)).toBe(true);
    expect(batches).toBe(2 * Math.ceil(300 / INTEREST_BATCH));
  });

  it("run a trained network once for each batch, and say of each what is said of it alone", async () => {
    const network = new LdmiNetwork(ldmiSchema.parse({ dim: 4, maxHistory: 5, layers: 1 }));
    const random = createRandom(2);
    const rows = {
      data: Float32Array.from({ length: 4 * catalog.size }, () => random.normal()),
      rows: catalog.size,
      cols: 4,
    };
    const parameters = ParameterSet.create(network.specs(), random);
    using model = new InterestModel(network, parameters, rows, new Float32Array(catalog.size));
    const recommender = open(model, axes);
    const requests = Array.from({ length: 300 }, (_, n) => ({
      history: Array.from({ length: 1 + (n % 5) }, (_, t) => vectors[(n + 2 * t) % 7]![0]),
    }));
    const forward = vi.spyOn(network, "forward");
    const together = await recommender.recommendMany(requests, { k: 3 });
    expect(forward).toHaveBeenCalledTimes(Math.ceil(300 / INTEREST_BATCH));
    for (const n of [0, 4, 150, 299]) {
      const alone = await recommender.recommend(requests[n]!, { k: 3 });
      expect(together[n]!.items.map(({ id, interest }) => [id, interest])).toEqual(
        alone.items.map(({ id, interest }) => [id, interest]),
      );
      expect(
        together[n]!.interests.map(({ index, kind, labels, because }) => ({ index, kind, labels, because })),
      ).toEqual(alone.interests.map(({ index, kind, labels, because }) => ({ index, kind, labels, because })));
      for (const [i, { share }] of alone.interests.entries()) {
        expect(together[n]!.interests[i]!.share).toBeCloseTo(share, 5);
      }
    }
  });

  it("stop between batches when told", async () => {
    const stop = new AbortController();
    const reason = new Error("enough");
    const requests = Array.from({ length: 300 }, () => ({ history: ["a"] }));
    const done: number[] = [];
    const running = open().recommendMany(requests, {
      signal: stop.signal,
      onProgress: (progress) => {
        done.push(progress.done);
        stop.abort(reason);
      },
    });
    await expect(running).rejects.toBe(reason);
    expect(done).toEqual([INTEREST_BATCH]);
  });
});

describe("similar items", () => {
  it("point the same way, without the item itself", async () => {
    const found = await open().similarItems("c", { k: 4 });
    expect(found.map(({ id }) => id)).toEqual(["a", "b", "d", "x"]);
    expect(found[0]).toEqual({ id: "a", title: "Title a", score: expect.closeTo(1, 6) });
    expect(found[3]!.score).toBeCloseTo(0, 6);
  });

  it("need a known item and a model with vectors", async () => {
    await expect(open().similarItems("nope")).rejects.toMatchObject({ code: "UNKNOWN_ITEM" });
    const popular = open(new MostPopular(catalog.popularity));
    await expect(popular.similarItems("a")).rejects.toMatchObject({ code: "MODEL_UNSUPPORTED" });
  });
});
