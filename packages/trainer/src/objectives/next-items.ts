import type { Random } from "@prismrec/core/base";
import type { CrowdSet } from "@prismrec/core/data";
import { type InterestNetwork, type NetworkOutput, tf } from "@prismrec/core/nn";
import {
  contrastiveLossSync,
  mergeRows,
  type RowContribution,
  type SampledCandidates,
  softmaxLossSync,
} from "@prismrec/core/ops";
import type { SequenceTrainingConfig } from "../config.js";
import type { Objective, StepResult } from "../training/objective.js";
import { dropoutSeeds, type RunSeeds } from "../training/seeds.js";
import {
  countPositions,
  epochBatches,
  type PredictionBatch,
  packPredictions,
  type SequenceCuts,
  type SequenceSampling,
} from "../training/sequence-batches.js";
import type { TrainingSequences } from "../training/sequences.js";
import type { StepBuffers } from "../training/step-buffers.js";
import { addRows, type StepGradients, type Trainable } from "../training/trainable.js";
import { crowdContrast } from "./crowd-contrast.js";
import { differentiate, externalLoss } from "./gradients.js";
import { LogUniformSampler } from "./log-uniform.js";

const MASS_EPSILON = 1e-4;

/**
 * Recipe V's objective: random positions of every sequence predict their next items, `mean -log p` under a softmax over
 * the catalog (or over log-uniform candidates, beyond `fullSoftmaxItems`), beside the contrast of synthesized users and,
 * for aligned fusions, of semantic and collaborative interests.
 */
export class NextItemsObjective implements Objective {
  readonly #sampling: SequenceSampling;
  readonly #sampler: LogUniformSampler | undefined;
  #batches: readonly SequenceCuts[] = [];
  /** Positions of a step of the epoch, on average. */
  #meanPositions = 1;
  #ramp = 0;

