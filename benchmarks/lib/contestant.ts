import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Command, PrepareAnswer, ResultAnswer, RunAnswer } from "./protocol.js";

const STDERR_KEPT = 2000;

/** A contestant in a process of its own, spoken to by JSON lines. */
export class Contestant {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  #stderr = "";

  constructor(command: string, args: readonly string[], environment: NodeJS.ProcessEnv) {
    const child = spawn(command, args, { env: environment, stdio: ["pipe", "pipe", "pipe"] });
    child.stderr.on("data", (text) => {
      this.#stderr = (this.#stderr + String(text)).slice(-STDERR_KEPT);
    });
    // A child that dies early breaks the pipe; that it gave no answer is what is reported.
    child.stdin.on("error", () => undefined);
    child.on("error", (error) => {
      this.#stderr += error.message;
    });
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  prepare(command: Omit<Extract<Command, { command: "prepare" }>, "command">): Promise<PrepareAnswer> {
    return this.#ask<PrepareAnswer>({ command: "prepare", ...command });
  }

  /** `calls` that are timed, after `before` that are not. */
  run(calls: number, before = 0): Promise<RunAnswer> {
    return this.#ask<RunAnswer>({ command: "run", calls, before });
  }

  result(folder: string): Promise<ResultAnswer> {
    return this.#ask<ResultAnswer>({ command: "result", folder });
  }

  oracle(folder: string): Promise<ResultAnswer> {
    return this.#ask<ResultAnswer>({ command: "oracle", folder });
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.stdin?.end(`${JSON.stringify({ command: "quit" })}\n`);
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), 5000);
    await gone;
    clearTimeout(timer);
  }

  async #exit(): Promise<string> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, "exit");
    return this.#child.signalCode ?? `exit ${this.#child.exitCode}`;
  }

  async #ask<T extends object>(command: Command): Promise<T> {
    this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error(`ended early (${await this.#exit()}): ${lastLines(this.#stderr)}`);
    const answer = JSON.parse(value) as T & { readonly error?: string };
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer;
  }
}

function lastLines(text: string): string {
  return text.trim().split("\n").slice(-3).join(" | ") || "no message";
}
