import { setImmediate } from "node:timers/promises";
import type { PrismrecError } from "@prismrec/core/errors";
import { fromFileError, systemCode } from "@prismrec/core/file-errors";
import type { Io, Output } from "../io.js";

/** Whoever read stdout or stderr is gone. The program ends without a word, as others do on SIGPIPE. */
export class OutputClosed extends Error {
  override readonly name = "OutputClosed";
}

export type OutputFailure = OutputClosed | PrismrecError;

export interface OutputWatch extends Disposable {
  /** The first failure of either stream. */
  readonly failure: OutputFailure | undefined;
}

/**
 * Listens for failures of both streams, which nobody may be waiting for: a write that is not awaited fails here.
 * Without a listener Node would end the process with a stack trace.
 */
export function watchOutputs(
  { stdout, stderr }: Pick<Io, "stdout" | "stderr">,
  onFailure: (failure: OutputFailure) => void = () => undefined,
): OutputWatch {
  let first: OutputFailure | undefined;
  const listeners = ([stdout, stderr] as const).map((stream) => {
    const listener = (error: Error): void => {
      if (first !== undefined) return;
      first = outputFailure(error, stream === stdout ? "standard output" : "standard error");
      onFailure(first);
    };
    stream.on("error", listener);
    return [stream, listener] as const;
  });
  return {
    get failure() {
      return first;
    },
    [Symbol.dispose]: () => {
      for (const [stream, listener] of listeners) stream.off("error", listener);
    },
  };
}

/**
 * Writes to stdout and resolves once the text has been handed on, so that a slow reader holds the writer back. Rejects
 * with the stream's failure, or with the signal's reason while the reader lets it wait.
 */
export function writeThrough(stdout: Output, text: string, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const abort = (): void => reject(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    stdout.write(text, (error) => {
      signal?.removeEventListener("abort", abort);
      if (error === null || error === undefined) resolve();
      // What comes after the first failure says only that the stream is no more.
      else reject(outputFailure(stdout.errored ?? error, "standard output"));
    });
  });
}

/** Waits until all that was written before has been handed on, or will never be: that is for `watchOutputs` to say. */
export async function flush(stream: Output): Promise<void> {
  if (!stream.destroyed && stream.writableLength > 0) {
    await new Promise<void>((resolve) => stream.write("", () => resolve()));
  }
  // A stream tells of its failure in a later turn than the write that failed, also where that was a synchronous one.
  await setImmediate();
}

function outputFailure(error: Error, name: string): OutputFailure {
  switch (systemCode(error)) {
    case "EPIPE":
    case "ECONNRESET":
    case "ERR_STREAM_DESTROYED":
      return new OutputClosed(`${name} is closed`, { cause: error });
    default:
      return fromFileError(error, name, "write");
  }
}
