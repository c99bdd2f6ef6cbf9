import { type ErrorCode, PrismrecError } from "@prismrec/core/errors";
import { CommanderError } from "commander";
import { Interrupted } from "./interrupt.js";
import { OutputClosed } from "./terminal/outputs.js";
import { ThresholdMissed } from "./threshold.js";

/** What the process says with its exit code (docs/concepts/errors.md). */
export const EXIT = {
  ok: 0,
  unexpected: 1,
  usage: 2,
  data: 3,
  environment: 4,
  threshold: 5,
  sigint: 130,
  sigpipe: 141,
  sigterm: 143,
} as const;

const BY_CODE: Readonly<Record<ErrorCode, number>> = {
  INVALID_ARGUMENT: EXIT.usage,
  CONFIG_INVALID: EXIT.usage,
  SHAPE_MISMATCH: EXIT.data,
  FILE_NOT_FOUND: EXIT.data,
  DATA_FORMAT: EXIT.data,
  DATA_EMPTY: EXIT.data,
  UNKNOWN_USER: EXIT.data,
  UNKNOWN_ITEM: EXIT.data,
  SPLIT_INVALID: EXIT.data,
  LEAKAGE: EXIT.data,
  RUN_INVALID: EXIT.data,
  RUN_FORMAT: EXIT.data,
  RUN_LOCKED: EXIT.data,
  CHECKPOINT_INCOMPATIBLE: EXIT.data,
  PARTITION_DEGENERATE: EXIT.data,
  DEVICE_UNAVAILABLE: EXIT.environment,
  OUT_OF_MEMORY: EXIT.environment,
  NATIVE_NOT_FOUND: EXIT.environment,
  IO: EXIT.environment,
  DISK_FULL: EXIT.environment,
  MODEL_INVALID: EXIT.environment,
  MODEL_UNSUPPORTED: EXIT.environment,
  LLM_ENGINE_MISSING: EXIT.environment,
  LLM_OUTPUT_INVALID: EXIT.environment,
  LLM_UNAUTHORIZED: EXIT.environment,
  LLM_MODEL_NOT_FOUND: EXIT.environment,
  LLM_TIMEOUT: EXIT.environment,
  LLM_SERVER_FAILED: EXIT.environment,
  BUDGET_EXCEEDED: EXIT.threshold,
  NON_FINITE: EXIT.unexpected,
  DISPOSED: EXIT.unexpected,
  TRAINING_DIVERGED: EXIT.unexpected,
  INTERNAL: EXIT.unexpected,
};

/** The exit code of whatever a command rejected with. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof Interrupted) return error.signal === "SIGINT" ? EXIT.sigint : EXIT.sigterm;
  if (error instanceof OutputClosed) return EXIT.sigpipe;
  if (error instanceof ThresholdMissed) return EXIT.threshold;
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  if (error instanceof PrismrecError) return BY_CODE[error.code];
  return EXIT.unexpected;
}
