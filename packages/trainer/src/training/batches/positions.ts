import type { Random } from "@prismrec/core/base";
import type { InterestNetwork } from "@prismrec/core/nn";
import type { PositionsConfig } from "../../config.js";
import { dropoutSeeds, type RunSeeds } from "../seeds.js";
import type { TrainingSequences } from "../sequences.js";
import type { BatchSource, DrawnBatch } from "./batch-source.js";
import { EpochOrder } from "./epoch-order.js";
import { LogUniformSampler } from "./log-uniform.js";
import {
  countPositions,
  epochBatches,
  packPredictions,
  type SequenceCuts,
  type SequenceSampling,
} from "./pack-positions.js";

/** Random positions of every sequence predict their next items. */
export class PositionBatches implements BatchSource {
  readonly #sampling: SequenceSampling;
  readonly #sampler: LogUniformSampler | undefined;
  readonly #order: EpochOrder;
  /** As the epoch reads them. */
  #sequences: TrainingSequences;
  #batches: readonly SequenceCuts[] = [];
  /** Positions of a step of the epoch, on average. */
  #meanPositions = 1;

  constructor(
    private readonly config: PositionsConfig,
    reader: InterestNetwork,
    sequences: TrainingSequences,
    private readonly itemCount: number,
    private readonly seeds: RunSeeds,
  ) {
    const { batchSize, positions, targets, semanticDropout } = config;
    const { maxHistory, maxClusters } = reader;
    this.#sampling = { batchSize, maxHistory, maxClusters, positions, targets, semanticDropout, reader };
    this.#order = new EpochOrder(sequences, config.order);
    this.#sequences = sequences;
    this.#sampler = itemCount > config.fullSoftmaxItems ? new LogUniformSampler(itemCount) : undefined;
  }

  beginEpoch(epoch: number): { readonly steps: number } {
    this.#sequences = this.#order.draw(this.seeds.order(epoch));
    this.#batches = epochBatches(this.#sequences, this.#sampling, this.seeds.epoch(epoch));
    this.#meanPositions =
      this.#batches.reduce((sum, cuts) => sum + countPositions(cuts, this.#sampling), 0) / this.#batches.length;
    return { steps: this.#batches.length };
  }

  draw(index: number, random: Random): DrawnBatch {
    const { dropout, maskPrefix, negatives } = this.config;
    const cuts = this.#batches[index]!;
    const { batch, targets, prefix } = packPredictions(this.#sequences, cuts, this.#sampling, this.itemCount, random);
    const sampled = this.#sampler?.draw(negatives, targets.indices, random);
    return {
      batch,
      targets,
      // A batch of short sequences predicts from fewer positions: each counts as much as one of any other batch.
      weight: countPositions(cuts, this.#sampling) / this.#meanPositions,
      ...(maskPrefix ? { mask: prefix } : {}),
      ...(sampled === undefined ? {} : { sampled }),
      ...(dropout > 0 ? { drop: { rate: dropout, seed: dropoutSeeds(random) } } : {}),
    };
  }
}