  constructor(
    private readonly config: SequenceTrainingConfig,
    private readonly network: InterestNetwork,
    private readonly trainable: Trainable,
    private readonly sequences: TrainingSequences,
    private readonly crowd: CrowdSet | undefined,
    private readonly seeds: RunSeeds,
  ) {
    this.#sampling = {
      batchSize: config.batchSize,
      maxHistory: network.maxHistory,
      maxClusters: network.maxClusters,
      positions: config.positions,
      targets: config.targets,
      semanticDropout: config.semanticDropout,
    };
    const itemCount = trainable.items.rows;
    this.#sampler = itemCount > config.fullSoftmaxItems ? new LogUniformSampler(itemCount) : undefined;
  }

  beginEpoch(epoch: number): { readonly steps: number } {
    this.#batches = epochBatches(this.sequences, this.#sampling, this.seeds.epoch(epoch));
    this.#meanPositions =
      this.#batches.reduce((sum, cuts) => sum + countPositions(cuts, this.#sampling), 0) / this.#batches.length;
    const { warmup, ramp } = this.config.crowd;
    this.#ramp = Math.min(1, Math.max(0, epoch - warmup) / ramp);
    return { steps: this.#batches.length };
  }

  step(index: number, step: number, buffers?: StepBuffers): StepResult {
    const { config, trainable } = this;
    const { items, bias } = trainable;
    const random = this.seeds.step(step);
    const cuts = this.#batches[index]!;
    const packed = packPredictions(this.sequences, cuts, this.#sampling, items.rows, random);
    // A batch of short sequences predicts from fewer positions: each of them counts as much as one of any other batch.
    const weight = countPositions(cuts, this.#sampling) / this.#meanPositions;
    const parts: Record<string, number> = {};
    let itemGradient: RowContribution = { ids: new Uint32Array(0), data: new Float32Array(0) };
    let biasGradient: Float32Array | undefined;
    const sampled = this.#candidates(packed, random);
    const drop = config.dropout > 0 ? { rate: config.dropout, seed: dropoutSeeds(random) } : undefined;
    const { loss, network, embedded } = differentiate(
      this.network,
      trainable.parameters,
      items,
      packed.batch,
      drop,
      buffers,
      (output) => {
        const count = output.vectors.shape[2];
        const tensors = output.offsets === undefined ? [output.vectors] : [output.vectors, output.offsets];
        const prediction = externalLoss(tensors, ([vectors, offsets]) => {
          const result = softmaxLossSync(
            {
              interests: { data: vectors!, rows: packed.targets.rows * count, cols: items.cols },
              interestsPerRow: count,
              ...(offsets === undefined ? {} : { offsets }),
              items,
              ...(bias === undefined ? {} : { itemBias: bias }),
              targets: packed.targets,
              ...(config.maskPrefix ? { mask: packed.prefix } : {}),
              readout: this.network.readout,
              ...(sampled === undefined ? {} : { sampled }),
            },
            buffers?.tapeGradients,
          );
          parts.prediction = weight * result.loss;
          const { interests, offsets: prior, items: ofItems, itemBias } = result.gradients;
          for (const gradient of [interests, prior, ofItems, itemBias]) scale(gradient, weight);
          itemGradient = { ids: result.gradients.itemIds ?? new Uint32Array(0), data: ofItems };
          biasGradient = itemBias;
          return { loss: parts.prediction, gradients: [interests, prior].slice(0, tensors.length) };
        });
        return this.#withAlignment(prediction, output, parts);
      },
    );
    const contributions = [embedded];
    let total = loss;
    if (this.crowd !== undefined && config.crowd.weight > 0 && this.#ramp > 0) {
      const weight = config.crowd.weight * this.#ramp;
      const contrast = crowdContrast(this.crowd, items, config.crowd, weight, random);
      parts.crowd = contrast.loss;
      total += weight * contrast.loss;
      contributions.push(contrast.gradient);
    }
    const gradients = this.#gather(network, itemGradient, contributions, biasGradient, sampled, buffers);
    return { loss: total, parts, gradients };
  }

  #gather(
    network: ReadonlyMap<string, Float32Array>,
    fromLoss: RowContribution,
    others: readonly RowContribution[],
    bias: Float32Array | undefined,
    sampled: SampledCandidates | undefined,
    buffers: StepBuffers | undefined,
  ): StepGradients {
    const { items, bias: itemBias } = this.trainable;
    const withBias = itemBias !== undefined && bias !== undefined;
    if (sampled === undefined) {
      addRows({ data: fromLoss.data, rows: items.rows, cols: items.cols }, others);
      return { network, items: { data: fromLoss.data }, ...(withBias ? { bias } : {}) };
    }
    const all = [fromLoss, ...others];
    const length = all.reduce((sum, part) => sum + part.data.length, 0);
    const { rows, data } = mergeRows(all, items.cols, buffers?.floats("items", length));
    if (!withBias) return { network, items: { rows, data } };
    const mergedBias = new Float32Array(rows.length);
    let at = 0;
    fromLoss.ids.forEach((row, i) => {
      // Both ascend, and every row of the loss is among the merged ones.
      while (rows[at] !== row) at++;
      mergedBias[at] = bias[i]!;
    });
    return { network, items: { rows, data }, bias: mergedBias };
  }

  #candidates({ targets }: PredictionBatch, random: Random): SampledCandidates | undefined {
    if (this.#sampler === undefined) return undefined;
    return this.#sampler.draw(this.config.negatives, targets.indices, random);
  }

  /** Adds the contrast of each backed semantic side with the collaborative interest it was fused into. */
  #withAlignment(prediction: tf.Scalar, output: NetworkOutput, parts: Record<string, number>): tf.Scalar {
    const { weight, temperature } = this.config.alignment;
    const { alignment } = output;
    if (alignment === undefined || weight === 0 || this.#ramp === 0) return prediction;
    const mass = alignment.mass.dataSync<"float32">();
    const rows = Array.from(mass.keys()).filter((i) => mass[i]! > MASS_EPSILON && output.present[i] === 1);
    if (rows.length < 2) return prediction;
    const dim = alignment.semantic.shape[3];
    const contrast = externalLoss([alignment.semantic, alignment.collaborativeVectors], ([semantic, collaborative]) => {
      const result = contrastiveLossSync({
        kind: "info-nce",
        queries: { data: pick(semantic!, rows, dim), rows: rows.length, cols: dim },
        positives: { data: pick(collaborative!, rows, dim), rows: rows.length, cols: dim },
        similarity: "cosine",
        temperature,
        direction: "symmetric",
      });
      parts.alignment = result.loss;
      return {
        loss: result.loss,
        gradients: [
          spread(result.gradients.queries, rows, dim, semantic!.length),
          spread(result.gradients.positives, rows, dim, collaborative!.length),
        ],
      };
    });
    return tf.add(prediction, tf.mul(contrast, weight * this.#ramp)) as tf.Scalar;
  }
}

function scale(values: Float32Array, factor: number): void {
  for (let i = 0; i < values.length; i++) values[i]! *= factor;
}

function pick(values: Float32Array, rows: readonly number[], dim: number): Float32Array {
  const picked = new Float32Array(rows.length * dim);
  for (const [i, row] of rows.entries()) picked.set(values.subarray(row * dim, (row + 1) * dim), i * dim);
  return picked;
}

function spread(values: Float32Array, rows: readonly number[], dim: number, length: number): Float32Array {
  const whole = new Float32Array(length);
  for (const [i, row] of rows.entries()) whole.set(values.subarray(i * dim, (i + 1) * dim), row * dim);
  return whole;
}
