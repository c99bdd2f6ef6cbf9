import { z } from "zod";
import {
  gaussian,
  linear,
  linearSpecs,
  type ParameterSpec,
  type ParameterTensors,
  parameter,
} from "../nn/layers/parameters.js";
import { everyInterest, type SequenceBatch, visibleEvents } from "../nn/layers/sequence-batch.js";
import type { InterestNetwork, NetworkOutput } from "../nn/network.js";
import { maskedSoftmax } from "../nn/tensor/masked-softmax.js";
import { tf } from "../nn/tensor/tfjs.js";
import { bestInterestTerm } from "../nn/terms/best-interest.js";
import type { NetworkDefinition } from "./definition.js";

export const comirecSaSchema = z.strictObject({
  model: z.literal("comirec-sa").default("comirec-sa"),
  dim: z.int().min(2).default(64).describe("d"),
  interests: z.int().min(1).default(4).describe("K, attention heads"),
  maxHistory: z.int().min(1).default(50).describe("T, most recent events read"),
});

export type ComirecSaConfig = z.infer<typeof comirecSaSchema>;

/**
 * ComiRec-SA (Cen et al. 2020): interests by self-attentive pooling of raw item vectors, `softmax_T(W2 tanh(W1 (x + p)))`.
 * Positions count from the newest event, so that the last one is the same position for everybody.
 */
export class ComirecSaNetwork implements InterestNetwork {
  readonly name = "comirec-sa";
  readonly readout = "max";
  readonly hasItemBias = false;
  readonly maxClusters = 0;
  readonly dim: number;
  readonly maxHistory: number;

  constructor(readonly config: ComirecSaConfig) {
    this.dim = config.dim;
    this.maxHistory = config.maxHistory;
  }

  specs(): ParameterSpec[] {
    const { dim, interests, maxHistory } = this.config;
    return [
      { name: "position", shape: [maxHistory, dim], init: gaussian(0.02) },
      ...linearSpecs("pool/hidden", dim, 4 * dim),
      ...linearSpecs("pool/logits", 4 * dim, interests),
    ];
  }

  forward(tensors: ParameterTensors, embedded: tf.Tensor3D, batch: SequenceBatch): NetworkOutput {
    const { size, length } = batch;
    const { dim, interests } = this.config;
    const position = tf.slice(parameter(tensors, "position") as tf.Tensor2D, [0, 0], [length, dim]);
    const hidden = tf.tanh(linear(tensors, "pool/hidden", tf.add(embedded, position)));
    const logits = tf.transpose(linear(tensors, "pool/logits", hidden), [0, 2, 1]) as tf.Tensor3D;
    const attention = maskedSoftmax(logits, tf.tensor(visibleEvents(batch), [size, 1, length]));
    return {
      vectors: tf.expandDims(tf.matMul(attention, embedded), 1) as tf.Tensor4D,
      present: everyInterest(batch, interests),
      attention,
      collaborative: interests,
    };
  }
}

export const comirecSa: NetworkDefinition<ComirecSaConfig> = {
  kind: "network",
  name: "comirec-sa",
  paper: "Cen et al., Controllable Multi-Interest Framework for Recommendation, 2020 (self-attentive)",
  about: "interests by self-attentive pooling; training follows the interest closest to the target",
  config: comirecSaSchema,
  create: (config) => new ComirecSaNetwork(config),
  recipe: {
    batches: "cuts",
    terms: [bestInterestTerm],
    presets: [{ name: "comirec-sa", settings: {} }],
  },
};
