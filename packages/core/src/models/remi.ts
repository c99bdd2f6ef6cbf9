import { z } from "zod";
import type { ParameterSpec, ParameterTensors } from "../nn/layers/parameters.js";
import { selfAttentivePoolingSpecs, selfAttentiveWeights } from "../nn/layers/self-attentive-pooling.js";
import { everyInterest, type SequenceBatch } from "../nn/layers/sequence-batch.js";
import type { InterestNetwork, NetworkOutput } from "../nn/network.js";
import { tf } from "../nn/tensor/tfjs.js";
import { hardNegativesTerm } from "../nn/terms/hard-negatives.js";
import { routingVarianceTerm } from "../nn/terms/routing-variance.js";
import type { NetworkDefinition } from "./definition.js";

export const remiSchema = z.strictObject({
  model: z.literal("remi").default("remi"),
  dim: z.int().min(2).default(64).describe("d"),
  interests: z.int().min(1).default(4).describe("K, attention heads"),
  maxHistory: z.int().min(1).default(50).describe("T, most recent events read"),
});

export type RemiConfig = z.infer<typeof remiSchema>;

/**
 * REMI (Xie et al. 2023): ComiRec-SA's interests under another loss, whose uniform negatives weigh the more the harder
 * they are for the interest that is learning, and a penalty on attention that leaves an interest one event alone.
 *
 * Unlike the released code, padding and the target itself are never drawn as negatives, positions count from the newest
 * event, and the penalty is a mean over users and interests.
 */
export class RemiNetwork implements InterestNetwork {
  readonly name = "remi";
  readonly readout = "max";
  readonly hasItemBias = false;
  readonly maxClusters = 0;
  readonly dim: number;
  readonly maxHistory: number;

  constructor(readonly config: RemiConfig) {
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

export const remi: NetworkDefinition<RemiConfig> = {
  kind: "network",
  name: "remi",
  paper: "Xie et al., Rethinking Multi-Interest Learning for Candidate Matching in Recommender Systems, 2023",
  about: "self-attentive interests, learned from the negatives that are hard for them, without one-event interests",
  config: remiSchema,
  create: (config) => new RemiNetwork(config),
  recipe: {
    batches: "cuts",
    terms: [hardNegativesTerm, routingVarianceTerm],
    presets: [{ name: "remi", settings: { candidates: "uniform" } }],
  },
};
