export * from "./config.js";
export * from "./crowd/config.js";
export * from "./crowd/crowd.js";
export * from "./evaluation/choose-prior.js";
export * from "./evaluation/cutoffs.js";
export * from "./evaluation/diagnostics.js";
export * from "./evaluation/evaluate.js";
export * from "./evaluation/explanation-fidelity.js";
export * from "./evaluation/folds.js";
export { type GroupMetrics, userGroups } from "./evaluation/groups.js";
export * from "./evaluation/leakage.js";
export * from "./evaluation/learned-targets.js";
export * from "./planted/experiment.js";
export * from "./planted/planted-data.js";
export * from "./training/events.js";
export * from "./training/train.js";

export { type WarmStart, warmStartOf } from "./training/warm-start.js";
export * from "./tuning/tune.js";
