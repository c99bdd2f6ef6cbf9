import { describe, expect, it } from "vitest";
import { catalogOf, datasetOf } from "../testing/catalog.js";
import { ShuffledClusterer } from "./controls.js";
import { interestRecovery } from "./interest-recovery.js";
import { partitionDataset } from "./partition-dataset.js";
import { partitionRequest } from "./partition-request.js";
import type { Clusterer, PartitionRequest } from "./types.js";

const catalog = catalogOf(["a", "b", "c", "d", "e", "f"].map((id) => ({ id })));

/** Groups odd and even ids, and remembers what it was asked. */
function parity(): Clusterer & { asked: PartitionRequest[] } {
  const asked: PartitionRequest[] = [];
  return {
    name: "parity",
    fingerprint: "p",
    asked,
    async partition(requests) {
      asked.push(...requests);
      return requests.map(({ key, items }) => ({
        key,
        assign: Int16Array.from(items, (id) => id % 2),
        labels: ["even", "odd"],
      }));
    },
  };
}

describe("partitionDataset", () => {
  const dataset = datasetOf(catalog, [[1, 2, 1, 3]], [{ history: [4, 1], targets: [5, 6] }]);

  it("gives every visible event its cluster, in rows aligned with the split", async () => {
    const { train, valid, test } = await partitionDataset(dataset, parity());
    expect([...train.indptr]).toEqual([0, 4]);
    expect([...train.assign]).toEqual([1, 0, 1, 1]);
    expect([...test.assign]).toEqual([0, 1]);
    expect(valid.labels).toEqual([]);
    expect(train).toMatchObject({ clusterer: "parity", fingerprint: "p", labels: [["even", "odd"]] });
  });

  it("never shows the clusterer a target, and shows a repeated item once, oldest first", async () => {
    const clusterer = parity();
    await partitionDataset(dataset, clusterer);
    expect(clusterer.asked.map(({ items }) => [...items])).toEqual([
      [2, 1, 3],
      [4, 1],
    ]);
  });

  it("asks about two prefixes of one history under two keys, and about the same items under one", async () => {
    const shared = datasetOf(catalog, [[1, 2, 3]], []);
    const { users } = shared.split.train;
    const evaluated = { users, historyEnds: Uint32Array.of(2), targetEnds: Uint32Array.of(3) };
    const clusterer = parity();
    await partitionDataset({ ...shared, split: { ...shared.split, valid: evaluated, test: evaluated } }, clusterer);
    const [train, valid, test] = clusterer.asked;
    expect(train!.key).not.toBe(valid!.key);
    expect(test).toEqual(valid);
    expect(partitionRequest(valid!.items, 3).key).not.toBe(valid!.key);
    expect(partitionRequest(valid!.items.slice().reverse(), 8).key).not.toBe(valid!.key);
  });

  it("asks only about the most recent items where a limit is set, and leaves the others without a cluster", async () => {
    const { train } = await partitionDataset(datasetOf(catalog, [[1, 2, 3, 4]], []), parity(), { maxItems: 2 });
    expect([...train.assign]).toEqual([-1, -1, 1, 0]);
  });

  it("holds the shuffled twin of a clusterer to what the clusterer takes", async () => {
    const narrow: Clusterer = {
      ...parity(),
      maxItems: 3,
      partition: async (requests) =>
        requests.map(({ key, items }) => {
          if (items.length > 3) throw new Error("too long");
          return { key, assign: Int16Array.from(items, (id) => id % 2), labels: ["even", "odd"] };
        }),
    };
    const long = datasetOf(catalog, [[1, 2, 3, 4, 5, 6]], []);
    const [own, twin] = [
      await partitionDataset(long, narrow),
      await partitionDataset(long, new ShuffledClusterer(narrow, 1)),
    ];
    const clustered = (assign: Int16Array) => [...assign].map((cluster) => cluster >= 0);
    expect(clustered(own.train.assign)).toEqual([false, false, false, true, true, true]);
    expect(clustered(twin.train.assign)).toEqual(clustered(own.train.assign));
  });

  it("refuses a clusterer that loses items", async () => {
    const careless: Clusterer = {
      name: "careless",
      fingerprint: "c",
      partition: async (requests) => requests.map(({ key }) => ({ key, assign: new Int16Array(1), labels: ["x"] })),
    };
    await expect(partitionDataset(dataset, careless)).rejects.toMatchObject({ code: "LLM_OUTPUT_INVALID" });
  });
});

describe("interestRecovery", () => {
  it("is 1 where the partitions are the truth, and leaves short and single-interest histories out", async () => {
    const dataset = datasetOf(
      catalog,
      [
        [1, 2, 3, 4],
        [1, 3, 5, 1],
        [1, 2],
      ],
      [],
    );
    const partitions = await partitionDataset(dataset, parity());
    expect(await interestRecovery(dataset, partitions, [-1, 1, 0, 1, 0, 1, 0])).toEqual({
      mean: 1,
      standardError: 0,
      count: 1,
    });
    const reason = new Error("enough");
    const stopped = interestRecovery(dataset, partitions, [], { signal: AbortSignal.abort(reason) });
    await expect(stopped).rejects.toBe(reason);
  });
});
