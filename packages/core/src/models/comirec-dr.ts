import { z } from "zod";
import { createRandom } from "../random/random.js";
import { tf } from "../tensor/tfjs.js";
import { dynamicRouting } from "./layers/dynamic-routing.js";
import { splitHeads } from "./layers/heads.js";
import { gaussian, type ParameterSpec, type ParameterTensors, parameter } from "./layers/parameters.js";
import type { SequenceBatch } from "./layers/sequence-batch.js";
import type { InterestNetwork, NetworkOutput } from "./network.js";

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
  readonly #noise: Float32Array;

  constructor(readonly config: ComirecDrConfig) {
    this.dim = config.dim;
    this.maxHistory = config.maxHistory;
    this.#noise = new Float32Array(config.interests * config.maxHistory);
    if (config.initialLogits === "noise") {
      const random = createRandom(config.logitsSeed, "routing-logits");
      for (let i = 0; i < this.#noise.length; i++) this.#noise[i] = random.normal();
    }
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
    const { interests } = this.config;
    const { interests: capsules, coefficients } = dynamicRouting(
      this.#predictions(tensors, embedded, batch),
      this.#initial(batch.length),
      batch,
      this.config.iterations,
    );
    return {
      vectors: tf.expandDims(capsules, 1) as tf.Tensor4D,
      present: Uint8Array.from({ length: batch.size * interests }, (_, i) =>
        batch.lengths[Math.floor(i / interests)]! > 0 ? 1 : 0,
      ),
      attention: coefficients,
      collaborative: interests,
    };
  }

  /** `u` [B, K, T, d] */
  #predictions(tensors: ParameterTensors, embedded: tf.Tensor3D, { size, length }: SequenceBatch): tf.Tensor4D {
    const { bilinear, interests, dim } = this.config;
    const weight = parameter(tensors, "bilinear");
    if (bilinear === "position") {
      const perPosition = tf.slice(weight as tf.Tensor3D, [0, 0, 0], [length, dim, interests * dim]);
      const mapped = tf.matMul(tf.transpose(embedded, [1, 0, 2]), perPosition);
      return splitHeads(tf.transpose(mapped, [1, 0, 2]) as tf.Tensor3D, interests);
    }
    const mapped = tf.matMul(tf.reshape(embedded, [size * length, dim]) as tf.Tensor2D, weight as tf.Tensor2D);
    if (bilinear === "interest") {
      return splitHeads(tf.reshape(mapped, [size, length, interests * dim]) as tf.Tensor3D, interests);
    }
    return tf.tile(tf.reshape(mapped, [size, 1, length, dim]) as tf.Tensor4D, [1, interests, 1, 1]);
  }

  #initial(length: number): Float32Array {
    const { interests, maxHistory } = this.config;
    const initial = new Float32Array(interests * length);
    for (let k = 0; k < interests; k++) {
      initial.set(this.#noise.subarray(k * maxHistory, k * maxHistory + length), k * length);
    }
    return initial;
  }
}
