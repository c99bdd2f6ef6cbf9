export * from "./alignment.js";
export * from "./best-interest.js";
export * from "./covariance-penalty.js";
export * from "./crowd-contrast.js";
export * from "./external-loss.js";
export * from "./label-aware.js";
export * from "./softmax.js";
export * from "./term.js";
