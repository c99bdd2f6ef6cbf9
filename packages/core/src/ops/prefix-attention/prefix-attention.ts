import { checkLength } from "../check.js";
import { callNative, native } from "../native.js";
import { prefixAttentionGradientReference, prefixAttentionReference } from "./reference.js";
import type { PrefixAttentionProblem } from "./types.js";

/**
 * Attention weights of every interest at every predicted position: collaborative interest k spreads a softmax over the
 * visible events, semantic interest m over those of them that are in its cluster, both from logits computed once per
 * event.
 *
 * @param logits [B, K + 1, T], the last row shared by all clusters
 * @param allocate where the result's array comes from; what it holds does not matter
 * @returns [B, P, K + M, T]; zero for unused positions, absent clusters and what is not visible
 * @throws PrismrecError SHAPE_MISMATCH, INVALID_ARGUMENT for a length or position out of bounds
 */
export function prefixAttentionSync(
  problem: PrefixAttentionProblem,
  logits: Float32Array,
  allocate = newArray,
): Float32Array {
  checkLength("logits", logits.length, logitSize(problem));
  const addon = native();
  if (addon === undefined) return prefixAttentionReference(problem, logits);
  const weights = allocate(weightSize(problem));
  callNative(() => {
    addon.prefixAttention(logits, weights, ...positional(problem));
  });
  return weights;
}

/**
 * The logits' gradient from the weights that `prefixAttentionSync` gave and their gradient.
 *
 * @throws PrismrecError as `prefixAttentionSync`
 */
export function prefixAttentionGradientSync(
  problem: PrefixAttentionProblem,
  weights: Float32Array,
  dWeights: Float32Array,
  allocate = newArray,
): Float32Array {
  checkLength("weights", weights.length, weightSize(problem));
  checkLength("dWeights", dWeights.length, weightSize(problem));
  const addon = native();
  if (addon === undefined) return prefixAttentionGradientReference(problem, weights, dWeights);
  const dLogits = allocate(logitSize(problem));
  callNative(() => {
    addon.prefixAttentionGrad(weights, dWeights, dLogits, ...positional(problem));
  });
  return dLogits;
}

function newArray(length: number): Float32Array {
  return new Float32Array(length);
}

/** The order in which the addon takes the problem. */
function positional(
  problem: PrefixAttentionProblem,
): [
  lengths: Uint32Array,
  clusters: Int16Array,
  positions: Int32Array,
  length: number,
  collaborative: number,
  clusterCount: number,
] {
  const { lengths, clusters, positions, length, collaborative, clusterCount } = problem;
  return [lengths, clusters, positions, length, collaborative, clusterCount];
}

function logitSize({ size, collaborative, length }: PrefixAttentionProblem): number {
  return size * (collaborative + 1) * length;
}

function weightSize({ size, positionCount, collaborative, clusterCount, length }: PrefixAttentionProblem): number {
  return size * positionCount * (collaborative + clusterCount) * length;
}
