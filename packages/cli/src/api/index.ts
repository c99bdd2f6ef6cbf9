export { type FitData, type FitOptions, fit } from "./fit.js";
export { type OpenOptions, open } from "./open.js";
export { type ExplainedItem, type ExplainedRecommendation, Recommender, type Whom } from "./recommender.js";
export type { Cell, Row, Rows } from "./rows.js";
