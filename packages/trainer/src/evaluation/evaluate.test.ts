import type { History } from "@prismrec/core/data";
import type { PartitionTable } from "@prismrec/core/interests";
import { beyondAccuracy } from "@prismrec/core/metrics";
import type { Model, RankOptions } from "@prismrec/core/models";
import { useTensorBackend } from "@prismrec/core/nn";
import { describe, expect, it } from "vitest";
import { handMade } from "../testing/hand-made.js";
import { startObjective } from "../testing/start-objective.js";
import { tinyConfig, tinyInput } from "../testing/tiny-input.js";
import { cutoffsWithin, metricsAt } from "./cutoffs.js";
import { evaluate } from "./evaluate.js";

const dataset = handMade([[1, 2, 3, 4, 5]], {
  test: [
    [1, 2, 3],
    [4, 5],
    [2, 5, 1],
  ],
});

/** Answers with lists by hand and remembers what it was asked. */
class Scripted implements Model {
  readonly name = "scripted";
  readonly itemCount = 5;
  histories: readonly History[] = [];
  options: RankOptions | undefined;

  constructor(private readonly lists: readonly (readonly number[])[]) {}

  async rank(histories: readonly History[], options: RankOptions) {
    this.histories = histories;
    this.options = options;
    const ids = new Uint32Array(histories.length * options.k);
    this.lists.forEach((list, row) => {
      ids.set(list.slice(0, options.k), row * options.k);
    });
    return {
      k: options.k,
      ids,
      scores: new Float32Array(ids.length),
      counts: Uint32Array.from(this.lists, (list) => Math.min(list.length, options.k)),
    };
  }
}

describe("evaluate", () => {
  it("judges each user's list against the targets, by rank, and means over users", async () => {
    const model = new Scripted([
      [4, 3],
      [5, 1],
      [3, 4],
    ]);
    const { perUser, metrics, users, part } = await evaluate(model, dataset, {
      part: "test",
      metrics: ["recall@2", "ndcg@2", "hit-rate@1"],
    });
    expect(part).toBe("test");
    expect([...users]).toEqual([1, 2, 3]);
    expect([...perUser["recall@2"]!]).toEqual([1, 1, 0]);
    expect([...perUser["ndcg@2"]!]).toEqual([1 / Math.log2(3), 1, 0]);
    expect([...perUser["hit-rate@1"]!]).toEqual([0, 1, 0]);
    expect(metrics["recall@2"]).toBeCloseTo(2 / 3, 12);
  });

  it("tells what the lists do to the catalog where that is asked for, as long as the longest", async () => {
    const lists = [
      [4, 3],
      [5, 1],
      [3, 4],
    ];
    const options = { part: "test", metrics: ["recall@1", "recall@2"], exposure: true } as const;
    const { exposure } = await evaluate(new Scripted(lists), dataset, options);
    const histories = [[1, 2], [4], [2, 5]];
    const {
      intraListDiversity: _,
      tailShare: __,
      ...expected
    } = beyondAccuracy(lists, histories, 2, dataset.catalog, 1);
    expect(exposure).toEqual({ n: 2, ...expected });
    expect(exposure?.coverage).toBe(4 / 5);
    expect(await evaluate(new Scripted(lists), dataset, { part: "test" })).not.toHaveProperty("exposure");
  });

  it("lets a model read the history alone, with the clusters of its events, and asks for the longest list", async () => {
    const model = new Scripted([[], [], []]);
    const partition: PartitionTable = {
      clusterer: "by hand",
      fingerprint: "by hand",
      indptr: Uint32Array.of(0, 2, 3, 5),
      assign: Int16Array.of(0, 1, 0, 1, 1),
      labels: [[], [], []],
    };
    await evaluate(model, dataset, { part: "test", metrics: ["recall@1", "recall@3"], partition });
    expect(model.histories.map(({ items, clusters }) => [[...items], [...clusters!]])).toEqual([
      [
        [1, 2],
        [0, 1],
      ],
      [[4], [0]],
      [
        [2, 5],
        [1, 1],
      ],
    ]);
    expect(model.options).toMatchObject({ k: 3 });
    expect(model.options!.excludeHistory).not.toBe(false);
    await expect(
      evaluate(model, dataset, {
        part: "test",
        metrics: ["recall@1"],
        partition: { ...partition, indptr: Uint32Array.of(0, 1, 3, 5) },
      }),
    ).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
  });

  it("gives intervals when asked for", async () => {
    const lists = [[3], [5], [3]];
    const options = { part: "test", metrics: ["recall@1"] } as const;
    const { intervals } = await evaluate(new Scripted(lists), dataset, {
      ...options,
      bootstrap: { samples: 200, seed: 4 },
    });
    const { mean, low, high } = intervals!["recall@1"]!;
    expect(mean).toBeCloseTo(2 / 3, 12);
    expect(low).toBeLessThan(mean);
    expect(high).toBeGreaterThanOrEqual(mean);
    expect((await evaluate(new Scripted(lists), dataset, options)).intervals).toBeUndefined();
  });

  it("refuses unknown metrics, lists longer than the catalog, and parts without users", async () => {
    const model = new Scripted([]);
    await expect(evaluate(model, dataset, { part: "test", metrics: ["recal@5"] })).rejects.toMatchObject({
      code: "CONFIG_INVALID",
    });
    await expect(evaluate(model, dataset, { part: "test", metrics: ["recall@6"] })).rejects.toMatchObject({
      code: "CONFIG_INVALID",
    });
    await expect(evaluate(model, dataset, { part: "valid", metrics: ["recall@1"] })).rejects.toMatchObject({
      code: "DATA_EMPTY",
    });
  });

  it("never recommends what the history holds, and tells how the interests of a network look", async () => {
    await useTensorBackend();
    const input = await tinyInput();
    const { trainable } = startObjective(tinyConfig("mixture"), input.dataset);
    using model = trainable.snapshot();
    const { users, historyEnds } = input.dataset.split.test;
    const { log } = input.dataset;
    const histories = Array.from(users, (user, r) => ({
      items: log.items.subarray(log.indptr[user]!, log.indptr[user]! + historyEnds[r]!),
    }));
    const ranking = await model.rank(histories, { k: 50 });
    for (const [row, { items }] of histories.entries()) {
      const list = ranking.ids.subarray(row * 50, row * 50 + ranking.counts[row]!);
      expect(list.some((id) => id === 0 || items.includes(id))).toBe(false);
      expect(new Set(list).size).toBe(list.length);
    }
    const semantic = await evaluate(model, input.dataset, {
      part: "test",
      metrics: ["recall@20"],
      partition: input.partitions.test,
    });
    const { diagnostics } = semantic;
    expect(diagnostics!.semanticInterests).toBeGreaterThan(1);
    expect(diagnostics!.collaborativeMass! + diagnostics!.semanticMass!).toBeCloseTo(1, 5);
    const plain = await evaluate(model, input.dataset, { part: "test", metrics: ["recall@20"] });
    expect(plain.diagnostics!.semanticMass).toBeCloseTo(0, 12);
    expect(plain.diagnostics!.interestCosine).toBeLessThanOrEqual(1 + 1e-6);
  });
});

