import type { Writable } from "node:stream";
import type { SignalSource } from "./interrupt.js";

export type Output = Writable & { readonly isTTY?: boolean; readonly columns?: number };

/** Everything a command touches of its surroundings, so that tests can stand in for a terminal. */
export interface Io {
  readonly stdout: Output;
  readonly stderr: Output;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly signals: SignalSource;
  /** Ends the process at once: the answer to a second Ctrl-C. */
  quit(exitCode: number): void;
}

export function processIo(): Io {
  return {
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    cwd: process.cwd(),
    signals: process,
    quit: (exitCode) => process.exit(exitCode),
  };
}
