import { z } from "zod";
import { type Alignment, alignInterests, alignmentSpecs, clusterSizes } from "../nn/layers/alignment.js";
import { checkHeads, HEADS_FAULT, headsDivideDim } from "../nn/layers/heads.js";
import {
  linear,
  linearSpecs,
  type ParameterSpec,
  type ParameterTensors,
  parameter,
  zeros,
} from "../nn/layers/parameters.js";
import { gatherPositions, maskedLogSoftmax, prefixAttention } from "../nn/layers/prefix-attention.js";
import { everyInterest, type SequenceBatch } from "../nn/layers/sequence-batch.js";
import { type DropoutSource, encodeHistories, transformerSpecs } from "../nn/layers/transformer.js";
import type { InterestNetwork, NetworkOutput } from "../nn/network.js";
import { tf } from "../nn/tensor/tfjs.js";
import { alignmentTerm } from "../nn/terms/alignment.js";
import { crowdContrastTerm } from "../nn/terms/crowd-contrast.js";
import { softmaxTerm } from "../nn/terms/softmax.js";
import type { NetworkDefinition } from "./definition.js";

export const ldmiSchema = z
  .strictObject({
    model: z.literal("ldmi").default("ldmi"),
    dim: z.int().min(2).default(64).describe("d, width of item vectors, states and interests"),
    interests: z.int().min(1).default(4).describe("K, collaborative interests"),
    maxClusters: z
      .int()
      .min(0)
      .default(8)
      .describe("M, semantic clusters read per user; 0 switches the semantic side off"),
    maxHistory: z.int().min(1).default(50).describe("T, most recent events read"),
    layers: z.int().min(1).default(2).describe("transformer blocks"),
    heads: z.int().min(1).default(2).describe("attention heads; divides dim"),
    fusion: z
      .enum(["mixture", "gate", "add", "concat"])
      .default("mixture")
      .describe("how the semantic side joins: as interests of their own with a learned prior, or aligned into the K"),
    align: z
      .enum(["none", "hard", "soft", "sinkhorn"])
      .default("soft")
      .describe("assignment of clusters to interests, for every fusion but mixture"),
    alignTemperature: z.number().positive().default(0.2).describe("tau_a of the assignment"),
    alignSplit: z.number().min(0).default(1).describe("gamma: how much routing splits too coarse clusters"),
    semanticSource: z
      .enum(["states", "items"])
      .default("items")
      .describe("what the aligned semantic side pools: encoder states or raw item vectors"),
  })
  .refine(headsDivideDim, HEADS_FAULT);

/** Architecture of `ldmi`; the schema is the source of types, defaults and docs. */
export type LdmiConfig = z.infer<typeof ldmiSchema>;

/**
 * LLM-driven dual-level multi-interest model, user level, reconstructed from the paper's abstract (docs/concepts/method.md):
 * a causal transformer, K interests by self-attentive pooling, and one interest for each semantic cluster of the
 * visible history. With `fusion: "mixture"` all of them score an item together,
 * `logsumexp_j(<h_j, e_i> + b_i + log pi_j)`, under a prior pi that the user's own history decides; the other fusions
 * align the clusters into the K interests instead.
 */
export class LdmiNetwork implements InterestNetwork {
  readonly name = "ldmi";
  readonly readout = "log-sum-exp";
  readonly hasItemBias = true;
  readonly dim: number;
  readonly maxHistory: number;
  readonly maxClusters: number;

  /** @throws PrismrecError CONFIG_INVALID where `heads` does not divide `dim` */
  constructor(readonly config: LdmiConfig) {
    checkHeads(config);
    this.dim = config.dim;
    this.maxHistory = config.maxHistory;
    this.maxClusters = config.fusion !== "mixture" && config.align === "none" ? 0 : config.maxClusters;
  }

