import { tf } from "../../tensor/tfjs.js";
import type { SequenceBatch } from "./sequence-batch.js";

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
  const layout = new PrefixLayout(batch, logits.shape[1] - 1);
  const op = tf.customGrad((input) => {
    const weights = layout.forward((input as tf.Tensor).dataSync<"float32">());
    return {
      value: tf.tensor(weights, [batch.size, batch.positionCount * layout.interests, batch.length], "float32"),
      gradFunc: (dy: tf.Tensor) =>
        tf.tensor(layout.backward(weights, dy.dataSync<"float32">()), logits.shape, "float32"),
    };
  });
  return op(logits) as tf.Tensor3D;
}

class PrefixLayout {
  readonly interests: number;
  readonly #batch: SequenceBatch;
  readonly #collaborative: number;

  constructor(batch: SequenceBatch, collaborative: number) {
    this.#batch = batch;
    this.#collaborative = collaborative;
    this.interests = collaborative + batch.clusterCount;
  }

  forward(logits: Float32Array): Float32Array {
    const { size, length, lengths, clusters, clusterCount, positionCount, positions } = this.#batch;
    const { interests } = this;
    const collaborative = this.#collaborative;
    const weights = new Float32Array(size * positionCount * interests * length);
    const exponentials = new Float64Array((collaborative + 1) * length);
    const running = new Float64Array((collaborative + clusterCount) * length);
    for (let b = 0; b < size; b++) {
      const end = lengths[b]!;
      const rows = collaborative + (clusterCount > 0 ? 1 : 0);
      for (let r = 0; r < rows; r++) {
        const base = (b * (collaborative + 1) + r) * length;
        let top = -Infinity;
        for (let t = 0; t < end; t++) top = Math.max(top, logits[base + t]!);
        // Doubles reach 1e-308, so an old event keeps its weight unless it trails the newest by 700 in the logit.
        for (let t = 0; t < end; t++) exponentials[r * length + t] = Math.exp(logits[base + t]! - top) + 1e-300;
      }
      running.fill(0);
      for (let k = 0; k < collaborative; k++) {
        let sum = 0;
        for (let t = end - 1; t >= 0; t--) {
          sum += exponentials[k * length + t]!;
          running[k * length + t] = sum;
        }
      }
      for (let m = 0; m < clusterCount; m++) {
        let sum = 0;
        for (let t = end - 1; t >= 0; t--) {
          if (clusters[b * length + t] === m) sum += exponentials[collaborative * length + t]!;
          running[(collaborative + m) * length + t] = sum;
        }
      }
      for (let p = 0; p < positionCount; p++) {
        const start = positions[b * positionCount + p]!;
        if (start < 0) continue;
        const row = (b * positionCount + p) * interests;
        for (let k = 0; k < collaborative; k++) {
          const scale = 1 / running[k * length + start]!;
          for (let t = start; t < end; t++) weights[(row + k) * length + t] = exponentials[k * length + t]! * scale;
        }
        if (clusterCount === 0) continue;
        for (let t = start; t < end; t++) {
          const m = clusters[b * length + t]!;
          if (m < 0) continue;
          weights[(row + collaborative + m) * length + t] =
            exponentials[collaborative * length + t]! / running[(collaborative + m) * length + start]!;
        }
      }
    }
    return weights;
  }

