import { z } from "zod";
import {
  gaussian,
  layerNormSpecs,
  linear,
  linearSpecs,
  type ParameterSpec,
  type ParameterTensors,
  parameter,
} from "../nn/layers/parameters.js";
import { everyInterest, type SequenceBatch, visibleEvents } from "../nn/layers/sequence-batch.js";
import type { InterestNetwork, NetworkOutput } from "../nn/network.js";
import { layerNorm } from "../nn/tensor/layer-norm.js";
import { maskedSoftmax } from "../nn/tensor/masked-softmax.js";
import { tf } from "../nn/tensor/tfjs.js";
import { covariancePenalty } from "../nn/terms/covariance-penalty.js";
import { softmaxTerm } from "../nn/terms/softmax.js";
import type { NetworkDefinition } from "./definition.js";

export const sineSchema = z
  .strictObject({
    model: z.literal("sine").default("sine"),
    dim: z.int().min(2).default(64).describe("d"),
    prototypes: z.int().min(1).default(50).describe("L, concepts of the whole catalog"),
    interests: z.int().min(1).default(4).describe("K, concepts that a user activates"),
    maxHistory: z.int().min(1).default(50).describe("T, most recent events read"),
    temperature: z.number().positive().default(0.1).describe("tau of the aggregation"),
  })
  .refine(({ prototypes, interests }) => interests <= prototypes, {
    path: ["interests"],
    message: "a user cannot activate more concepts than there are prototypes",
  });

export type SineConfig = z.infer<typeof sineSchema>;

/** Keeps the length of a vector of zeros from being divided by. */
const LENGTH_EPSILON = 1e-12;

/**
 * SINE (Tan et al. 2021): of L concept prototypes the K closest to a summary of the history are the user's intentions;
 * each event is assigned to them (P(k|t)) and each weights the events (P(t|k)); what the prototypes say of the sequence
 * predicts the next intention, by which the interests become one vector.
 *
 * As in RecBole's port, events and interests are brought to unit length where the paper normalises layers: of two
 * normalised layers the products are so large that tau leaves one interest. Padding takes no part in any softmax, and
 * positions, counted from the newest event, enter the weights of events.
 */
export class SineNetwork implements InterestNetwork {
  readonly name = "sine";
  readonly readout = "max";
  readonly hasItemBias = false;
  readonly maxClusters = 0;
  readonly dim: number;
  readonly maxHistory: number;

  constructor(readonly config: SineConfig) {
    this.dim = config.dim;
    this.maxHistory = config.maxHistory;
  }

  specs(): ParameterSpec[] {
    const { dim, prototypes, interests, maxHistory } = this.config;
    const bare = { bias: false } as const;
    return [
      { name: "prototypes", shape: [prototypes, dim], init: gaussian(1 / Math.sqrt(dim)) },
      { name: "position", shape: [maxHistory, dim], init: gaussian(0.02) },
      ...linearSpecs("summary/hidden", dim, dim, bare),
      ...linearSpecs("summary/logits", dim, 1, bare),
      ...linearSpecs("intention", dim, dim, bare),
      ...linearSpecs("intention/logits", dim, 1, bare),
      ...layerNormSpecs("norm-prototype", dim),
      ...layerNormSpecs("norm-next", dim),
      ...linearSpecs("weights/hidden", dim, interests * dim, bare),
      { name: "weights/logits", shape: [interests, dim], init: gaussian(1 / Math.sqrt(dim)) },
    ];
  }

