import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { InterestBatch, MultiInterestModel } from "../models/model.js";
import { catalogOf } from "../testing/catalog.js";
import { explain, rankedList } from "./explain.js";
import { Recommender } from "./recommender.js";

// Seen from the mean (3, 3), the first two point up, the next two to the right and the last two down and to the left.
const points = [
  [3, 6],
  [3, 5],
  [6, 3],
  [5, 3],
  [2, 0],
  [-1, 1],
] as const;
const mean = [0, 1].map((x) => points.reduce((sum, point) => sum + point[x]!, 0) / points.length);
const catalog = catalogOf(["up", "upper", "right", "righter", "down", "left"].map((id) => ({ id })));

interface Shape {
  /** [J][2] */
  readonly vectors: readonly (readonly [number, number])[];
  /** [J] */
  readonly offsets: readonly number[];
  /** [J][T] */
  readonly attention: readonly (readonly number[])[];
  readonly clusters: readonly number[];
  readonly readout?: "max" | "log-sum-exp";
  /** Largest term behind each of the six items. */
  readonly winner?: number;
}

/** A model of one user whose interests are given. */
function modelOf(shape: Shape): MultiInterestModel {
  const batch: InterestBatch = {
    count: shape.offsets.length,
    vectors: { data: Float32Array.from(shape.vectors.flat()), rows: shape.offsets.length, cols: 2 },
    offsets: Float32Array.from(shape.offsets),
    clusters: Int16Array.from(shape.clusters),
    attention: Float32Array.from(shape.attention.flat()),
  };
  return {
    name: "given",
    itemCount: points.length,
    dim: 2,
    maxHistory: 10,
    readout: shape.readout ?? "log-sum-exp",
    itemVectors: () => ({ data: Float32Array.from(points.flat()), rows: points.length, cols: 2 }),
    itemBias: () => undefined,
    interests: () => batch,
    rank: async (_, { k }) => ({
      k,
      ids: Uint32Array.from({ length: k }, (_, place) => place + 1),
      scores: new Float32Array(k),
      counts: Uint32Array.of(k),
      interests: new Uint16Array(k).fill(shape.winner ?? 0),
    }),
  };
}

async function explained(
  shape: Shape,
  labels: readonly string[],
  history: readonly number[],
  clusters: readonly number[],
) {
  const model = modelOf(shape);
  const own = { items: Uint32Array.from(history), clusters: Int16Array.from(clusters) };
  const list = rankedList(await model.rank([own], { k: points.length }), 0);
  return explain(model, { batch: model.interests([own]), row: 0 }, own, labels, catalog, list);
}

// The history is 1 (up) and 3 (right), a cluster each.
const history = [1, 3];
const ownClusters = [0, 1];
const labels = ["up", "right"];
const attention = [
  [1, 0],
  [0, 1],
];

describe("the interest behind an item", () => {
  it("is the one whose evidence is most like it, whatever the prior says, among those that make it likely", async () => {
    expect(mean).toEqual([3, 3]);
    // Both interests like every item alike: likelihood decides nothing, and the prior must not.
    const shape = {
      vectors: [
        [0, 0],
        [0, 0],
      ],
      offsets: [Math.log(0.999), Math.log(0.001)],
      attention,
      clusters: [0, 1],
    } as const;
    const { interests, named } = await explained(shape, labels, history, ownClusters);
    expect(interests.map(({ shown }) => shown.labels[0])).toEqual(["up", "right"]);
    // Down (-1, -3) is nearer to right than to up; left (-4, -2) nearer to up.
    expect(named.map((place) => interests[place]!.shown.labels[0])).toEqual([
      "up",
      "up",
      "right",
      "right",
      "right",
      "up",
    ]);
  });

  it("is one under which it is at least a fifth as likely as under the best", async () => {
    // Of item 1 (3, 6) interest 1 thinks less by a factor that is just allowed, then just not.
    const named = async (factor: number) => {
      const away = Math.log(factor) / 6;
      const shape = {
        vectors: [
          [0, away],
          [0, 0],
        ],
        offsets: [0, 0],
        attention: [
          [0, 1],
          [1, 0],
        ],
        clusters: [1, 0],
      } as const;
      const { interests, named } = await explained(shape, labels, history, ownClusters);
      return interests[named[0]!]!.shown.labels[0];
    };
    expect(await named(4.9)).toBe("up");
    expect(await named(5.1)).toBe("right");
  });

  it("is the one whose term is the score where the largest is all that counts", async () => {
    const shape = {
      vectors: [
        [0, 0],
        [0, 0],
      ],
      offsets: [0, 0],
      attention,
      clusters: [0, 1],
      readout: "max",
      winner: 1,
    } as const;
    const { interests, named } = await explained(shape, labels, history, ownClusters);
    expect(named.map((place) => interests[place]!.shown.index)).toEqual([1, 1, 1, 1, 1, 1]);
  });
});

