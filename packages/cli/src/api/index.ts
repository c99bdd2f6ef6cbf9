export { type FitData, type FitOptions, fit } from "./fit.js";
export { type OpenOptions, open } from "./open.js";
export { Recommender, type Whom } from "./recommender.js";
export type { Cell, Row, Rows } from "./rows.js";
