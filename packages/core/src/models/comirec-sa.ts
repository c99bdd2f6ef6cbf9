import { z } from "zod";
import type { ParameterSpec, ParameterTensors } from "../nn/layers/parameters.js";
import { selfAttentivePoolingSpecs, selfAttentiveWeights } from "../nn/layers/self-attentive-pooling.js";
import { everyInterest, type SequenceBatch } from "../nn/layers/sequence-batch.js";
import type { InterestNetwork, NetworkOutput } from "../nn/network.js";
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

/** ComiRec-SA (Cen et al. 2020): interests by self-attentive pooling of raw item vectors. */
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
    return selfAttentivePoolingSpecs(this.config);
  }

  forward(tensors: ParameterTensors, embedded: tf.Tensor3D, batch: SequenceBatch): NetworkOutput {
    const { interests } = this.config;
    const attention = selfAttentiveWeights(tensors, embedded, batch);
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
