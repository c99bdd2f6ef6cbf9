import { setImmediate } from "node:timers/promises";

/** Rethrows an aborted signal's own reason, so that a caller recognises its own abort. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  signal?.throwIfAborted();
}

/** Lets timers, signals and other work of the event loop run, then checks the signal. */
export async function yieldToEventLoop(signal?: AbortSignal): Promise<void> {
  await setImmediate();
  throwIfAborted(signal);
}
