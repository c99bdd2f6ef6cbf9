import { dynamicRoutingGradientSync, dynamicRoutingSync } from "../../ops/dynamic-routing/dynamic-routing.js";
import { tensorOf, valuesInPlace } from "../tensor/in-place.js";
import { tf } from "../tensor/tfjs.js";
import type { RoutingSettings } from "./dynamic-routing.js";
import type { SequenceBatch } from "./sequence-batch.js";

/**
 * How many interests a history of that many events has: `max(1, min(K, floor(log2 length)))` (Li et al. 2019,
 * section 4.2); none without events.
 */
export function interestCount(length: number, most: number): number {
  // Exact where Math.log2 rounds.
  return length === 0 ? 0 : Math.max(1, Math.min(most, 31 - Math.clz32(length)));
}

/** Users with the same number of interests, and what routing kept of them for the gradient. */
interface RoutedGroup {
  readonly count: number;
  readonly users: readonly number[];
  readonly coefficients: Float32Array;
  readonly sums: Float32Array;
}

/**
 * Dynamic routing whose number of interests adapts to the history: each user's events are shared out over the first
 * `interestCount` of the K interests, and the others take no part in it. Gradient flows through the last sum only.
 *
 * @param embedded [B, T, d]
 * @param map [d, d], shared by all interests
 * @returns interests [B, K, d] and the last coefficients [B, K, T], both zero where absent
 */
export function adaptiveRouting(
  embedded: tf.Tensor3D,
  map: tf.Tensor2D,
  batch: SequenceBatch,
  { interests, iterations, initial }: RoutingSettings,
): { interests: tf.Tensor3D; coefficients: tf.Tensor3D } {
  const [size, length, dim] = embedded.shape;
  const problemOf = (users: readonly number[], count: number, events: Float32Array, maps: Float32Array) => ({
    users: users.length,
    length,
    interests: count,
    dim,
    lengths: Uint32Array.from(users, (b) => batch.lengths[b]!),
    events,
    rows: Uint32Array.from({ length: users.length * length }, (_, i) => {
      return users[Math.floor(i / length)]! * length + (i % length);
    }),
    maps,
    mapCount: 1,
    shared: count > 1,
  });
  const [x, w] = [valuesInPlace(embedded), valuesInPlace(map)];
  const vectors = new Float32Array(size * interests * dim);
  const shares = new Float32Array(size * interests * length);
  const groups: RoutedGroup[] = [];
  for (let count = 1; count <= interests; count++) {
    const users = [...batch.lengths.keys()].filter((b) => interestCount(batch.lengths[b]!, interests) === count);
    if (users.length === 0) continue;
    const first = initial.subarray(0, count * length);
    const routed = dynamicRoutingSync({ ...problemOf(users, count, x, w), iterations, initial: first });
    copyUsers(routed.vectors, count * dim, vectors, interests * dim, users);
    copyUsers(routed.coefficients, count * length, shares, interests * length, users);
    groups.push({ count, users, coefficients: routed.coefficients, sums: routed.sums });
  }
  const op = tf.customGrad((...inputs) => {
    const [given, maps, save] = inputs as [tf.Tensor, tf.Tensor, tf.GradSaveFunc];
    save([given, maps]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]): tf.Tensor[] => {
      const [x, w] = saved.map(valuesInPlace) as [Float32Array, Float32Array];
      const upstream = valuesInPlace(dy);
      const ofEvents = new Float32Array(x.length);
      const ofMap = new Float32Array(w.length);
      for (const { count, users, coefficients, sums } of groups) {
        const vectorGradient = new Float32Array(users.length * count * dim);
        for (const [i, b] of users.entries()) {
          const from = b * interests * dim;
          vectorGradient.set(upstream.subarray(from, from + count * dim), i * count * dim);
        }
        const problem = problemOf(users, count, x, w);
        const gradients = dynamicRoutingGradientSync({ ...problem, coefficients, sums, vectorGradient });
        copyUsers(gradients.events, length * dim, ofEvents, length * dim, users);
        for (let i = 0; i < ofMap.length; i++) ofMap[i]! += gradients.maps[i]!;
      }
      return [tensorOf(ofEvents, embedded.shape), tensorOf(ofMap, map.shape)];
    };
    return { value: tensorOf(vectors, [size, interests, dim]), gradFunc };
  });
  return {
    interests: op(embedded, map) as tf.Tensor3D,
    coefficients: tensorOf(shares, [size, interests, length]) as tf.Tensor3D,
  };
}

/** Rows `width` wide, one for each of `users`, to the head of their rows in a table with `stride` between rows. */
function copyUsers(
  from: Float32Array,
  width: number,
  to: Float32Array,
  stride: number,
  users: readonly number[],
): void {
  for (const [i, b] of users.entries()) to.set(from.subarray(i * width, (i + 1) * width), b * stride);
}
