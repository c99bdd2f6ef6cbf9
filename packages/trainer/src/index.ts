export * from "./planted/planted-data.js";
export * from "./config.js";
export * from "./evaluation/diagnostics.js";
export * from "./evaluation/evaluate.js";
export * from "./evaluation/leakage.js";
export * from "./training/train.js";
export * from "./crowd/config.js";
export * from "./crowd/crowd.js";
