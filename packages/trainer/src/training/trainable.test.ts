import { createRandom } from "@prismrec/core/base";
import { createNetwork, networkConfig } from "@prismrec/core/models";
import { describe, expect, it } from "vitest";
import { randomItems } from "./initial-items.js";
import { type StepGradients, Trainable } from "./trainable.js";

const SETTINGS = { learningRate: 0.1, weightDecay: 0, clipNorm: 5 };
const network = createNetwork(networkConfig({ model: "ldmi", dim: 4, heads: 2, maxHistory: 5 }));
const fresh = (seed = 1, items = 6) =>
  new Trainable(network, randomItems(items, 4, 3), new Float32Array(items), createRandom(seed));

function gradients(value: number, rows?: Uint32Array): StepGradients {
  const touched = rows?.length ?? 6;
  return {
    network: new Map([["context/bias", new Float32Array(4).fill(value)]]),
    items: { data: new Float32Array(touched * 4).fill(value), ...(rows === undefined ? {} : { rows }) },
    bias: new Float32Array(touched).fill(value),
  };
}

const stateOf = (trainable: Trainable) =>
  new Map([...trainable.tensors()].map(([name, { data }]) => [name, data.slice()]));

describe("Trainable", () => {
  it("moves every touched weight by the learning rate in the first step, against its gradient", () => {
    const trainable = fresh();
    const before = stateOf(trainable);
    // 4 + 2 * 4 + 2 entries of .5 have norm sqrt(14) / 2.
    expect(trainable.update(gradients(0.5, Uint32Array.of(1, 4)), SETTINGS)).toBeCloseTo(Math.sqrt(14) / 2, 5);
    const moved = (name: string, i: number) => stateOf(trainable).get(name)![i]! - before.get(name)![i]!;
    expect(moved("parameters/context/bias", 2)).toBeCloseTo(-0.1, 5);
    expect(moved("items", 1 * 4 + 3)).toBeCloseTo(-0.1, 5);
    expect(moved("item-bias", 4)).toBeCloseTo(-0.1, 5);
    // What no gradient reached stays bit for bit.
    for (const row of [0, 2, 3, 5]) for (let c = 0; c < 4; c++) expect(moved("items", row * 4 + c)).toBe(0);
    expect(moved("parameters/context/weight", 0)).toBe(0);
  });

  it("clips by the norm of the whole gradient and tells the norm before", () => {
    const moments = (clipNorm: number) => {
      const trainable = fresh();
      const norm = trainable.update(gradients(3), { ...SETTINGS, clipNorm });
      return { norm, m: stateOf(trainable).get("moments/context/bias/m")![0]! };
    };
    const free = moments(1000);
    const clipped = moments(1);
    expect(clipped.norm).toBe(free.norm);
    expect(clipped.m).toBeCloseTo(free.m / free.norm, 6);
  });

  it("refuses a gradient that is not finite before anything has changed", () => {
    const trainable = fresh();
    const before = stateOf(trainable);
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => trainable.update(gradients(bad), SETTINGS)).toThrowError(
        expect.objectContaining({ code: "TRAINING_DIVERGED" }),
      );
    }
    expect(stateOf(trainable)).toEqual(before);
    expect(trainable.updates).toBe(0);
  });

  it("goes on from what it stored as if it had never stopped", () => {
    const whole = fresh();
    for (const value of [0.5, -0.2, 0.1]) whole.update(gradients(value), SETTINGS);
    const first = fresh();
    for (const value of [0.5, -0.2]) first.update(gradients(value), SETTINGS);
    const second = fresh(9);
    second.restore(new Map(first.tensors()), first.updates);
    second.update(gradients(0.1), SETTINGS);
    expect(stateOf(second)).toEqual(stateOf(whole));
  });

  it("takes nothing of a checkpoint that does not fit", () => {
    const trainable = fresh();
    const before = stateOf(trainable);
    const error = expect.objectContaining({ code: "CHECKPOINT_INCOMPATIBLE" });
    expect(() => trainable.restore(new Map(fresh(2, 7).tensors()), 1)).toThrowError(error);
    const missing = new Map(fresh(2).tensors());
    missing.delete("moments/item-bias/steps");
    expect(() => trainable.restore(missing, 1)).toThrowError(error);
    expect(stateOf(trainable)).toEqual(before);
  });

  it("knows whether all its weights are finite", () => {
    const trainable = fresh();
    expect(trainable.isFinite()).toBe(true);
    trainable.parameters.get("context/bias")!.values[1] = Number.NaN;
    expect(trainable.isFinite()).toBe(false);
  });
});
