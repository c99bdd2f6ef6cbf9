/** Every failure a caller can act on has a code; the CLI maps codes to exit codes (docs/concepts/errors.md). */
export type ErrorCode =
  | "INVALID_ARGUMENT"
  | "SHAPE_MISMATCH"
  | "NON_FINITE"
  | "DEVICE_UNAVAILABLE"
  | "OUT_OF_MEMORY"
  | "NATIVE_NOT_FOUND"
  | "DISPOSED"
  | "CONFIG_INVALID"
  | "FILE_NOT_FOUND"
  | "IO"
  | "DISK_FULL"
  | "DATA_FORMAT"
  | "DATA_EMPTY"
  | "UNKNOWN_USER"
  | "UNKNOWN_ITEM"
  | "SPLIT_INVALID"
  | "LEAKAGE"
  | "RUN_INVALID"
  | "RUN_FORMAT"
  | "RUN_LOCKED"
  | "CHECKPOINT_INCOMPATIBLE"
  | "TRAINING_DIVERGED"
  | "MODEL_INVALID"
  | "MODEL_UNSUPPORTED"
  | "LLM_ENGINE_MISSING"
  | "LLM_OUTPUT_INVALID"
  | "LLM_UNAUTHORIZED"
  | "LLM_MODEL_NOT_FOUND"
  | "LLM_TIMEOUT"
  | "LLM_SERVER_FAILED"
  | "PARTITION_DEGENERATE"
  | "BUDGET_EXCEEDED"
  | "INTERNAL";

export interface ErrorInfo {
  readonly expected?: string;
  readonly received?: string;
  /** One sentence: what to do next. */
  readonly hint?: string;
  readonly cause?: unknown;
}

/** The project's only error class: `code` to branch on, `expected`/`received` to diagnose, `hint` to go on. */
export class PrismrecError extends Error {
  override readonly name = "PrismrecError";
  readonly code: ErrorCode;
  readonly expected: string | undefined;
  readonly received: string | undefined;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, info: ErrorInfo = {}) {
    super(message, info.cause === undefined ? undefined : { cause: info.cause });
    this.code = code;
    this.expected = info.expected;
    this.received = info.received;
    this.hint = info.hint;
  }

  toJSON(): Record<string, unknown> {
    return {
      code: this.code,
      message: this.message,
      expected: this.expected,
      received: this.received,
      hint: this.hint,
    };
  }
}

export function isPrismrecError(error: unknown, code?: ErrorCode): error is PrismrecError {
  return error instanceof PrismrecError && (code === undefined || error.code === code);
}
