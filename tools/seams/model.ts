import type { NetworkDefinition } from "@prismrec/core/models";
import {
  bestInterestTerm,
  everyInterest,
  type InterestNetwork,
  identity,
  linear,
  linearSpecs,
  type NetworkOutput,
  type ParameterSpec,
  type ParameterTensors,
  type SequenceBatch,
  tf,
} from "@prismrec/core/nn";
import { z } from "zod";
import { shrinkageTerm } from "./term.js";

const schema = z.strictObject({
  model: z.literal("mean-pool").default("mean-pool"),
  dim: z.int().min(2).default(16).describe("d"),
  maxHistory: z.int().min(1).default(50).describe("T, most recent events read"),
});

export type MeanPoolConfig = z.infer<typeof schema>;

/** One interest: the mean of the history's item vectors, through a linear map that starts as the identity. */
class MeanPoolNetwork implements InterestNetwork {
  readonly name = "mean-pool";
  readonly readout = "max";
  readonly hasItemBias = false;
  readonly maxClusters = 0;
  readonly dim: number;
  readonly maxHistory: number;

  constructor({ dim, maxHistory }: MeanPoolConfig) {
    this.dim = dim;
    this.maxHistory = maxHistory;
  }

  specs(): ParameterSpec[] {
    return linearSpecs("map", this.dim, this.dim, { weight: identity, bias: false });
  }

  forward(tensors: ParameterTensors, embedded: tf.Tensor3D, batch: SequenceBatch): NetworkOutput {
    const { size, length, lengths } = batch;
    const weights = new Float32Array(size * length);
    for (let b = 0; b < size; b++) weights.fill(1 / lengths[b]!, b * length, b * length + lengths[b]!);
    const attention = tf.tensor3d(weights, [size, 1, length]);
    const pooled = linear(tensors, "map", tf.matMul(attention, embedded));
    return {
      vectors: tf.reshape(pooled, [size, 1, 1, this.dim]),
      present: everyInterest(batch, 1),
      attention,
      collaborative: 1,
    };
  }
}

export const meanPool: NetworkDefinition<MeanPoolConfig> = {
  kind: "network",
  name: "mean-pool",
  paper: "a toy: the mean of the history, as in YouTube's candidate generation without its layers",
  config: schema,
  create: (config) => new MeanPoolNetwork(config),
  recipe: {
    batches: "cuts",
    terms: [bestInterestTerm, shrinkageTerm],
    presets: [{ name: "mean-pool", settings: { optimizer: { learningRate: 0.01 } } }],
  },
};
