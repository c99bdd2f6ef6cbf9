import { PrismrecError } from "@prismrec/core/base";
import { type Clusterer, type PartitionRequest, partitionDataset } from "@prismrec/core/interests";
import { describe, expect, it } from "vitest";
import { catalogOf, datasetOf } from "../../../core/src/testing/catalog.js";
import { averageOverSeeds, openControl } from "./ablate.js";

const catalog = catalogOf(["a", "b", "c", "d"].map((id, i) => ({ id, categories: [i < 2 ? "x" : "y"] })));
const dataset = datasetOf(catalog, [[1, 2, 3, 4]], [{ history: [4, 1], targets: [2] }]);

/** A clusterer that is of no use once it is closed, as one with a language model behind it. */
function closable() {
  let closed = false;
  const clusterer: Clusterer = {
    name: "parity",
    fingerprint: "p",
    async partition(requests: readonly PartitionRequest[]) {
      if (closed) throw new PrismrecError("DISPOSED", "the language model has been closed");
      return requests.map(({ key, items }) => ({
        key,
        assign: Int16Array.from(items, (id) => id % 2),
        labels: ["even", "odd"],
      }));
    },
  };
  return {
    open: async () => ({
      clusterer,
      [Symbol.asyncDispose]: async () => {
        closed = true;
      },
    }),
    isClosed: () => closed,
  };
}

describe("openControl", () => {
  it("holds the run's clusterer open until the shuffled control has been used, and no longer", async () => {
    const source = closable();
    const control = await openControl("shuffled", { catalog, seed: 1, open: source.open });
    const { train } = await partitionDataset(dataset, control!.clusterer);
    expect([...train.assign].sort()).toEqual([0, 0, 1, 1]);
    expect(source.isClosed()).toBe(false);
    await control![Symbol.asyncDispose]();
    expect(source.isClosed()).toBe(true);
  });

  it("opens nothing for the controls that need no clusterer, and has none where there is nothing to make one of", async () => {
    const open = () => Promise.reject(new Error("nobody needs this"));
    for (const name of ["random", "category"] as const) {
      await using control = await openControl(name, { catalog, seed: 1, open });
      expect(control?.clusterer.name).toBe(name);
    }
    expect(await openControl("category", { catalog: catalogOf([{ id: "a" }]), seed: 1, open })).toBeUndefined();
    expect(await openControl("shuffled", { catalog, seed: 1, open: undefined })).toBeUndefined();
  });
});

describe("averageOverSeeds", () => {
  it("averages each user's metrics over the trials", () => {
    const trials = [
      { recall: Float64Array.of(1, 0, 0.5), ndcg: Float64Array.of(1, 0, 0) },
      { recall: Float64Array.of(0, 0, 1), ndcg: Float64Array.of(0.5, 1, 0) },
    ];
    expect(averageOverSeeds(trials)).toEqual({
      recall: Float64Array.of(0.5, 0, 0.75),
      ndcg: Float64Array.of(0.75, 0.5, 0),
    });
    expect(averageOverSeeds(trials.slice(0, 1))).toEqual(trials[0]);
  });
});
