export * from "./errors/errors.js";
export * from "./runtime/run-options.js";
export * from "./matrix/matrix.js";
export * from "./dataset/types.js";
export * from "./partition/types.js";
export * from "./models/model.js";
