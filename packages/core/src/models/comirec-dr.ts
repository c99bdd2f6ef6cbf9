import { z } from "zod";
import { drawRoutingLogits, dynamicRouting, newestLogits, routingProblem } from "../nn/layers/dynamic-routing.js";
import { gaussian, type ParameterSpec, type ParameterTensors, parameter } from "../nn/layers/parameters.js";
import { everyInterest, type SequenceBatch } from "../nn/layers/sequence-batch.js";
import type { InterestNetwork, NetworkOutput, VectorGradients, VectorPass } from "../nn/network.js";
import { tf } from "../nn/tensor/tfjs.js";
import { bestInterestTerm } from "../nn/terms/best-interest.js";
import { dynamicRoutingGradientSync, dynamicRoutingSync } from "../ops/dynamic-routing/dynamic-routing.js";
import type { NetworkDefinition } from "./definition.js";

export const comirecDrSchema = z
  .strictObject({
    model: z.literal("comirec-dr").default("comirec-dr"),
    dim: z.int().min(2).default(64).describe("d"),
    interests: z.int().min(1).default(4).describe("K, capsules"),
    maxHistory: z.int().min(1).default(50).describe("T, most recent events read"),
    iterations: z.int().min(1).default(3).describe("R, routing rounds"),
    bilinear: z
      .enum(["interest", "position", "shared"])
      .default("interest")
      .describe("one map per interest, per interest and recency position (the original), or one for all (MIND)"),
    initialLogits: z
      .enum(["zeros", "noise"])
      .default("zeros")
      .describe("where routing starts; noise is drawn once from the seed and served unchanged"),
    logitsSeed: z.int().default(1).describe("seed of that noise"),
  })
  .refine((config) => config.bilinear !== "shared" || config.initialLogits === "noise" || config.interests === 1, {
    path: ["initialLogits"],
    message: "one shared map and zero logits leave all interests equal for ever: set initialLogits to noise",
  });

export type ComirecDrConfig = z.infer<typeof comirecDrSchema>;

/** ComiRec-DR (Cen et al. 2020): capsules by dynamic routing, scored by the best of them. */
export class ComirecDrNetwork implements InterestNetwork {
  readonly name = "comirec-dr";
  readonly readout = "max";
  readonly hasItemBias = false;
  readonly maxClusters = 0;
  readonly dim: number;
  readonly maxHistory: number;
  readonly #logits: Float32Array;

  constructor(readonly config: ComirecDrConfig) {
    this.dim = config.dim;
    this.maxHistory = config.maxHistory;
    this.#logits =
      config.initialLogits === "noise"
        ? drawRoutingLogits(config.logitsSeed, config.interests, config.maxHistory)
        : new Float32Array(config.interests * config.maxHistory);
  }

  specs(): ParameterSpec[] {
    const { dim, interests, maxHistory, bilinear } = this.config;
    if (bilinear === "position") {
      return [{ name: "bilinear", shape: [maxHistory, dim, interests * dim], init: gaussian(1 / Math.sqrt(dim)) }];
    }
    const outputs = bilinear === "shared" ? dim : interests * dim;
    return [{ name: "bilinear", shape: [dim, outputs], init: gaussian(1 / Math.sqrt(dim)) }];
  }

  forward(tensors: ParameterTensors, embedded: tf.Tensor3D, batch: SequenceBatch): NetworkOutput {
    const { interests, iterations } = this.config;
    const routed = dynamicRouting(embedded, parameter(tensors, "bilinear"), batch, {
      interests,
      iterations,
      initial: newestLogits(this.#logits, interests, batch.length),
    });
    return {
      vectors: tf.expandDims(routed.interests, 1) as tf.Tensor4D,
      present: everyInterest(batch, interests),
      attention: routed.coefficients,
      collaborative: interests,
    };
  }

  differentiate({ parameters, items, rows, batch, loss, allocate }: VectorPass): VectorGradients {
    const { interests, iterations } = this.config;
    const maps = parameters.get("bilinear")!;
    const problem = { ...routingProblem(batch, interests, items.data, maps), rows };
    const initial = newestLogits(this.#logits, interests, batch.length);
    const { vectors, sums, coefficients } = dynamicRoutingSync({ ...problem, iterations, initial }, allocate);
    const vectorGradient = loss(vectors);
    const gradients = dynamicRoutingGradientSync({ ...problem, coefficients, sums, vectorGradient }, allocate);
    return { parameters: new Map([["bilinear", gradients.maps]]), embedded: gradients.events };
  }
}

export const comirecDr: NetworkDefinition<ComirecDrConfig> = {
  kind: "network",
  name: "comirec-dr",
  paper: "Cen et al., Controllable Multi-Interest Framework for Recommendation, 2020 (dynamic routing)",
  about: "capsules by dynamic routing with a map for each interest; training follows the one closest to the target",
  config: comirecDrSchema,
  create: (config) => new ComirecDrNetwork(config),
  recipe: {
    batches: "cuts",
    terms: [bestInterestTerm],
    presets: [{ name: "comirec-dr", settings: { optimizer: { learningRate: 5e-3 } } }],
  },
};
