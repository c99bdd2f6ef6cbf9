export * from "./recommender.js";
export * from "./types.js";
