import { z } from "zod";
import { checkHeads, HEADS_FAULT, headsDivideDim } from "../nn/layers/heads.js";
import {
  gaussian,
  layerNormSpecs,
  linear,
  linearSpecs,
  type ParameterSpec,
  type ParameterTensors,
  parameter,
} from "../nn/layers/parameters.js";
import { gatherPositions } from "../nn/layers/prefix-attention.js";
import { everyInterest, type SequenceBatch } from "../nn/layers/sequence-batch.js";
import { causalMask, type DropoutSource, selfAttention, selfAttentionSpecs, thinBy } from "../nn/layers/transformer.js";
import type { InterestNetwork, NetworkOutput } from "../nn/network.js";
import { layerNorm } from "../nn/tensor/layer-norm.js";
import { tf } from "../nn/tensor/tfjs.js";
import { softmaxTerm } from "../nn/terms/softmax.js";
import type { NetworkDefinition } from "./definition.js";

export const esasrecSchema = z
  .strictObject({
    model: z.literal("esasrec").default("esasrec"),
    dim: z.int().min(2).default(64).describe("d, width of item vectors and states"),
    maxHistory: z.int().min(1).default(50).describe("T, most recent events read"),
    layers: z.int().min(1).default(2).describe("LiGR blocks"),
    heads: z.int().min(1).default(2).describe("attention heads; divides dim"),
    widening: z.int().min(1).default(4).describe("width inside a block's feed-forward part, as a multiple of dim"),
  })
  .refine(headsDivideDim, HEADS_FAULT);

export type EsasrecConfig = z.infer<typeof esasrecSchema>;

/**
 * eSASRec (Tikhonovich et al. 2025): SASRec's causal transformer with the blocks of LiGR (Borisyuk et al. 2024), whose two
 * parts are let in by a gate of what comes in, `x + sigmoid(x W) * part(LN(x))`, and whose feed-forward part is SwiGLU
 * (Shazeer 2020), `(silu(x U) * x V) W`. The state after an event is the user's only vector then.
 *
 * Positions count from the newest event, so that the last one is the same position for everybody; where the released
 * code draws 256 negatives, training here goes over the whole catalog where that is small enough.
 */
export class EsasrecNetwork implements InterestNetwork {
  readonly name = "esasrec";
  readonly readout = "max";
  readonly hasItemBias = false;
  readonly maxClusters = 0;
  readonly dim: number;
  readonly maxHistory: number;

  /** @throws PrismrecError CONFIG_INVALID where `heads` does not divide `dim` */
  constructor(readonly config: EsasrecConfig) {
    checkHeads(config);
    this.dim = config.dim;
    this.maxHistory = config.maxHistory;
  }

  specs(): ParameterSpec[] {
    const { dim, layers, maxHistory, widening } = this.config;
    const bare = { bias: false } as const;
    const specs: ParameterSpec[] = [{ name: "position", shape: [maxHistory, dim], init: gaussian(0.02) }];
    for (let i = 0; i < layers; i++) {
      const block = `block${i}`;
      specs.push(
        ...layerNormSpecs(`${block}/norm1`, dim),
        ...selfAttentionSpecs(block, dim),
        ...linearSpecs(`${block}/gate1`, dim, dim),
        ...layerNormSpecs(`${block}/norm2`, dim),
        ...linearSpecs(`${block}/gated`, dim, widening * dim, bare),
        ...linearSpecs(`${block}/widen`, dim, widening * dim, bare),
        ...linearSpecs(`${block}/narrow`, widening * dim, dim, bare),
        ...linearSpecs(`${block}/gate2`, dim, dim),
      );
    }
    specs.push(...layerNormSpecs("norm-out", dim));
    return specs;
  }

  forward(tensors: ParameterTensors, embedded: tf.Tensor3D, batch: SequenceBatch, drop?: DropoutSource): NetworkOutput {
    const { size, length } = batch;
    const { dim, layers } = this.config;
    const thin = thinBy(drop);
    const norm = <T extends tf.Tensor>(x: T, name: string): T =>
      layerNorm(x, parameter(tensors, `${name}/gamma`), parameter(tensors, `${name}/beta`));
    const position = tf.slice(parameter(tensors, "position") as tf.Tensor2D, [0, 0], [length, dim]);
    const mask = tf.tensor(causalMask(batch), [size, 1, length, length], "float32");
    let x = thin(tf.add(embedded, position) as tf.Tensor3D);
    const letIn = (gate: string, part: tf.Tensor3D): void => {
      x = tf.add(x, tf.mul(tf.sigmoid(linear(tensors, gate, x)), thin(part)));
    };
    for (let i = 0; i < layers; i++) {
      const block = `block${i}`;
      const h = norm(x, `${block}/norm1`);
      letIn(`${block}/gate1`, selfAttention(tensors, block, h, mask, this.config, thin));
      const g = norm(x, `${block}/norm2`);
      const open = linear(tensors, `${block}/gated`, g);
      const wide = thin(tf.mul(tf.mul(open, tf.sigmoid(open)), linear(tensors, `${block}/widen`, g)));
      letIn(`${block}/gate2`, linear(tensors, `${block}/narrow`, wide) as tf.Tensor3D);
    }
    return {
      vectors: tf.expandDims(gatherPositions(norm(x, "norm-out"), batch), 2) as tf.Tensor4D,
      present: everyInterest(batch, 1),
      collaborative: 1,
    };
  }
}

export const esasrec: NetworkDefinition<EsasrecConfig> = {
  kind: "network",
  name: "esasrec",
  paper: "Tikhonovich et al., eSASRec: Enhancing Transformer-based Recommendations in a Modular Fashion, 2025",
  about:
    "a causal transformer of gated LiGR blocks with SwiGLU; every position predicts its next item under the full softmax",
  config: esasrecSchema,
  create: (config) => new EsasrecNetwork(config),
  recipe: {
    batches: "positions",
    terms: [softmaxTerm],
    presets: [
      {
        name: "esasrec",
        settings: { positions: 50, targets: 1, dropout: 0.2, initialItems: "random", maskPrefix: false },
      },
    ],
  },
};
