import {
  gatherRows,
  type InterestNetwork,
  type Matrix,
  mergeRows,
  type RowContribution,
  type SequenceBatch,
  softmaxLossSync,
  tensorOf,
  tf,
  withScope,
} from "@prismrec/core";
import type { CutTrainingConfig } from "../config.js";
import type { Objective, StepResult } from "../training/objective.js";
import type { RunSeeds } from "../training/seeds.js";
import type { TrainingSequences } from "../training/sequences.js";
import type { StepBuffers } from "../training/step-buffers.js";
import type { Trainable } from "../training/trainable.js";
import { differentiate, externalLoss } from "./gradients.js";
import { LogUniformSampler } from "./log-uniform.js";

/**
 * The classic multi-interest objective (Cen et al. 2020): each step cuts every sequence of the batch once at random, the
 * interest closest to the next item alone is trained, by sampled softmax over candidates that the batch shares.
 */
export class BestInterestObjective implements Objective {
  readonly #sampler: LogUniformSampler;
  #users: Uint32Array = new Uint32Array(0);

  constructor(
    private readonly config: CutTrainingConfig,
    private readonly network: InterestNetwork,
    private readonly trainable: Trainable,
    private readonly sequences: TrainingSequences,
    private readonly seeds: RunSeeds,
  ) {
    this.#sampler = new LogUniformSampler(trainable.items.rows);
  }

  beginEpoch(epoch: number): { readonly steps: number } {
    const { count } = this.sequences;
    this.#users = this.seeds.epoch(epoch).shuffle(Uint32Array.from({ length: count }, (_, user) => user));
    return { steps: Math.ceil(count / this.config.batchSize) };
  }

  step(index: number, step: number, buffers?: StepBuffers): StepResult {
    const { config, trainable, network } = this;
    const { items } = trainable;
    const random = this.seeds.step(step);
    const users = this.#users.subarray(index * config.batchSize, (index + 1) * config.batchSize);
    const cuts = users.map((user) => {
      const length = this.sequences.indptr[user + 1]! - this.sequences.indptr[user]!;
      return random.integer(Math.min(config.minHistory, length - 1), length);
    });
    const { batch, targets } = packCuts(this.sequences, users, cuts, network.maxHistory);
    const drawn = this.#sampler.draw(config.negativesPerUser * users.length, targets, random);
    const sampled = config.logQ ? drawn : { ids: drawn.ids };
    let itemGradient: RowContribution = { ids: new Uint32Array(0), data: new Float32Array(0) };
    const {
      loss,
      network: dense,
      embedded,
    } = differentiate(network, trainable.parameters, items, batch, undefined, buffers, (output) => {
      const count = output.vectors.shape[2];
      const offsets = onlyBest(output.vectors, items, targets);
      return externalLoss([output.vectors], ([vectors]) => {
        const result = softmaxLossSync(
          {
            interests: { data: vectors!, rows: users.length * count, cols: items.cols },
            interestsPerRow: count,
            offsets,
            items,
            targets: {
              indptr: new Uint32Array(users.length + 1).map((_, r) => r),
              indices: targets,
              rows: users.length,
              cols: items.rows,
            },
            readout: "max",
            sampled,
          },
          buffers?.gradients,
        );
        itemGradient = { ids: result.gradients.itemIds!, data: result.gradients.items };
        return { loss: result.loss, gradients: [result.gradients.interests] };
      });
    });
    const out = buffers?.floats("items", itemGradient.data.length + embedded.data.length);
    const { rows, data } = mergeRows([itemGradient, embedded], items.cols, out);
    return { loss, parts: { prediction: loss }, gradients: { network: dense, items: { rows, data } } };
  }
}

/**
 * Offsets [R * J] that leave each row the interest with the largest inner product with its target: the hard readout, in
 * which no gradient reaches the others.
 *
 * @param vectors [R, 1, J, d]
 * @param targets [R] rows of the item table
 */
export function onlyBest(vectors: tf.Tensor4D, items: Matrix, targets: Uint32Array): Float32Array {
  const [rows, , count, dim] = vectors.shape;
  const scores = withScope(() => {
    const wanted = tensorOf(gatherRows(items, targets).data, [rows, dim, 1]);
    return tf.matMul(tf.reshape(vectors, [rows, count, dim]), wanted).dataSync();
  });
  const offsets = new Float32Array(rows * count).fill(Number.NEGATIVE_INFINITY);
  for (let r = 0; r < rows; r++) {
    let best = r * count;
    for (let j = best + 1; j < (r + 1) * count; j++) if (scores[j]! > scores[best]!) best = j;
    offsets[best] = 0;
  }
  return offsets;
}

/** The last `maxLength` events before each cut, newest first, and the item at the cut as the row of its target. */
export function packCuts(
  sequences: TrainingSequences,
  users: Uint32Array,
  cuts: Uint32Array,
  maxLength: number,
): { readonly batch: SequenceBatch; readonly targets: Uint32Array } {
  const size = users.length;
  const lengths = cuts.map((cut) => Math.min(cut, maxLength));
  const length = lengths.reduce((longest, own) => Math.max(longest, own), 1);
  const items = new Uint32Array(size * length);
  const targets = new Uint32Array(size);
  for (let b = 0; b < size; b++) {
    const cut = sequences.indptr[users[b]!]! + cuts[b]!;
    for (let t = 0; t < lengths[b]!; t++) items[b * length + t] = sequences.items[cut - 1 - t]!;
    targets[b] = sequences.items[cut]! - 1;
  }
  const clusters = new Int16Array(size * length).fill(-1);
  const positions = new Int32Array(size);
  return {
    batch: { size, length, items, lengths, clusters, clusterCount: 0, positionCount: 1, positions },
    targets,
  };
}
