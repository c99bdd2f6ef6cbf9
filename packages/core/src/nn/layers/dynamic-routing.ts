import { createRandom } from "../../base/random.js";
import { dynamicRoutingGradientSync, dynamicRoutingSync } from "../../ops/dynamic-routing/dynamic-routing.js";
import type { RoutingProblem } from "../../ops/dynamic-routing/types.js";
import { allocateValues, tensorOf, valuesInPlace } from "../tensor/in-place.js";
import { tf } from "../tensor/tfjs.js";
import type { SequenceBatch } from "./sequence-batch.js";

export interface RoutingSettings {
  /** K */
  readonly interests: number;
  readonly iterations: number;
  /** [K * T] logits of the first round, the same in training and serving. */
  readonly initial: Float32Array;
}

/** [K * maxHistory] Gaussian logits by interest and recency, drawn once from a seed: serving routes as training did. */
export function drawRoutingLogits(seed: number, interests: number, maxHistory: number): Float32Array {
  const random = createRandom(seed, "routing-logits");
  return Float32Array.from({ length: interests * maxHistory }, () => random.normal());
}

/** Those of the newest `length` positions: [K * maxHistory] -> [K * length]. */
export function newestLogits(logits: Float32Array, interests: number, length: number): Float32Array {
  const most = logits.length / interests;
  const newest = new Float32Array(interests * length);
  for (let k = 0; k < interests; k++) newest.set(logits.subarray(k * most, k * most + length), k * length);
  return newest;
}

/** Maps [d, K * d], or [d, d] shared by all interests, or [at least T, d, K * d] with one map for each position. */
interface Maps {
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

/** A batch's problem: how many maps there are, and whether interests share them, is seen from their shape. */
export function routingProblem(
  batch: SequenceBatch,
  interests: number,
  events: Float32Array,
  maps: Maps,
): RoutingProblem {
  const dim = maps.shape.at(-2)!;
  return {
    users: batch.size,
    length: batch.length,
    interests,
    dim,
    lengths: batch.lengths,
    events,
    maps: maps.values,
    mapCount: maps.shape.length === 3 ? maps.shape[0]! : 1,
    shared: interests > 1 && maps.shape.at(-1) === dim,
  };
}

/**
 * `dynamicRoutingSync` on tfjs's tape; gradient flows through the last sum only.
 *
 * @param embedded [B, T, d]
 * @param maps as `Maps` says
 * @returns interests [B, K, d] and the last coefficients [B, K, T], zero where padded
 */
export function dynamicRouting(
  embedded: tf.Tensor3D,
  maps: tf.Tensor,
  batch: SequenceBatch,
  { interests, iterations, initial }: RoutingSettings,
): { interests: tf.Tensor3D; coefficients: tf.Tensor3D } {
  const [users, length, dim] = embedded.shape;
  const problemOf = (x: tf.Tensor, w: tf.Tensor) =>
    routingProblem(batch, interests, valuesInPlace(x), { shape: maps.shape, values: valuesInPlace(w) });
  const { vectors, sums, coefficients } = dynamicRoutingSync(
    { ...problemOf(embedded, maps), iterations, initial },
    allocateValues,
  );
  const shares = tensorOf(coefficients, [users, interests, length]) as tf.Tensor3D;
  const op = tf.customGrad((...inputs) => {
    const [x, w, save] = inputs as [tf.Tensor, tf.Tensor, tf.GradSaveFunc];
    save([x, w, shares, tensorOf(sums, [users, interests, dim])]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]): tf.Tensor[] => {
      const [x, w, c, s] = saved as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
      const given = { coefficients: valuesInPlace(c), sums: valuesInPlace(s), vectorGradient: valuesInPlace(dy) };
      const gradients = dynamicRoutingGradientSync({ ...problemOf(x, w), ...given }, allocateValues);
      return [tensorOf(gradients.events, embedded.shape), tensorOf(gradients.maps, maps.shape)];
    };
    return { value: tensorOf(vectors, [users, interests, dim]), gradFunc };
  });
  return { interests: op(embedded, maps) as tf.Tensor3D, coefficients: shares };
}