describe("interests of one label", () => {
  it("are one: shares add up, a cluster's rests on items of that cluster, and every item finds it", async () => {
    const clusters = [-1, 0, 1];
    const offsets = [0.5, 0.3, 0.2].map(Math.log);
    const split = [
      [0.6, 0.4],
      [1, 0],
      [0, 1],
    ];
    for (const [readout, winner] of [
      ["log-sum-exp", 0],
      ["max", 1],
      ["max", 2],
    ] as const) {
      const shape: Shape = {
        vectors: [
          [0, 0],
          [0, 0],
          [0, 0],
        ],
        offsets,
        attention: split,
        clusters,
        readout,
        winner,
      };
      const model = modelOf(shape);
      const clusterer = {
        name: "given",
        fingerprint: "given",
        partition: async () => [{ key: "", assign: Int16Array.from(ownClusters), labels }],
      };
      const recommender = new Recommender({ model, catalog, clusterer });
      const request = { history: ["up", "right"] };
      const found = await recommender.recommend(request, { k: 6 });
      expect(found.interests).toEqual([
        { index: 0, kind: "semantic", labels: ["up"], share: expect.closeTo(0.8, 6), because: ["up"] },
        { index: 2, kind: "semantic", labels: ["right"], share: expect.closeTo(0.2, 6), because: ["right"] },
      ]);
      expect(await recommender.interests(request)).toEqual(found.interests);
      for (const { interest, because } of found.items) {
        expect(because).toEqual(found.interests.find(({ index }) => index === interest)!.because);
      }
      if (readout === "max")
        expect(new Set(found.items.map(({ interest }) => interest))).toEqual(new Set([winner === 1 ? 0 : 2]));
    }
  });

  it("of behaviour alone rest on what they rest on together, by their shares", async () => {
    const shape: Shape = {
      vectors: [
        [0, 0],
        [0, 0],
      ],
      offsets: [Math.log(0.4), Math.log(0.6)],
      attention: [
        [1, 0],
        [0.3, 0.7],
      ],
      clusters: [-1, -1],
    };
    // 0.4 + 0.6 * 0.3 of the first event, 0.6 * 0.7 of the second.
    const { interests } = await explained(shape, ["one", "one"], history, ownClusters);
    expect(interests).toEqual([
      {
        shown: {
          index: 1,
          kind: "collaborative",
          labels: ["one"],
          share: expect.closeTo(1, 6),
          because: ["up", "right"],
        },
        members: [1, 0],
        shares: [expect.closeTo(0.6, 6), expect.closeTo(0.4, 6)],
        evidence: [1, 3],
      },
    ]);
  });

  it("leave shares that sum to 1, no label twice, and nothing named that is not there", async () => {
    const number = fc.double({ min: -3, max: 3, noNaN: true });
    const interest = fc.record({
      vector: fc.tuple(number, number),
      offset: number,
      weights: fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true })),
      cluster: fc.constantFrom(-1, 0, 1),
    });
    const drawn = fc.array(interest, { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(
        drawn,
        fc.constantFrom("max" as const, "log-sum-exp" as const),
        fc.boolean(),
        async (all, readout, same) => {
          const shape: Shape = {
            vectors: all.map(({ vector }) => vector),
            offsets: all.map(({ offset }) => offset),
            attention: all.map(({ weights }) => weights),
            clusters: all.map(({ cluster }) => cluster),
            readout,
            winner: all.length - 1,
          };
          const { interests, named } = await explained(shape, same ? ["one", "one"] : labels, history, ownClusters);
          const shown = interests.map((one) => one.shown);
          expect(shown.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 6);
          expect(new Set(shown.map((one) => one.labels.join())).size).toBe(shown.length);
          expect(interests.flatMap(({ members }) => members).sort()).toEqual(all.map((_, j) => j));
          expect(named).toHaveLength(points.length);
          expect(named.every((place) => shown[place] !== undefined)).toBe(true);
        },
      ),
    );
  });
});