  specs(): ParameterSpec[] {
    const { dim, interests, fusion, align } = this.config;
    const specs = [
      ...transformerSpecs(this.config),
      ...linearSpecs("pool/hidden", dim, 4 * dim),
      ...linearSpecs("pool/logits", 4 * dim, interests),
      ...linearSpecs("context", dim, dim),
    ];
    if (fusion === "mixture") {
      specs.push(
        ...linearSpecs("cluster-pool/hidden", dim, 4 * dim),
        ...linearSpecs("cluster-pool/logits", 4 * dim, 1),
        ...linearSpecs("prior/collaborative", dim, interests),
        ...linearSpecs("prior/semantic", dim, 1, { weight: zeros }),
        { name: "prior/size", shape: [1], init: (values) => void values.fill(1) },
        { name: "prior/last", shape: [1], init: (values) => void values.fill(1) },
      );
    } else if (align !== "none") {
      specs.push(...alignmentSpecs({ ...this.config, fusion, align }));
    }
    return specs;
  }

  forward(tensors: ParameterTensors, embedded: tf.Tensor3D, batch: SequenceBatch, drop?: DropoutSource): NetworkOutput {
    const { config } = this;
    const { size, length, positionCount } = batch;
    const { dim, interests } = config;
    const states = encodeHistories(tensors, embedded, batch, config, drop);
    const last = gatherPositions(states, batch);
    const context = tf.expandDims(linear(tensors, "context", last), 2);
    const pooling = poolingLogits(tensors, "pool", states);

    if (config.fusion === "mixture") {
      const shared =
        batch.clusterCount > 0
          ? poolingLogits(tensors, "cluster-pool", states)
          : (tf.zeros([size, 1, length]) as tf.Tensor3D);
      const attention = prefixAttention(tf.concat([pooling, shared], 1) as tf.Tensor3D, batch);
      const count = interests + batch.clusterCount;
      const pooled = tf.reshape(tf.matMul(attention, states), [size, positionCount, count, dim]) as tf.Tensor4D;
      const { offsets, present } = this.#prior(tensors, pooled, last, batch);
      return { vectors: tf.add(pooled, context) as tf.Tensor4D, offsets, present, attention, collaborative: interests };
    }

    const alone: SequenceBatch = { ...batch, clusterCount: 0 };
    const padded = tf.concat([pooling, tf.zeros([size, 1, length])], 1) as tf.Tensor3D;
    const attention = prefixAttention(padded, alone);
    let vectors = tf.reshape(tf.matMul(attention, states), [size, positionCount, interests, dim]) as tf.Tensor4D;
    let alignment: Alignment | undefined;
    if (config.align !== "none" && batch.clusterCount > 0) {
      const source = config.semanticSource === "states" ? states : embedded;
      const routing = softmaxOverInterests(pooling);
      alignment = alignInterests(tensors, source, vectors, routing, batch, {
        ...config,
        fusion: config.fusion,
        align: config.align,
      });
      const collaborativeVectors = vectors;
      vectors = alignment.fused;
      return {
        vectors: tf.add(vectors, context) as tf.Tensor4D,
        present: everyInterest(batch, interests),
        attention,
        collaborative: interests,
        alignment: { ...alignment, collaborativeVectors },
      };
    }
    return {
      vectors: tf.add(vectors, context) as tf.Tensor4D,
      present: everyInterest(batch, interests),
      attention,
      collaborative: interests,
    };
  }

