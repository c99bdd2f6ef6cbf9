import { z } from "zod";
import { checkHeads, HEADS_FAULT, headsDivideDim } from "../nn/layers/heads.js";
import type { ParameterSpec, ParameterTensors } from "../nn/layers/parameters.js";
import { gatherPositions } from "../nn/layers/prefix-attention.js";
import { everyInterest, type SequenceBatch } from "../nn/layers/sequence-batch.js";
import { type DropoutSource, encodeHistories, transformerSpecs } from "../nn/layers/transformer.js";
import type { InterestNetwork, NetworkOutput } from "../nn/network.js";
import { tf } from "../nn/tensor/tfjs.js";
import { softmaxTerm } from "../nn/terms/softmax.js";
import type { NetworkDefinition } from "./definition.js";

export const sasrecSchema = z
  .strictObject({
    model: z.literal("sasrec").default("sasrec"),
    dim: z.int().min(2).default(64).describe("d, width of item vectors and states"),
    maxHistory: z.int().min(1).default(50).describe("T, most recent events read"),
    layers: z.int().min(1).default(2).describe("transformer blocks"),
    heads: z.int().min(1).default(2).describe("attention heads; divides dim"),
  })
  .refine(headsDivideDim, HEADS_FAULT);

export type SasrecConfig = z.infer<typeof sasrecSchema>;

/**
 * SASRec (Kang and McAuley 2018): one causal transformer, whose state after an event is the user's only vector then. The
 * blocks are this library's (`encodeHistories`): positions count from the newest event, LayerNorm comes first, GELU.
 */
export class SasrecNetwork implements InterestNetwork {
  readonly name = "sasrec";
  readonly readout = "max";
  readonly hasItemBias = false;
  readonly maxClusters = 0;
  readonly dim: number;
  readonly maxHistory: number;

  /** @throws PrismrecError CONFIG_INVALID where `heads` does not divide `dim` */
  constructor(readonly config: SasrecConfig) {
    checkHeads(config);
    this.dim = config.dim;
    this.maxHistory = config.maxHistory;
  }

  specs(): ParameterSpec[] {
    return transformerSpecs(this.config);
  }

  forward(tensors: ParameterTensors, embedded: tf.Tensor3D, batch: SequenceBatch, drop?: DropoutSource): NetworkOutput {
    const states = encodeHistories(tensors, embedded, batch, this.config, drop);
    return {
      vectors: tf.expandDims(gatherPositions(states, batch), 2) as tf.Tensor4D,
      present: everyInterest(batch, 1),
      collaborative: 1,
    };
  }
}

export const sasrec: NetworkDefinition<SasrecConfig> = {
  kind: "network",
  name: "sasrec",
  paper: "Kang and McAuley, Self-Attentive Sequential Recommendation, 2018",
  about: "one vector from a causal transformer; every position predicts its next item under the full softmax",
  config: sasrecSchema,
  create: (config) => new SasrecNetwork(config),
  recipe: {
    batches: "positions",
    terms: [softmaxTerm],
    presets: [
      {
        // Full cross-entropy in place of one negative: Klenitskiy and Vasilev, "Turning Dross Into Gold Loss", 2023.
        name: "sasrec",
        settings: { positions: 50, targets: 1, dropout: 0.2, initialItems: "random", maskPrefix: false },
      },
    ],
  },
};
