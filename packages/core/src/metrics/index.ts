export * from "./beyond-accuracy.js";
export * from "./bootstrap.js";
export * from "./paired.js";
export * from "./ranking.js";
export * from "./ranking-metric.js";
export * from "./ranking-metrics.js";
export * from "./signed-rank.js";
