export * from "./filter.js";
export * from "./recommender.js";
export * from "./types.js";
