import { createRandom } from "@prismrec/core/base";
import type { CrowdSet, Dataset } from "@prismrec/core/data";
import type { Partitions } from "@prismrec/core/interests";
import { onlyBest, useTensorBackend } from "@prismrec/core/nn";
import { beforeAll, describe, expect, it } from "vitest";
import { handMade } from "../testing/hand-made.js";
import { startObjective } from "../testing/start-objective.js";
import { TINY_CONFIG_NAMES, tinyConfig, tinyInput } from "../testing/tiny-input.js";
import type { ItemGradient } from "../training/trainable.js";

let input: { readonly dataset: Dataset; readonly partitions: Partitions; readonly crowd: CrowdSet };

beforeAll(async () => {
  await useTensorBackend();
  input = await tinyInput();
});

const start = (name: (typeof TINY_CONFIG_NAMES)[number], overrides = {}) =>
  startObjective(tinyConfig(name, overrides), input.dataset, {
    partition: input.partitions.train,
    crowd: input.crowd,
  });

/** <gradient, direction> over all that a step says about a table whose rows belong to items. */
function along({ rows, data }: ItemGradient, direction: Float32Array, dim: number): number {
  let sum = 0;
  data.forEach((value, i) => {
    const row = rows === undefined ? Math.floor(i / dim) : rows[Math.floor(i / dim)]!;
    sum += value * direction[row * dim + (i % dim)]!;
  });
  return sum;
}

// Hard assignment has a straight-through gradient and dynamic routing a stopped one: neither is a slope by design.
const smooth = TINY_CONFIG_NAMES.filter((name) => name !== "concat" && name !== "comirec-dr");

describe.each(smooth)("the step of %s", (name) => {
  it("has the slope of its loss as gradient, in item vectors, biases and the network", () => {
    const overrides = name === "comirec-sa" ? {} : { dropout: 0, crowd: { users: 4, ramp: 1, weight: 0.7 } };
    const { objective, trainable } = start(name, { ...overrides, batchSize: 8 });
    const { gradients } = objective.step(0, 0);
    const { items, bias } = trainable;
    const random = createRandom(9, "directions");
    /** Compares the analytic slope along one random direction in all of `arrays` with fourth-order differences. */
    const check = (
      label: string,
      arrays: readonly Float32Array[],
      slopeAlong: (directions: Float32Array[]) => number,
    ) => {
      const kept = arrays.map((values) => values.slice());
      const directions = arrays.map((values) => Float32Array.from(values, () => random.normal()));
      const at = (distance: number) => {
        arrays.forEach((values, n) => {
          for (let i = 0; i < values.length; i++) values[i] = kept[n]![i]! + distance * directions[n]![i]!;
        });
        return objective.step(0, 0).loss;
      };
      const slope = (8 * (at(4e-3) - at(-4e-3)) - (at(8e-3) - at(-8e-3))) / (12 * 4e-3);
      arrays.forEach((values, n) => {
        values.set(kept[n]!);
      });
      expect(Math.abs(slope), label).toBeGreaterThan(0.01);
      expect(Math.abs(slope - slopeAlong(directions)) / Math.max(0.2, Math.abs(slope)), label).toBeLessThan(0.02);
    };
    check("items", [items.data], ([direction]) => along(gradients.items, direction!, items.cols));
    if (bias !== undefined) {
      check("item bias", [bias], ([direction]) => along({ ...gradients.items, data: gradients.bias! }, direction!, 1));
    }
    const reached = [...gradients.network];
    check(
      "network",
      reached.map(([parameter]) => trainable.parameters.get(parameter)!.values),
      (directions) =>
        reached.reduce(
          (sum, [, gradient], n) => sum + gradient.reduce((inner, value, i) => inner + value * directions[n]![i]!, 0),
          0,
        ),
    );
  });
});

describe.each(TINY_CONFIG_NAMES)("the step of %s", (name) => {
  it("is a function of its number, not of what ran before", () => {
    const a = start(name).objective;
    a.step(1, 1);
    const b = start(name).objective;
    expect(a.step(0, 0)).toEqual(b.step(0, 0));
    expect(a.step(0, 0)).not.toEqual(b.step(0, 1));
  });
});