describe("evaluate, stopped", () => {
  it("rejects with the signal's reason", async () => {
    await useTensorBackend();
    const { dataset: data } = await tinyInput();
    const { trainable } = startObjective(tinyConfig("mixture"), data);
    const reason = new Error("enough");
    await expect(
      evaluate(trainable.snapshot(), data, { part: "test", metrics: ["recall@20"], signal: AbortSignal.abort(reason) }),
    ).rejects.toBe(reason);
  });

  it.each(["rank", "bootstrap"])("in the middle of its stage %s", async (stage) => {
    const { dataset: data } = await tinyInput();
    const { trainable } = startObjective(tinyConfig("mixture"), data);
    using model = trainable.snapshot();
    const stop = new AbortController();
    const reason = new Error("enough");
    const after: string[] = [];
    const running = evaluate(model, data, {
      part: "test",
      metrics: ["recall@20"],
      bootstrap: { samples: 200_000 },
      signal: stop.signal,
      onProgress: (progress) => {
        if (stop.signal.aborted) after.push(progress.stage);
        if (progress.stage === stage) stop.abort(reason);
      },
    });
    await expect(running).rejects.toBe(reason);
    expect(after).toEqual([]);
  });

  it("while the lists of many users are judged", async () => {
    const users = 20_000;
    const many = handMade([[1, 2, 3, 4, 5]], { test: Array.from({ length: users }, () => [1, 2]) });
    const stop = new AbortController();
    const reason = new Error("enough");
    const model = new Scripted(Array.from({ length: users }, () => [2]));
    const rank = model.rank.bind(model);
    model.rank = async (...given) => {
      const ranking = await rank(...given);
      setImmediate(() => stop.abort(reason));
      return ranking;
    };
    const running = evaluate(model, many, { part: "test", metrics: ["recall@1"], signal: stop.signal });
    await expect(running).rejects.toBe(reason);
  });
});

describe("cutoffsWithin", () => {
  it("keeps the cut-offs below the catalog's size, in order and once each", () => {
    expect(cutoffsWithin([50, 20, 20], 1000)).toEqual([20, 50]);
    expect(cutoffsWithin([20, 50], 50)).toEqual([20]);
  });

  it("is half the catalog where none is below its size", () => {
    expect([20, 19, 3, 2, 1].map((size) => cutoffsWithin([20, 50], size))).toEqual([[10], [9], [1], [1], [1]]);
    expect(metricsAt([20, 50], 19)).toEqual(["recall@9", "ndcg@9", "hit-rate@9"]);
  });
});
