import { gatherRows, scatterAddRows } from "../../ops/embedding-rows/embedding-rows.js";
import { prefixAttentionGradientSync, prefixAttentionSync } from "../../ops/prefix-attention/prefix-attention.js";
import { allocateValues, valuesInPlace } from "../tensor/in-place.js";
import { tf } from "../tensor/tfjs.js";
import type { SequenceBatch } from "./sequence-batch.js";

/** A logit whose exponential is 0 beside any other. */
const ABSENT = -1e30;

/**
 * Attention weights of every interest at every predicted position: collaborative interest k spreads a softmax over the
 * visible prefix, semantic interest m over the visible prefix's events of cluster m, both from logits computed once per
 * event. The prefix of position p is the events p, p + 1, ... (newest first), so the weights of all positions come
 * from running sums over one exponential per event.
 *
 * @param logits [B, K + 1, T]: K rows of collaborative logits, then one row shared by all clusters
 *   (without clusters, `batch.clusterCount` 0, that last row is not read)
 * @returns [B, P * (K + M), T]; zero for unused positions, absent clusters and what is not visible
 */
export function prefixAttention(logits: tf.Tensor3D, batch: SequenceBatch): tf.Tensor3D {
  const problem = { ...batch, collaborative: logits.shape[1] - 1 };
  const interests = problem.collaborative + batch.clusterCount;
  const shape = [batch.size, batch.positionCount * interests, batch.length];
  const op = tf.customGrad((...inputs) => {
    const [input, save] = inputs as [tf.Tensor, tf.GradSaveFunc];
    const value = tf.tensor(prefixAttentionSync(problem, valuesInPlace(input), allocateValues), shape, "float32");
    save([value]);
    const gradFunc = (dy: tf.Tensor, [weights]: tf.Tensor[]): tf.Tensor => {
      const [w, dw] = [valuesInPlace(weights!), valuesInPlace(dy)];
      return tf.tensor(prefixAttentionGradientSync(problem, w, dw, allocateValues), logits.shape, "float32");
    };
    return { value, gradFunc };
  });
  return op(logits) as tf.Tensor3D;
}

/**
 * Rows of `x` at the predicted positions: [B, T, d] -> [B, P, d], zero for unused positions.
 */
export function gatherPositions(x: tf.Tensor3D, batch: SequenceBatch): tf.Tensor3D {
  const { size, length, positionCount, positions } = batch;
  const cols = x.shape[2];
  const rows = Int32Array.from(positions, (position, i) =>
    position < 0 ? -1 : Math.floor(i / positionCount) * length + position,
  );
  const op = tf.customGrad((input) => {
    const table = { data: valuesInPlace(input as tf.Tensor), rows: size * length, cols };
    const gradFunc = (dy: tf.Tensor): tf.Tensor => {
      const data = allocateValues(size * length * cols).fill(0);
      scatterAddRows({ data, rows: size * length, cols }, rows, valuesInPlace(dy));
      return tf.tensor(data, x.shape, "float32");
    };
    const { data } = gatherRows(table, rows, allocateValues(rows.length * cols));
    return { value: tf.tensor(data, [size, positionCount, cols], "float32"), gradFunc };
  });
  return op(x) as tf.Tensor3D;
}

/**
 * `x - logsumexp(x)` over the last axis where `present` is 1, -Infinity elsewhere; a row with nothing present is all
 * -Infinity. Gradients that arrive at absent entries are ignored.
 *
 * @param x [..., n]
 * @param present [x.size]
 */
export function maskedLogSoftmax<T extends tf.Tensor>(x: T, present: Uint8Array): T {
  const mask = tf.tensor(present, x.shape, "bool");
  const op = tf.customGrad((...inputs) => {
    const [input, save] = inputs as [tf.Tensor, tf.GradSaveFunc];
    const log = tf.logSoftmax(tf.where(mask, input, tf.fill(x.shape, ABSENT)));
    save([log, mask]);
    const gradFunc = (dy: tf.Tensor, [y, kept]: tf.Tensor[]): tf.Tensor => {
      const given = tf.where(kept!, dy, tf.zerosLike(dy));
      return tf.sub(given, tf.mul(tf.exp(y!), tf.sum(given, -1, true)));
    };
    return { value: tf.where(mask, log, tf.fill(x.shape, Number.NEGATIVE_INFINITY)), gradFunc };
  });
  return op(x) as T;
}