  forward(tensors: ParameterTensors, embedded: tf.Tensor3D, batch: SequenceBatch): NetworkOutput {
    const { size, length } = batch;
    const { dim, interests, temperature } = this.config;
    const norm = (x: tf.Tensor, name: string) =>
      layerNorm(x, parameter(tensors, `${name}/gamma`), parameter(tensors, `${name}/beta`));
    const visible = tf.tensor3d(visibleEvents(batch), [size, 1, length]);
    /** [B, T, 1] -> [B, 1, T] */
    const overEvents = (logits: tf.Tensor) =>
      maskedSoftmax(tf.reshape(logits, [size, 1, length]) as tf.Tensor3D, visible);

    const summarised = linear(tensors, "summary/logits", tf.tanh(linear(tensors, "summary/hidden", embedded)));
    const summary = tf.matMul(overEvents(summarised), embedded);
    const concepts = this.#activate(parameter(tensors, "prototypes") as tf.Tensor2D, summary);

    const intentions = linear(tensors, "intention", embedded);
    const assigned = tf.softmax(
      tf.matMul(unitLength(intentions), norm(concepts, "norm-prototype"), false, true),
    ) as tf.Tensor3D;

    const position = tf.slice(parameter(tensors, "position") as tf.Tensor2D, [0, 0], [length, dim]);
    const hidden = tf.tanh(linear(tensors, "weights/hidden", tf.add(embedded, position)));
    const logits = tf.sum(
      tf.mul(tf.reshape(hidden, [size, length, interests, dim]), parameter(tensors, "weights/logits")),
      -1,
    );
    const weights = tf.mul(
      maskedSoftmax(tf.transpose(logits, [0, 2, 1]) as tf.Tensor3D, visible),
      tf.transpose(assigned, [0, 2, 1]),
    );
    const vectors = unitLength(tf.matMul(weights, embedded));

    const sequence = tf.matMul(assigned, concepts);
    const next = linear(tensors, "intention/logits", tf.tanh(linear(tensors, "intention", sequence)));
    const intention = norm(tf.matMul(overEvents(next), sequence), "norm-next");
    const shares = tf.softmax(tf.div(tf.matMul(intention, vectors, false, true), temperature)) as tf.Tensor3D;
    const events = tf.matMul(shares, weights);
    return {
      vectors: tf.reshape(tf.matMul(shares, vectors), [size, 1, 1, dim]) as tf.Tensor4D,
      present: everyInterest(batch, 1),
      attention: tf.div(events, tf.add(tf.sum(events, -1, true), LENGTH_EPSILON)) as tf.Tensor3D,
      collaborative: 1,
    };
  }

  /** [B, K, d] the prototypes closest to the summaries [B, 1, d], the closest first, each under a gate of how close. */
  #activate(prototypes: tf.Tensor2D, summary: tf.Tensor): tf.Tensor3D {
    const { dim, interests } = this.config;
    const size = summary.shape[0]!;
    const scores = tf.matMul(tf.reshape(summary, [size, dim]) as tf.Tensor2D, prototypes, false, true);
    const closest = largest(scores.dataSync<"float32">(), prototypes.shape[0], interests);
    const chosen = tf.reshape(tf.gather(prototypes, tf.tensor1d(closest, "int32")), [size, interests, dim]);
    return tf.mul(chosen, tf.sigmoid(tf.matMul(chosen, summary, false, true))) as tf.Tensor3D;
  }
}

/** Columns of the `count` largest values of each row, largest first, equal ones by column. */
function largest(values: Float32Array, cols: number, count: number): Int32Array {
  const rows = values.length / cols;
  const found = new Int32Array(rows * count);
  for (let r = 0; r < rows; r++) {
    const row = values.subarray(r * cols, (r + 1) * cols);
    let kept = 0;
    for (let c = 0; c < cols; c++) {
      let at = kept;
      while (at > 0 && row[found[r * count + at - 1]!]! < row[c]!) at--;
      if (at === count) continue;
      kept = Math.min(count, kept + 1);
      found.copyWithin(r * count + at + 1, r * count + at, r * count + kept - 1);
      found[r * count + at] = c;
    }
  }
  return found;
}

/** Vectors of the last axis brought to length 1, those of zeros left. */
function unitLength(x: tf.Tensor): tf.Tensor {
  return tf.mul(x, tf.rsqrt(tf.add(tf.sum(tf.square(x), -1, true), LENGTH_EPSILON)));
}

export const sine: NetworkDefinition<SineConfig> = {
  kind: "network",
  name: "sine",
  paper: "Tan et al., Sparse-Interest Network for Sequential Recommendation, 2021",
  about:
    "the closest of many concept prototypes are a user's interests, joined into one vector; a penalty keeps prototypes apart",
  config: sineSchema,
  create: (config) => new SineNetwork(config),
  recipe: {
    batches: "cuts",
    terms: [softmaxTerm, covariancePenalty("prototypes")],
    presets: [{ name: "sine", settings: {} }],
  },
};
