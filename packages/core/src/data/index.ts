export * from "./catalog.js";
export * from "./crowd-set.js";
export * from "./history.js";
export * from "./report.js";
export * from "./split.js";
export * from "./storage.js";
export * from "./training-matrix.js";
export * from "./types.js";
