import type { Matrix } from "@prismrec/core/base";
import type { InterestNetwork, SequenceBatch } from "@prismrec/core/nn";
import { mergeRows, type RowContribution, softmaxLossSync } from "@prismrec/core/ops";
import type { CutTrainingConfig } from "../config.js";
import type { Objective, StepResult } from "../training/objective.js";
import type { RunSeeds } from "../training/seeds.js";
import type { TrainingSequences } from "../training/sequences.js";
import type { StepBuffers } from "../training/step-buffers.js";
import type { Trainable } from "../training/trainable.js";
import { differentiateVectors } from "./gradients.js";
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
    const indptr = new Uint32Array(users.length + 1).map((_, row) => row);
    const {
      loss,
      network: dense,
      embedded,
    } = differentiateVectors(network, trainable.parameters, items, batch, buffers, (vectors, allocate) => {
      const interests = { data: vectors, rows: vectors.length / items.cols, cols: items.cols };
      const result = softmaxLossSync(
        {
          interests,
          interestsPerRow: interests.rows / users.length,
          offsets: onlyBest(interests, items, targets),
          items,
          targets: { indptr, indices: targets, rows: users.length, cols: items.rows },
          readout: "max",
          sampled,
        },
        allocate,
      );
      itemGradient = { ids: result.gradients.itemIds!, data: result.gradients.items };
      return { loss: result.loss, gradient: result.gradients.interests };
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
 * @param interests [R * J, d]
 * @param targets [R] rows of the item table
 */
export function onlyBest(interests: Matrix, items: Matrix, targets: Uint32Array): Float32Array {
  const count = interests.rows / targets.length;
  const offsets = new Float32Array(interests.rows).fill(Number.NEGATIVE_INFINITY);
  for (let r = 0; r < targets.length; r++) {
    let best = r * count;
    let highest = Number.NEGATIVE_INFINITY;
    for (let j = r * count; j < (r + 1) * count; j++) {
      const score = innerProduct(interests, j, items, targets[r]!);
      if (score <= highest) continue;
      best = j;
      highest = score;
    }
    offsets[best] = 0;
  }
  return offsets;
}

function innerProduct(a: Matrix, i: number, b: Matrix, j: number): number {
  const [from, to] = [i * a.cols, j * b.cols];
  let sum = 0;
  for (let c = 0; c < a.cols; c++) sum += a.data[from + c]! * b.data[to + c]!;
  return sum;
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
