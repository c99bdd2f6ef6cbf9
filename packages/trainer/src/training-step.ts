/** A training step, for whoever drives the steps himself: a benchmark, another loop. */
export { Learner, type LearnerInput, type LearnerStep } from "./training/learner.js";
export type { TrainingSequences } from "./training/sequences.js";
