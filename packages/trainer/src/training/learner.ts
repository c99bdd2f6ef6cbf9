import { type Matrix, PrismrecError } from "@prismrec/core/base";
import type { CrowdSet } from "@prismrec/core/data";
import { createNetwork } from "@prismrec/core/models";
import { type InterestNetwork, type ItemTower, idTower, sumTower, textTower, withBackend } from "@prismrec/core/nn";
import { chooseDevice, type DeviceChoice } from "@prismrec/core/ops";
import { definitionOf, learnsFromPositions, type TrainConfig } from "../config.js";
import { CutBatches } from "./batches/cuts.js";
import { PositionBatches } from "./batches/positions.js";
import { Objective } from "./objective.js";
import { RunSeeds } from "./seeds.js";
import type { TrainingSequences } from "./sequences.js";
import { StepBuffers } from "./step-buffers.js";
import { Trainable } from "./trainable.js";

export interface LearnerInput {
  readonly sequences: TrainingSequences;
  /** [N, d] where the item vectors start; changed in place. */
  readonly items: Matrix;
  /** [N] where the item bias starts, read where the network has one; changed in place. */
  readonly bias?: Float32Array;
  /** Synthesized users with their clusters; absent: no crowd contrast. */
  readonly crowd?: CrowdSet;
  /** [N, t] given vectors of the items, for the towers that map them. */
  readonly itemVectors?: Matrix;
}

export interface LearnerStep {
  readonly loss: number;
  /** The terms of the loss. */
  readonly parts: Readonly<Record<string, number>>;
  /** Of all gradients together, before clipping. */
  readonly gradientNorm: number;
}

/** A network, what training changes of it, and the objective by which: `step` is one whole training step. */
export class Learner {
  readonly network: InterestNetwork;
  readonly trainable: Trainable;
  readonly objective: Objective;
  /** Where the losses run. */
  readonly device: DeviceChoice;
  readonly #buffers = new StepBuffers();

  /** @throws PrismrecError DEVICE_UNAVAILABLE; CONFIG_INVALID and SHAPE_MISMATCH for a tower without its vectors */
  constructor(
    private readonly config: TrainConfig,
    { sequences, items, bias, crowd, itemVectors }: LearnerInput,
  ) {
    this.device = chooseDevice(config.device);
    const seeds = new RunSeeds(config.seed);
    this.network = createNetwork(config.network);
    const tower = towerOf(config, itemVectors, items.rows);
    this.trainable = new Trainable(this.network, items, this.network.hasItemBias ? bias : undefined, seeds.initial(), {
      ...(tower === undefined ? {} : { tower }),
    });
    const batches = learnsFromPositions(config)
      ? new PositionBatches(config, this.network, sequences, items.rows, seeds)
      : new CutBatches(config, this.network, sequences, items.rows, seeds);
    const artifacts = crowd === undefined ? {} : { crowd };
    const { terms } = definitionOf(config).recipe;
    this.objective = new Objective(
      terms,
      config,
      this.network,
      this.trainable,
      batches,
      artifacts,
      seeds,
      this.device.device,
    );
  }

  /** Fixes the batches of an epoch, counted from 1. */
  beginEpoch(epoch: number): { readonly steps: number } {
    return this.objective.beginEpoch(epoch);
  }

  /**
   * Draws a batch of the epoch begun, finds loss and gradients, and updates the weights, on the backend of what it trains.
   *
   * @param index in the epoch, from 0
   * @param step of the run, from 0
   * @throws PrismrecError NON_FINITE for a loss, TRAINING_DIVERGED for a gradient that is not finite; no weight has
   *   changed then
   */
  step(index: number, step: number): LearnerStep {
    try {
      const { loss, parts, gradients } = withBackend(this.trainable.backend, () =>
        this.objective.step(index, step, this.#buffers),
      );
      if (!Number.isFinite(loss)) {
        throw new PrismrecError("NON_FINITE", `a loss of ${loss}`, {
          expected: "a finite loss",
          received: String(loss),
          hint: "Lower optimizer.learningRate.",
        });
      }
      return { loss, parts, gradientNorm: this.trainable.update(gradients, this.config.optimizer) };
    } finally {
      this.#buffers.release();
    }
  }
}

/** @throws PrismrecError CONFIG_INVALID for a tower that maps given vectors where none are given; SHAPE_MISMATCH */
function towerOf({ tower, network }: TrainConfig, given: Matrix | undefined, itemCount: number): ItemTower {
  if (tower === undefined || tower === "id") return idTower;
  if (given !== undefined && given.rows !== itemCount) {
    throw new PrismrecError("SHAPE_MISMATCH", "the given item vectors belong to another catalog", {
      expected: `${itemCount} rows`,
      received: `${given.rows} rows`,
    });
  }
  if (given !== undefined) return tower === "text" ? textTower(given, network.dim) : sumTower(given, network.dim);
  throw new PrismrecError("CONFIG_INVALID", `the tower ${tower} maps given item vectors, and there are none`, {
    expected: "itemVectors, [items, any width]",
    received: "none",
    hint: 'Give the vectors, or leave the tower at "id".',
  });
}
