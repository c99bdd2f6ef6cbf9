export { type ErrorCode, isPrismrecError, PrismrecError } from "@prismrec/core/errors";
export * from "./api/index.js";
export type { RawSettings } from "./config/load.js";
export type { OnEvent, RunEvent } from "./pipeline/events.js";
