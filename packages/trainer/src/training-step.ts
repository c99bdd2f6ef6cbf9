/** The parts of a training step, for whoever drives the steps himself: a benchmark, another loop. */
export { BestInterestObjective } from "./objectives/best-interest.js";
export { RunSeeds } from "./training/seeds.js";
export type { TrainingSequences } from "./training/sequences.js";
export { Trainable } from "./training/trainable.js";
