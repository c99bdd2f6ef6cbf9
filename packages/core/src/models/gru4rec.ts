import { z } from "zod";
import { gru, gruSpecs } from "../nn/layers/gru.js";
import { linear, linearSpecs, type ParameterSpec, type ParameterTensors } from "../nn/layers/parameters.js";
import { gatherPositions } from "../nn/layers/prefix-attention.js";
import { everyInterest, type SequenceBatch } from "../nn/layers/sequence-batch.js";
import type { DropoutSource } from "../nn/layers/transformer.js";
import type { InterestNetwork, NetworkOutput } from "../nn/network.js";
import { dropout } from "../nn/tensor/dropout.js";
import { tf } from "../nn/tensor/tfjs.js";
import { softmaxTerm } from "../nn/terms/softmax.js";
import type { NetworkDefinition } from "./definition.js";

export const gru4recSchema = z.strictObject({
  model: z.literal("gru4rec").default("gru4rec"),
  dim: z.int().min(2).default(64).describe("d, width of item vectors"),
  maxHistory: z.int().min(1).default(50).describe("T, most recent events read"),
  hidden: z.int().min(1).default(128).describe("width of the recurrent state"),
  layers: z.int().min(1).default(1).describe("recurrent layers"),
});

export type Gru4recConfig = z.infer<typeof gru4recSchema>;

/**
 * GRU4Rec (Hidasi et al. 2015; Hidasi and Karatzoglou 2018): a recurrent network over the events, oldest to newest. Its
 * state after an event, mapped to the width of the item vectors, is the user's only vector then.
 */
export class Gru4recNetwork implements InterestNetwork {
  readonly name = "gru4rec";
  readonly readout = "max";
  readonly hasItemBias = false;
  readonly maxClusters = 0;
  readonly dim: number;
  readonly maxHistory: number;

  constructor(readonly config: Gru4recConfig) {
    this.dim = config.dim;
    this.maxHistory = config.maxHistory;
  }

  specs(): ParameterSpec[] {
    const { dim, hidden, layers } = this.config;
    const specs: ParameterSpec[] = [];
    for (let i = 0; i < layers; i++) specs.push(...gruSpecs(`gru${i}`, i === 0 ? dim : hidden, hidden));
    return [...specs, ...linearSpecs("output", hidden, dim)];
  }

  forward(tensors: ParameterTensors, embedded: tf.Tensor3D, batch: SequenceBatch, drop?: DropoutSource): NetworkOutput {
    let states = embedded;
    for (let i = 0; i < this.config.layers; i++) {
      const thinned = drop === undefined ? states : dropout(states, drop.rate, drop.seed());
      states = gru(tensors, `gru${i}`, thinned, batch);
    }
    const read = gatherPositions(states, batch);
    return {
      vectors: tf.expandDims(linear(tensors, "output", read), 2) as tf.Tensor4D,
      present: everyInterest(batch, 1),
      collaborative: 1,
    };
  }
}

export const gru4rec: NetworkDefinition<Gru4recConfig> = {
  kind: "network",
  name: "gru4rec",
  paper:
    "Hidasi et al., Session-based Recommendations with Recurrent Neural Networks, 2015; Hidasi and Karatzoglou, Recurrent Neural Networks with Top-k Gains for Session-based Recommendations, 2018",
  about: "one vector from a gated recurrent network; every position predicts its next item under the full softmax",
  config: gru4recSchema,
  create: (config) => new Gru4recNetwork(config),
  recipe: {
    batches: "positions",
    terms: [softmaxTerm],
    presets: [
      {
        name: "gru4rec",
        settings: { positions: 50, targets: 1, dropout: 0.2, initialItems: "random", maskPrefix: false },
      },
    ],
  },
};
