import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseRankingMetric, RANKING_METRICS, rankingMetric, rankingMetrics } from "./ranking-metrics.js";

const at = (metric: string, ranked: number[], targets: number[]): number =>
  rankingMetric(parseRankingMetric(metric), ranked, targets);

const log2 = Math.log2;

describe("rankingMetric", () => {
  // Hits of targets {7, 3, 9} in the list 5 3 8 7 2: item 3 at rank 2, item 7 at rank 4.
  const ranked = [5, 3, 8, 7, 2];
  const targets = [7, 3, 9];

  it.each([
    ["recall@5", 2 / 3],
    ["recall@3", 1 / 3],
    ["precision@5", 2 / 5],
    ["hit-rate@5", 1],
    ["hit-rate@1", 0],
    ["mrr@5", 1 / 2],
    ["map@5", (1 / 2 + 2 / 4) / 3],
    ["map@2", 1 / 2 / 2],
    ["ndcg@5", (1 / log2(3) + 1 / log2(5)) / (1 + 1 / log2(3) + 1 / log2(4))],
    ["ndcg@2", 1 / log2(3) / (1 + 1 / log2(3))],
    ["ndcg-comirec-hits@5", (1 / log2(3) + 1 / log2(5)) / (1 + 1 / log2(3))],
    ["ndcg-comirec-paper@5", (1 / log2(2) + 1 / log2(3)) / (1 + 1 / log2(3))],
    ["recall@1", 0],
    ["ndcg@1", 0],
  ])("%s of a list worked by hand", (metric, expected) => {
    expect(at(metric, ranked, targets)).toBeCloseTo(expected, 12);
  });

  it("scores one hit at rank 1 of five targets as 1 only in the historical variant", () => {
    const list = [1, 10, 11];
    expect(at("ndcg-comirec-hits@3", list, [1, 2, 3, 4, 5])).toBe(1);
    expect(at("ndcg@3", list, [1, 2, 3, 4, 5])).toBeCloseTo(1 / (1 + 1 / log2(3) + 1 / 2), 12);
  });

  it("uses ranks and not the order of a set: swapping two items of the list changes ndcg", () => {
    expect(at("ndcg@5", [3, 5, 8, 7, 2], targets)).toBeGreaterThan(at("ndcg@5", ranked, targets));
    expect(at("ndcg-comirec-paper@5", [3, 5, 8, 7, 2], targets)).toBe(at("ndcg-comirec-paper@5", ranked, targets));
  });

  it("drops padding and repeats from every list, so that they neither shift ranks nor hit twice", () => {
    const padded = [0, 5, 3, 3, 0, 8, 7, 5, 2];
    for (const { name } of RANKING_METRICS) {
      expect(at(`${name}@5`, padded, targets), name).toBe(at(`${name}@5`, ranked, targets));
    }
  });

  it("lies in [0, 1], is 1 for the perfect list and 0 without a hit, for every metric that is normalised", () => {
    const distinct = fc.uniqueArray(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(distinct, distinct, fc.integer({ min: 1, max: 25 }), (list, wanted, n) => {
        for (const { name } of RANKING_METRICS) {
          const value = at(`${name}@${n}`, list, wanted);
          expect(value).toBeGreaterThanOrEqual(0);
          if (name !== "ndcg-comirec-paper") expect(value).toBeLessThanOrEqual(1 + 1e-12);
          expect(
            at(
              `${name}@${n}`,
              list.map((id) => id + 100),
              wanted,
            ),
          ).toBe(0);
        }
        for (const name of ["ndcg", "map", "mrr", "hit-rate"]) {
          expect(at(`${name}@${n}`, wanted, wanted)).toBeCloseTo(1, 12);
        }
      }),
    );
  });

  it("refuses a user without targets and metrics that do not exist", () => {
    expect(() => at("recall@5", [1], [])).toThrowError(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    for (const text of ["recal@5", "recall", "recall@0", "recall@x", "ndcg@5.5"]) {
      expect(() => parseRankingMetric(text), text).toThrowError(expect.objectContaining({ code: "CONFIG_INVALID" }));
    }
  });
});

describe("rankingMetrics", () => {
  const ranking = {
    k: 3,
    ids: Uint32Array.of(1, 2, 3, 4, 5, 0),
    scores: new Float32Array(6),
    counts: Uint32Array.of(3, 2),
  };

  it("gives one value a user and metric", () => {
    const values = rankingMetrics(ranking, [[2], [6, 4]], ["recall@3", "hit-rate@1"]);
    expect(values).toEqual({ "recall@3": Float64Array.of(1, 0.5), "hit-rate@1": Float64Array.of(0, 1) });
  });

  it("refuses lists shorter than the cut-off, and a wrong number of targets", () => {
    expect(() => rankingMetrics(ranking, [[1], [1]], ["recall@4"])).toThrowError(/longer lists/);
    expect(() => rankingMetrics(ranking, [[1]], ["recall@3"])).toThrowError(/needs its targets/);
    expect(() => rankingMetrics(ranking, [[1], []], ["recall@3"])).toThrowError(/without targets/);
  });
});
