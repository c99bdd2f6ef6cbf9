import { tf } from "../../tensor/tfjs.js";
import type { SequenceBatch } from "./sequence-batch.js";

/**
 * Capsule nonlinearity (Sabour, Frosst and Hinton 2017) over the last axis: keeps the direction, maps the length l to
 * l^2 / (1 + l^2).
 */
export function squash<T extends tf.Tensor>(s: T): T {
  const squared = tf.sum(tf.square(s), -1, true);
  return tf.mul<T>(s, tf.div(tf.sqrt(tf.add(squared, 1e-9)), tf.add(squared, 1)));
}

/**
 * Behaviour-to-interest dynamic routing (Li et al. 2019, Cen et al. 2020): each of `iterations` rounds shares every event
 * out over the interests (softmax over K, not over T), sums, squashes, and adds the agreement to the logits. Gradient
 * flows through the last sum only; the logits belong to one example and start anew in each call.
 *
 * @param predictions [B, K, T, d] `u_kt`, what event t says about interest k
 * @param initial [K, T] starting logits, the same in training and serving
 * @returns interests [B, K, d] and the last coefficients [B, K, T], zero where padded
 */
export function dynamicRouting(
  predictions: tf.Tensor4D,
  initial: Float32Array,
  batch: SequenceBatch,
  iterations: number,
): { interests: tf.Tensor3D; coefficients: tf.Tensor3D } {
  const [size, count, length, dim] = predictions.shape;
  const values = routingCoefficients(predictions.dataSync<"float32">(), initial, batch, count, dim, iterations);
  const coefficients = tf.tensor(values, [size, count, length], "float32") as tf.Tensor3D;
  const sums = tf.matMul(tf.reshape(coefficients, [size, count, 1, length]), predictions);
  return { interests: squash(tf.reshape(sums, [size, count, dim]) as tf.Tensor3D), coefficients };
}

/** The coefficients [B, K, T] of the last round; each event's sum to 1 over k. */
export function routingCoefficients(
  predictions: Float32Array,
  initial: Float32Array,
  { size, length, lengths }: SequenceBatch,
  count: number,
  dim: number,
  iterations: number,
): Float32Array {
  const coefficients = new Float32Array(size * count * length);
  const logits = new Float64Array(count * length);
  const sum = new Float64Array(dim);
  for (let b = 0; b < size; b++) {
    const end = lengths[b]!;
    logits.set(initial.subarray(0, logits.length));
    for (let round = 0; round < iterations; round++) {
      for (let t = 0; t < end; t++) {
        let top = -Infinity;
        for (let k = 0; k < count; k++) top = Math.max(top, logits[k * length + t]!);
        let total = 0;
        for (let k = 0; k < count; k++) total += Math.exp(logits[k * length + t]! - top);
        for (let k = 0; k < count; k++) {
          coefficients[(b * count + k) * length + t] = Math.exp(logits[k * length + t]! - top) / total;
        }
      }
      if (round === iterations - 1) break;
      for (let k = 0; k < count; k++) {
        sum.fill(0);
        const base = (b * count + k) * length;
        for (let t = 0; t < end; t++) {
          const weight = coefficients[base + t]!;
          for (let j = 0; j < dim; j++) sum[j] = sum[j]! + weight * predictions[(base + t) * dim + j]!;
        }
        let squared = 0;
        for (let j = 0; j < dim; j++) squared += sum[j]! * sum[j]!;
        const factor = Math.sqrt(squared + 1e-9) / (1 + squared);
        for (let t = 0; t < end; t++) {
          let agreement = 0;
          for (let j = 0; j < dim; j++) agreement += predictions[(base + t) * dim + j]! * sum[j]!;
          logits[k * length + t] = logits[k * length + t]! + agreement * factor;
        }
      }
    }
  }
  return coefficients;
}
