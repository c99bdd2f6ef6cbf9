import { maskedSoftmax } from "../tensor/masked-softmax.js";
import { tf } from "../tensor/tfjs.js";
import { gaussian, linear, linearSpecs, type ParameterSpec, type ParameterTensors, parameter } from "./parameters.js";
import { type SequenceBatch, visibleEvents } from "./sequence-batch.js";

export interface PoolingShape {
  readonly dim: number;
  readonly interests: number;
  readonly maxHistory: number;
}

export function selfAttentivePoolingSpecs({ dim, interests, maxHistory }: PoolingShape): ParameterSpec[] {
  return [
    { name: "position", shape: [maxHistory, dim], init: gaussian(0.02) },
    ...linearSpecs("pool/hidden", dim, 4 * dim),
    ...linearSpecs("pool/logits", 4 * dim, interests),
  ];
}

/**
 * Weight of every event in each of K interests, `softmax_T(W2 tanh(W1 (x + p)))` (Lin et al. 2017; Cen et al. 2020,
 * equation 8), over the events that there are. Positions count from the newest event, so that the last one is the same
 * position for everybody.
 *
 * @param embedded [B, T, d]
 * @returns [B, K, T]
 */
export function selfAttentiveWeights(
  tensors: ParameterTensors,
  embedded: tf.Tensor3D,
  batch: SequenceBatch,
): tf.Tensor3D {
  const { size, length } = batch;
  const position = tf.slice(parameter(tensors, "position") as tf.Tensor2D, [0, 0], [length, embedded.shape[2]]);
  const hidden = tf.tanh(linear(tensors, "pool/hidden", tf.add(embedded, position)));
  const logits = tf.transpose(linear(tensors, "pool/logits", hidden), [0, 2, 1]) as tf.Tensor3D;
  return maskedSoftmax(logits, tf.tensor(visibleEvents(batch), [size, 1, length])) as tf.Tensor3D;
}
