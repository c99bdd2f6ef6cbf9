import { type CrowdSet, createNetwork, type Dataset, type InterestNetwork, type PartitionTable } from "@prismrec/core";
import { isSequenceTraining, type TrainConfig } from "../config.js";
import { popularityBias, randomItems } from "../training/initial-items.js";
import type { Objective } from "../training/objective.js";
import { RunSeeds } from "../training/seeds.js";
import { trainingSequences } from "../training/sequences.js";
import { Trainable } from "../training/trainable.js";
import { BestInterestObjective } from "./best-interest.js";
import { NextItemsObjective } from "./next-items.js";

/** An objective at the start of its first epoch, from random item vectors. For tests only. */
export function startObjective(
  config: TrainConfig,
  dataset: Dataset,
  semantic: { readonly partition?: PartitionTable; readonly crowd?: CrowdSet } = {},
): {
  readonly objective: Objective;
  readonly trainable: Trainable;
  readonly network: InterestNetwork;
  readonly steps: number;
} {
  const network = createNetwork(config.network);
  const sequences = trainingSequences(dataset, semantic.partition);
  const seeds = new RunSeeds(config.seed);
  const trainable = new Trainable(
    network,
    randomItems(dataset.catalog.size, network.dim, config.seed),
    network.hasItemBias ? popularityBias(dataset.catalog.popularity) : undefined,
    seeds.initial(),
  );
  const objective = isSequenceTraining(config)
    ? new NextItemsObjective(config, network, trainable, sequences, semantic.crowd, seeds)
    : new BestInterestObjective(config, network, trainable, sequences, seeds);
  return { objective, trainable, network, steps: objective.beginEpoch(1).steps };
}
