import { z } from "zod";
import { adaptiveRouting, interestCount } from "../nn/layers/adaptive-routing.js";
import { drawRoutingLogits, newestLogits } from "../nn/layers/dynamic-routing.js";
import {
  gaussian,
  linear,
  linearSpecs,
  type ParameterSpec,
  type ParameterTensors,
  parameter,
} from "../nn/layers/parameters.js";
import type { SequenceBatch } from "../nn/layers/sequence-batch.js";
import type { InterestNetwork, NetworkOutput } from "../nn/network.js";
import { tf } from "../nn/tensor/tfjs.js";
import { labelAwareTerm } from "../nn/terms/label-aware.js";
import type { NetworkDefinition } from "./definition.js";

export const mindSchema = z.strictObject({
  model: z.literal("mind").default("mind"),
  dim: z.int().min(2).default(64).describe("d"),
  interests: z.int().min(1).default(4).describe("K, most interests of a user"),
  maxHistory: z.int().min(1).default(50).describe("T, most recent events read"),
  iterations: z.int().min(1).default(3).describe("R, routing rounds"),
  logitsSeed: z.int().default(1).describe("seed of the logits that routing starts from"),
});

export type MindConfig = z.infer<typeof mindSchema>;

/**
 * MIND (Li et al. 2019): interests by behaviour-to-interest dynamic routing with one map for all of them, as many as the
 * history has room for, then a ReLU layer and a linear one. Where routing starts is Gaussian noise that breaks their
 * symmetry; here it is drawn once from a seed, by interest and recency, so that serving routes as training did.
 */
export class MindNetwork implements InterestNetwork {
  readonly name = "mind";
  readonly readout = "max";
  readonly hasItemBias = false;
  readonly maxClusters = 0;
  readonly dim: number;
  readonly maxHistory: number;
  /** [K, maxHistory] where routing starts. */
  readonly initialLogits: Float32Array;

  constructor(readonly config: MindConfig) {
    this.dim = config.dim;
    this.maxHistory = config.maxHistory;
    this.initialLogits = drawRoutingLogits(config.logitsSeed, config.interests, config.maxHistory);
  }

  specs(): ParameterSpec[] {
    const { dim } = this.config;
    return [
      { name: "bilinear", shape: [dim, dim], init: gaussian(1 / Math.sqrt(dim)) },
      ...linearSpecs("hidden", dim, 4 * dim),
      ...linearSpecs("output", 4 * dim, dim),
    ];
  }

  forward(tensors: ParameterTensors, embedded: tf.Tensor3D, batch: SequenceBatch): NetworkOutput {
    const { interests, iterations } = this.config;
    const { size, length, lengths } = batch;
    const initial = newestLogits(this.initialLogits, interests, length);
    const map = parameter(tensors, "bilinear") as tf.Tensor2D;
    const routed = adaptiveRouting(embedded, map, batch, { interests, iterations, initial });
    const vectors = linear(tensors, "output", tf.relu(linear(tensors, "hidden", routed.interests)));
    const present = new Uint8Array(size * interests);
    for (let b = 0; b < size; b++)
      present.fill(1, b * interests, b * interests + interestCount(lengths[b]!, interests));
    return {
      vectors: tf.expandDims(vectors, 1) as tf.Tensor4D,
      offsets: tf.tensor3d(
        Float32Array.from(present, (is) => (is === 1 ? 0 : Number.NEGATIVE_INFINITY)),
        [size, 1, interests],
      ),
      present,
      attention: routed.coefficients,
      collaborative: interests,
    };
  }
}

export const mind: NetworkDefinition<MindConfig> = {
  kind: "network",
  name: "mind",
  paper: "Li et al., Multi-Interest Network with Dynamic Routing for Recommendation at Tmall, 2019",
  about: "capsules by dynamic routing, more of them for longer histories; training attends to them by the label",
  config: mindSchema,
  create: (config) => new MindNetwork(config),
  recipe: {
    batches: "cuts",
    terms: [labelAwareTerm],
    presets: [{ name: "mind", settings: {} }],
  },
};