  /** Softmax backward of every row, `w (dw - <w, dw>)`, summed over positions and, for the shared row, clusters. */
  backward(weights: Float32Array, dWeights: Float32Array): Float32Array {
    const { size, length, lengths, clusters, clusterCount, positionCount, positions } = this.#batch;
    const { interests } = this;
    const collaborative = this.#collaborative;
    const dLogits = new Float32Array(size * (collaborative + 1) * length);
    const inner = new Float64Array(interests);
    for (let b = 0; b < size; b++) {
      const end = lengths[b]!;
      for (let p = 0; p < positionCount; p++) {
        const start = positions[b * positionCount + p]!;
        if (start < 0) continue;
        const row = (b * positionCount + p) * interests;
        for (let k = 0; k < collaborative; k++) {
          const from = (row + k) * length;
          const to = (b * (collaborative + 1) + k) * length;
          let dot = 0;
          for (let t = start; t < end; t++) dot += weights[from + t]! * dWeights[from + t]!;
          for (let t = start; t < end; t++) {
            dLogits[to + t] = dLogits[to + t]! + weights[from + t]! * (dWeights[from + t]! - dot);
          }
        }
        if (clusterCount === 0) continue;
        inner.fill(0);
        for (let t = start; t < end; t++) {
          const m = clusters[b * length + t]!;
          if (m < 0) continue;
          const at = (row + collaborative + m) * length + t;
          inner[m] = inner[m]! + weights[at]! * dWeights[at]!;
        }
        const to = (b * (collaborative + 1) + collaborative) * length;
        for (let t = start; t < end; t++) {
          const m = clusters[b * length + t]!;
          if (m < 0) continue;
          const at = (row + collaborative + m) * length + t;
          dLogits[to + t] = dLogits[to + t]! + weights[at]! * (dWeights[at]! - inner[m]!);
        }
      }
    }
    return dLogits;
  }
}

/**
 * Rows of `x` at the predicted positions: [B, T, d] -> [B, P, d], zero for unused positions.
 */
export function gatherPositions(x: tf.Tensor3D, batch: SequenceBatch): tf.Tensor3D {
  const { size, length, positionCount, positions } = batch;
  const dim = x.shape[2];
  const op = tf.customGrad((input) => {
    const from = (input as tf.Tensor).dataSync<"float32">();
    const rows = new Float32Array(size * positionCount * dim);
    for (let i = 0; i < positions.length; i++) {
      if (positions[i]! < 0) continue;
      const source = (Math.floor(i / positionCount) * length + positions[i]!) * dim;
      rows.set(from.subarray(source, source + dim), i * dim);
    }
    const gradFunc = (dy: tf.Tensor): tf.Tensor => {
      const dRows = dy.dataSync<"float32">();
      const dx = new Float32Array(size * length * dim);
      for (let i = 0; i < positions.length; i++) {
        if (positions[i]! < 0) continue;
        const target = (Math.floor(i / positionCount) * length + positions[i]!) * dim;
        for (let j = 0; j < dim; j++) dx[target + j] = dx[target + j]! + dRows[i * dim + j]!;
      }
      return tf.tensor(dx, x.shape, "float32");
    };
    return { value: tf.tensor(rows, [size, positionCount, dim], "float32"), gradFunc };
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
  const columns = x.shape[x.shape.length - 1]!;
  const op = tf.customGrad((input) => {
    const from = (input as tf.Tensor).dataSync<"float32">();
    const result = new Float32Array(from.length).fill(-Infinity);
    for (let start = 0; start < from.length; start += columns) {
      let top = -Infinity;
      for (let i = start; i < start + columns; i++) if (present[i]) top = Math.max(top, from[i]!);
      let sum = 0;
      for (let i = start; i < start + columns; i++) if (present[i]) sum += Math.exp(from[i]! - top);
      const normaliser = top + Math.log(sum);
      for (let i = start; i < start + columns; i++) if (present[i]) result[i] = from[i]! - normaliser;
    }
    const gradFunc = (dy: tf.Tensor): tf.Tensor => {
      const d = dy.dataSync<"float32">();
      const dx = new Float32Array(from.length);
      for (let start = 0; start < from.length; start += columns) {
        let sum = 0;
        for (let i = start; i < start + columns; i++) if (present[i]) sum += d[i]!;
        for (let i = start; i < start + columns; i++) if (present[i]) dx[i] = d[i]! - Math.exp(result[i]!) * sum;
      }
      return tf.tensor(dx, x.shape, "float32");
    };
    return { value: tf.tensor(result, x.shape, "float32"), gradFunc };
  });
  return op(x) as T;
}
