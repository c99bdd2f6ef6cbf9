export type { DescribedInterest, InterestRow } from "./describe-interests.js";
export { documentError, faultAt } from "./document-error.js";
export * from "./explain.js";
export * from "./filter.js";
export { checkEvent } from "./read-history.js";
export * from "./recommender.js";
export { type RawRules, Rules, rulesSchema } from "./rules.js";
export * from "./types.js";