  /**
   * log pi [B, P, K + M]: a linear function of the last state for collaborative interests; for a cluster its size, whether
   * the last event is in it, and what its own pooled vector says.
   */
  #prior(
    tensors: ParameterTensors,
    pooled: tf.Tensor4D,
    last: tf.Tensor3D,
    batch: SequenceBatch,
  ): { offsets: tf.Tensor3D; present: Uint8Array } {
    const { interests, dim } = this.config;
    const { size, length, positionCount, positions, clusters, clusterCount } = batch;
    const count = interests + clusterCount;
    const collaborative = linear(tensors, "prior/collaborative", last) as tf.Tensor3D;
    const present = everyInterest(batch, count);
    if (clusterCount === 0) return { offsets: maskedLogSoftmax(collaborative, present), present };
    const sizes = clusterSizes(batch);
    const holdsLast = new Float32Array(sizes.length);
    const logSizes = new Float32Array(sizes.length);
    for (let i = 0; i < positions.length; i++) {
      if (positions[i]! < 0) continue;
      const newest = clusters[Math.floor(i / positionCount) * length + positions[i]!]!;
      for (let m = 0; m < clusterCount; m++) {
        const at = i * clusterCount + m;
        if (m === newest) holdsLast[at] = 1;
        if (sizes[at]! > 0) logSizes[at] = Math.log(sizes[at]!);
        else present[i * count + interests + m] = 0;
      }
    }
    const shape: [number, number, number] = [size, positionCount, clusterCount];
    const semanticVectors = tf.slice(pooled, [0, 0, interests, 0], [size, positionCount, clusterCount, dim]);
    const semantic = tf.addN([
      tf.mul(parameter(tensors, "prior/size"), tf.tensor(logSizes, shape)),
      tf.mul(parameter(tensors, "prior/last"), tf.tensor(holdsLast, shape)),
      tf.reshape(linear(tensors, "prior/semantic", semanticVectors), shape),
    ]);
    const logits = tf.concat([collaborative, semantic], 2) as tf.Tensor3D;
    return { offsets: maskedLogSoftmax(logits, present), present };
  }
}

/** [B, T, d] -> [B, rows, T]: `W2 tanh(W1 x)` of every event (Lin et al. 2017). */
function poolingLogits(tensors: ParameterTensors, name: string, states: tf.Tensor3D): tf.Tensor3D {
  const logits = linear(tensors, `${name}/logits`, tf.tanh(linear(tensors, `${name}/hidden`, states)));
  return tf.transpose(logits, [0, 2, 1]) as tf.Tensor3D;
}

function softmaxOverInterests(logits: tf.Tensor3D): tf.Tensor3D {
  const exponentials = tf.exp(tf.sub(logits, tf.max(logits, 1, true)));
  return tf.add(tf.div(exponentials, tf.sum(exponentials, 1, true)), 1e-9) as tf.Tensor3D;
}

const SHORT_MEDIAN = 10;
/** Share of events within a minute of the one before from which baskets are tried. */
const MANY_IN_BASKETS = 0.3;

export const ldmi: NetworkDefinition<LdmiConfig> = {
  kind: "network",
  name: "ldmi",
  paper: "LLM-Driven Dual-Level Multi-Interest Modeling for Recommendation",
  about:
    "interests of the events and of a language model's clusters in one mixture under a learned prior; learns from a synthesized crowd too",
  config: ldmiSchema,
  reads: ["clusters", "crowd"],
  create: (config) => new LdmiNetwork(config),
  recipe: {
    batches: "positions",
    terms: [softmaxTerm, alignmentTerm, crowdContrastTerm],
    presets: [
      {
        // For sparse, short histories.
        name: "sparse-short",
        fits: ({ medianLength }) => medianLength < SHORT_MEDIAN,
        settings: { network: { maxHistory: 20, layers: 1 }, batchSize: 128, positions: 4, targets: 3 },
      },
      // Recipe V, for histories of ten events and more.
      {
        name: "recipe-v",
        settings: { network: { maxHistory: 50, layers: 2 }, batchSize: 64, positions: 10, targets: 5 },
      },
    ],
    alternatives: [
      {
        name: "baskets without order",
        settings: { order: "baskets" },
        fits: ({ withinMinute }) => withinMinute >= MANY_IN_BASKETS,
      },
      { name: "no crowd", settings: { crowd: { weight: 0 } }, without: "crowd" },
      { name: "no semantic interests", settings: { network: { maxClusters: 0 } }, without: "clusters" },
      { name: "dropout .5", settings: { dropout: 0.5 } },
      { name: "next item only", settings: { targets: 1 } },
      { name: "one interest", settings: { network: { interests: 1 } } },
      { name: "dropout .1", settings: { dropout: 0.1 } },
      { name: "next ten items", settings: { targets: 10 } },
      { name: "eight interests", settings: { network: { interests: 8 } } },
      { name: "a third of the crowd", settings: { crowd: { weight: 0.3 } }, without: "crowd" },
      { name: "histories of 100", settings: { network: { maxHistory: 100 } } },
      { name: "histories of 10", settings: { network: { maxHistory: 10 } } },
    ],
  },
};
