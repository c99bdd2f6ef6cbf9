import { createRequire } from "node:module";
import type { NativeBinding } from "@prismrec/native";
import { type ErrorCode, PrismrecError } from "../base/errors.js";

interface NativeModule {
  loadBinding(): NativeBinding;
}

let loaded:
  | { readonly binding: NativeBinding | undefined; readonly reason?: string; readonly hint?: string }
  | undefined;

/**
 * The native addon, loaded once, or undefined where it is switched off (PRISMREC_NATIVE=off) or cannot be loaded: the
 * TypeScript references stand in, and one warning says so.
 */
export function native(): NativeBinding | undefined {
  loaded ??= load();
  return loaded.binding;
}

/** Why `native()` is undefined, for diagnosis; undefined where the addon is there. */
export function nativeUnavailableReason(): string | undefined {
  loaded ??= load();
  return loaded.reason;
}

/** What brings the addon here, the command in it; undefined where it is there. */
export function nativeUnavailableHint(): string | undefined {
  loaded ??= load();
  return loaded.hint;
}

function load(): NonNullable<typeof loaded> {
  if (process.env.PRISMREC_NATIVE === "off") {
    return {
      binding: undefined,
      reason: "switched off by PRISMREC_NATIVE=off",
      hint: "Unset PRISMREC_NATIVE to use it.",
    };
  }
  try {
    const module = createRequire(import.meta.url)("@prismrec/native") as NativeModule;
    return { binding: module.loadBinding() };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    // A forced but impossible PRISMREC_SIMD or the like is the user's own wish: it must not fall back in silence.
    if (nativeCode(error) === "DEVICE_UNAVAILABLE") throw fromNativeError(error);
    // Without a hint the package itself is not there.
    const hint = textField(error, "hint") ?? "Install it with: npm install @prismrec/native";
    process.emitWarning(`the native addon could not be loaded, so TypeScript stands in for it (slower): ${reason}`, {
      code: "PRISMREC_NATIVE_NOT_FOUND",
      detail: hint,
    });
    return { binding: undefined, reason, hint };
  }
}

const NATIVE_CODES: ReadonlySet<string> = new Set<ErrorCode>([
  "INVALID_ARGUMENT",
  "SHAPE_MISMATCH",
  "NON_FINITE",
  "OUT_OF_MEMORY",
  "DEVICE_UNAVAILABLE",
  "DATA_FORMAT",
  "FILE_NOT_FOUND",
  "DISK_FULL",
  "IO",
  "INTERNAL",
]);

function isNativeCode(code: string): code is ErrorCode {
  return NATIVE_CODES.has(code);
}

function nativeCode(error: unknown): string | undefined {
  return textField(error, "code");
}

function textField(error: unknown, field: string): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const value: unknown = Reflect.get(error, field);
  return typeof value === "string" ? value : undefined;
}

/** The addon's plain errors (`code`, `expected`, `received`, `hint`) as the project's own. */
export function fromNativeError(error: unknown): PrismrecError {
  if (error instanceof PrismrecError) return error;
  const code = nativeCode(error);
  const [expected, received, hint] = [
    textField(error, "expected"),
    textField(error, "received"),
    textField(error, "hint"),
  ];
  return new PrismrecError(
    code !== undefined && isNativeCode(code) ? code : "INTERNAL",
    error instanceof Error ? error.message : String(error),
    {
      ...(expected === undefined ? {} : { expected }),
      ...(received === undefined ? {} : { received }),
      ...(hint === undefined ? {} : { hint }),
      cause: error,
    },
  );
}

/** A synchronous call of the addon; what it throws arrives as a PrismrecError. */
export function callNative<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw fromNativeError(error);
  }
}

/** A cancel flag that native workers poll: slot 0 turns to 1 when the signal aborts. */
export interface CancelSlot extends Disposable {
  /** On a SharedArrayBuffer; undefined without a signal. */
  readonly flag: Int32Array | undefined;
}

/** Connects an AbortSignal with a native call; dispose (`using`) takes the listener off the signal again. */
export function cancelSlot(signal: AbortSignal | undefined): CancelSlot {
  if (signal === undefined) return { flag: undefined, [Symbol.dispose]: () => undefined };
  const flag = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  const raise = () => {
    Atomics.store(flag, 0, 1);
  };
  if (signal.aborted) raise();
  else signal.addEventListener("abort", raise, { once: true });
  return { flag, [Symbol.dispose]: () => signal.removeEventListener("abort", raise) };
}

/**
 * Awaits a native promise under a signal: the call gets the flag, an abort rejects with `signal.reason`, and a native
 * failure arrives as a PrismrecError.
 */
export async function runNative<T>(
  signal: AbortSignal | undefined,
  call: (cancel: Int32Array | undefined) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  using slot = cancelSlot(signal);
  try {
    const result = await call(slot.flag);
    signal?.throwIfAborted();
    return result;
  } catch (error) {
    signal?.throwIfAborted();
    throw fromNativeError(error);
  }
}