describe("the sampled softmax", () => {
  // Everybody has seen item 1 and wants item 2, so every candidate is a target or masked.
  const alike = handMade(Array.from({ length: 6 }, () => [1, 2]));

  it("never sets a target against itself or against what was seen", () => {
    const config = tinyConfig("mixture, sampled softmax", { dropout: 0 });
    const { loss, gradients } = startObjective(config, alike).objective.step(0, 0);
    expect(loss).toBe(0);
    expect(gradients.items.data.every((value) => value === 0)).toBe(true);
  });

  it("sets it against items that others want", () => {
    const two = handMade([
      [1, 2],
      [1, 3],
    ]);
    const { objective } = startObjective(tinyConfig("mixture, sampled softmax", { dropout: 0 }), two);
    const { loss, gradients } = objective.step(0, 0);
    expect(loss).toBeGreaterThan(0);
    // Item 1 is seen by both, so it is no candidate: its vector changes as history alone.
    expect([...gradients.items.rows!]).toEqual([0, 1, 2]);
    expect(gradients.bias![0]).toBe(0);
  });
});

describe("the mixture's step", () => {
  const rare = { dropout: 0, network: { model: "ldmi", dim: 8, interests: 2, maxHistory: 10, layers: 1 } };

  it("does not read clusters that lie behind the last position of any prefix", () => {
    // The last event of each sequence is a target alone; its cluster may be anything.
    const dataset = handMade([
      [1, 2, 3],
      [3, 1, 2],
    ]);
    const partition = (last: number) => ({
      clusterer: "by hand",
      fingerprint: "by hand",
      indptr: Uint32Array.of(0, 3, 6),
      assign: Int16Array.of(0, 1, last, 0, 0, last),
      labels: [[], []],
    });
    const step = (last: number) =>
      startObjective(tinyConfig("mixture", rare), dataset, { partition: partition(last) }).objective.step(0, 0);
    expect(step(0)).toEqual(step(2));
  });

  it("learns nothing semantic from users without clusters", () => {
    const { objective } = startObjective(tinyConfig("mixture", rare), input.dataset);
    const { network } = objective.step(0, 0).gradients;
    expect([...network.keys()].filter((name) => /cluster-pool|prior\/(semantic|size|last)/.test(name))).toEqual([]);
    expect(network.has("prior/collaborative/weight")).toBe(true);
  });

  it("adds the crowd contrast at its full weight after the ramp, and not before the warm-up is over", () => {
    const overrides = { ...rare, crowd: { users: 4, weight: 0.5, warmup: 1, ramp: 2 } };
    const { objective } = start("mixture", overrides);
    expect(objective.step(0, 0).parts).not.toHaveProperty("crowd");
    const share = (epoch: number) => {
      objective.beginEpoch(epoch);
      const { loss, parts } = objective.step(0, 0);
      return (loss - parts.prediction!) / parts.crowd!;
    };
    expect([2, 3, 9].map((epoch) => Number(share(epoch).toFixed(5)))).toEqual([0.25, 0.5, 0.5]);
  });

  it("leaves the crowd out where there is none", () => {
    const { objective } = startObjective(tinyConfig("mixture", rare), input.dataset);
    expect(Object.keys(objective.step(0, 0).parts)).toEqual(["prediction"]);
  });
});

describe("onlyBest", () => {
  it("leaves each row the interest closest to its target, the first of equals", () => {
    const vectors = { data: Float32Array.of(1, 0, 0, 2, 5, 5, 5, 5), rows: 4, cols: 2 };
    const items = { data: Float32Array.of(0, 1, 1, 0), rows: 2, cols: 2 };
    expect([...onlyBest(vectors, items, Uint32Array.of(0, 1))]).toEqual([-Infinity, 0, 0, -Infinity]);
    expect([...onlyBest(vectors, items, Uint32Array.of(1, 1))]).toEqual([0, -Infinity, 0, -Infinity]);
  });
});
