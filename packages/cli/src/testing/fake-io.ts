import { EventEmitter } from "node:events";
import { Writable } from "node:stream";
import type { Io, Output } from "../io.js";
import { main } from "../main.js";

/** A stream that keeps what is written to it. */
export class Recorder extends Writable {
  text = "";
  constructor(readonly isTTY = false) {
    super();
  }
  override _write(chunk: unknown, _encoding: BufferEncoding, done: () => void): void {
    this.text += String(chunk);
    done();
  }
}

export interface FakeIo extends Io {
  readonly stdout: Output & Recorder;
  readonly stderr: Output & Recorder;
  readonly emitter: EventEmitter;
  readonly quits: number[];
}

export function fakeIo(options: { tty?: boolean; cwd?: string; env?: Record<string, string> } = {}): FakeIo {
  const emitter = new EventEmitter();
  const quits: number[] = [];
  return {
    stdout: new Recorder(options.tty),
    stderr: new Recorder(options.tty),
    env: options.env ?? {},
    cwd: options.cwd ?? process.cwd(),
    signals: emitter,
    emitter,
    quits,
    quit: (exitCode) => void quits.push(exitCode),
  };
}

/** Runs the command line inside this process. */
export async function prismrec(
  args: readonly string[],
  io: FakeIo = fakeIo(),
): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  const code = await main(["node", "prismrec", ...args], io);
  return { code, stdout: io.stdout.text, stderr: io.stderr.text };
}
