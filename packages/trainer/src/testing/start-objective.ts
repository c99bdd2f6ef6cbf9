import type { CrowdSet, Dataset } from "@prismrec/core/data";
import type { PartitionTable } from "@prismrec/core/interests";
import type { InterestNetwork } from "@prismrec/core/nn";
import type { TrainConfig } from "../config.js";
import { popularityBias, randomItems } from "../training/initial-items.js";
import { Learner } from "../training/learner.js";
import type { Objective } from "../training/objective.js";
import { trainingSequences } from "../training/sequences.js";
import type { Trainable } from "../training/trainable.js";

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
  const learner = new Learner(config, {
    sequences: trainingSequences(dataset, semantic.partition),
    items: randomItems(dataset.catalog.size, config.network.dim, config.seed),
    bias: popularityBias(dataset.catalog.popularity),
    ...(semantic.crowd === undefined ? {} : { crowd: semantic.crowd }),
  });
  const { objective, trainable, network } = learner;
  return { objective, trainable, network, steps: learner.beginEpoch(1).steps };
}
