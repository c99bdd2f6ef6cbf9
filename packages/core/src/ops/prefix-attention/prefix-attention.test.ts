import { describe, expect, it } from "vitest";
import { createRandom } from "../../base/random.js";
import { native } from "../native.js";
import { prefixAttentionGradientSync, prefixAttentionSync } from "./prefix-attention.js";
import { prefixAttentionGradientReference, prefixAttentionReference } from "./reference.js";
import type { PrefixAttentionProblem } from "./types.js";

function problem(overrides: Partial<PrefixAttentionProblem> = {}): PrefixAttentionProblem {
  const [size, length, positionCount, clusterCount] = [9, 12, 3, overrides.clusterCount ?? 3];
  const random = createRandom("prefix-attention");
  const lengths = Uint32Array.from({ length: size }, () => random.integer(0, length + 1));
  return {
    size,
    length,
    lengths,
    clusterCount,
    positionCount,
    collaborative: 2,
    clusters: Int16Array.from({ length: size * length }, () => random.integer(-1, clusterCount + 1)),
    positions: Int32Array.from({ length: size * positionCount }, (_, i) =>
      random.integer(-1, Math.max(1, lengths[Math.floor(i / positionCount)]!)),
    ),
    ...overrides,
  };
}

function values(length: number, seed: string): Float32Array {
  const random = createRandom(seed);
  return Float32Array.from({ length }, () => 3 * random.normal());
}

const near = (list: Float32Array) => [...list].map((value) => expect.closeTo(value, 5));

describe("prefixAttentionSync", () => {
  it.each([0, 3])("agrees with the reference on weights and gradient with %i clusters", (clusterCount) => {
    const given = problem({ clusterCount });
    const logits = values(9 * 3 * 12, "logits");
    const weights = prefixAttentionSync(given, logits);
    expect([...weights]).toEqual(near(prefixAttentionReference(given, logits)));
    const dWeights = values(weights.length, "gradient");
    const gradient = prefixAttentionGradientSync(given, weights, dWeights);
    expect([...gradient]).toEqual(near(prefixAttentionGradientReference(given, weights, dWeights)));
  });

  it.skipIf(native() === undefined)("refuses arrays of other lengths and what is out of bounds", () => {
    const logits = values(9 * 3 * 12, "logits");
    const weights = new Float32Array(9 * 3 * 5 * 12);
    expect(() => prefixAttentionSync(problem(), new Float32Array(3))).toThrow(/wrong length/);
    expect(() => prefixAttentionGradientSync(problem(), weights, new Float32Array(3))).toThrow(/wrong length/);
    for (const wrong of [{ lengths: new Uint32Array(9).fill(13) }, { positions: new Int32Array(9 * 3).fill(12) }]) {
      expect(() => prefixAttentionSync(problem(wrong), logits)).toThrow(/out of bounds/);
    }
  });
});
