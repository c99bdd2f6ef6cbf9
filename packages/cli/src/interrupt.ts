/** The reason a signal leaves in the AbortSignal of every call under way. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
  constructor(readonly signal: "SIGINT" | "SIGTERM") {
    super(`stopped by ${signal}`);
  }
}

export interface Interrupts extends Disposable {
  readonly signal: AbortSignal;
  /** Aborts what is under way for a reason other than a signal. */
  stop(reason: Error): void;
}

/** The part of `process` that this needs, so that a test can send signals of its own. */
export interface SignalSource {
  on(event: "SIGINT" | "SIGTERM" | "SIGHUP", listener: () => void): unknown;
  off(event: "SIGINT" | "SIGTERM" | "SIGHUP", listener: () => void): unknown;
}

/**
 * The first SIGINT or SIGTERM aborts what is under way, which then saves and ends; the second calls `quit` with the
 * conventional exit code at once.
 */
export function watchInterrupts(
  source: SignalSource,
  onFirst: (reason: Interrupted) => void,
  quit: (exitCode: number) => void,
): Interrupts {
  const controller = new AbortController();
  const listeners = (["SIGINT", "SIGTERM"] as const).map((name) => {
    const listener = (): void => {
      if (controller.signal.aborted) {
        quit(name === "SIGINT" ? 130 : 143);
        return;
      }
      const reason = new Interrupted(name);
      onFirst(reason);
      controller.abort(reason);
    };
    source.on(name, listener);
    return [name, listener] as const;
  });
  return {
    signal: controller.signal,
    stop: (reason) => controller.abort(reason),
    [Symbol.dispose]: () => {
      for (const [name, listener] of listeners) source.off(name, listener);
    },
  };
}
