import { EventEmitter } from "node:events";
import { describe, expect, it } from "vitest";
import { Interrupted, watchInterrupts } from "./interrupt.js";

describe("watchInterrupts", () => {
  it("aborts on the first signal with a reason that names it, and quits on the second", () => {
    const source = new EventEmitter();
    const first: string[] = [];
    const quits: number[] = [];
    using interrupts = watchInterrupts(
      source,
      (reason) => first.push(reason.signal),
      (code) => quits.push(code),
    );
    expect(interrupts.signal.aborted).toBe(false);
    source.emit("SIGINT");
    expect(interrupts.signal.reason).toEqual(new Interrupted("SIGINT"));
    expect([first, quits]).toEqual([["SIGINT"], []]);
    source.emit("SIGTERM");
    expect([first, quits]).toEqual([["SIGINT"], [143]]);
  });

  it("listens no longer once it is disposed of", () => {
    const source = new EventEmitter();
    watchInterrupts(
      source,
      () => undefined,
      () => undefined,
    )[Symbol.dispose]();
    expect(source.listenerCount("SIGINT") + source.listenerCount("SIGTERM")).toBe(0);
  });
});
