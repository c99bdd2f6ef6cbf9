import { type ChildProcess, fork } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { PrismrecError } from "@prismrec/core/base";
import type { ChildOptions, ChildReply, ChildTask, FailureKind, TaskResult } from "./protocol.js";

/** The child is compiled code; where the parent runs from source (tests), it is found in `dist` beside `src`. */
function childScript(): string {
  const here = import.meta.url;
  const url = here.endsWith(".ts")
    ? new URL("../../dist/model/llama-cpp-child.js", here)
    : new URL("./llama-cpp-child.js", here);
  const path = fileURLToPath(url);
  if (!existsSync(path)) {
    throw new PrismrecError("FILE_NOT_FOUND", "the language model's child process is not built", {
      expected: path,
      hint: "run npm run build",
    });
  }
  return path;
}

/** A task's own failure (the process is fine), as opposed to the process's end. */
export class TaskFailedError extends Error {
  constructor(
    readonly kind: FailureKind,
    message: string,
  ) {
    super(message);
  }
}

/** The process ended or never came up. */
export class ChildEndedError extends Error {}

/** The model could not be opened; trying again gives the same. */
export class OpenFailedError extends Error {}

const STDERR_KEPT = 2000;

interface Pending {
  readonly resolve: (result: TaskResult) => void;
  readonly reject: (error: Error) => void;
}

/** One llama.cpp process. */
export class LlamaChild {
  readonly #process: ChildProcess;
  readonly #ready: Promise<void>;
  #nextId = 0;
  readonly #pending = new Map<number, Pending>();
  #ended: ChildEndedError | undefined;
  #stderr = "";

  constructor(options: ChildOptions) {
    this.#process = fork(childScript(), [JSON.stringify(options)], {
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      serialization: "advanced",
      execArgv: [],
    });
    this.#process.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_KEPT);
    });
    this.#ready = new Promise((resolve, reject) => {
      this.#process.on("message", (reply: ChildReply) => {
        if ("ready" in reply) {
          this.#release();
          resolve();
        } else if ("openFailed" in reply) {
          reject(new OpenFailedError(reply.openFailed));
          this.kill();
        } else {
          const pending = this.#pending.get(reply.id);
          this.#pending.delete(reply.id);
          if (this.#pending.size === 0) this.#release();
          if ("result" in reply) pending?.resolve(reply.result);
          else pending?.reject(new TaskFailedError(reply.failure, reply.message));
        }
      });
      const end = (why: string): void => {
        this.#ended ??= new ChildEndedError([why, this.#stderr.trim()].filter((text) => text !== "").join(": "));
        reject(this.#ended);
        for (const { reject: fail } of this.#pending.values()) fail(this.#ended);
        this.#pending.clear();
      };
      this.#process.on("error", (error) => end(error.message));
      this.#process.on("exit", (code, signal) => end(`llama.cpp ended (${signal ?? `exit code ${code}`})`));
    });
    // A child that nobody waits for yet must not count as an unhandled rejection.
    this.#ready.catch(() => undefined);
  }

  get ended(): boolean {
    return this.#ended !== undefined;
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  ready(): Promise<void> {
    return this.#ready;
  }

  /** Runs one task; an abort sends a cancel and lets the child finish in its own time, the caller does not wait. */
  async run(task: ChildTask): Promise<{ result: Promise<TaskResult>; cancel: () => void }> {
    await this.#ready;
    if (this.#ended !== undefined) throw this.#ended;
    const id = this.#nextId++;
    this.#hold();
    const result = new Promise<TaskResult>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#process.send({ id, task }, (error) => {
        if (error !== null && this.#pending.delete(id)) {
          reject(new ChildEndedError(error.message));
        }
      });
    });
    return { result, cancel: () => this.#process.connected && this.#process.send({ cancel: id }) };
  }

  kill(): void {
    this.#process.kill("SIGKILL");
  }

  /** While a task runs the child keeps the parent's event loop alive; an idle child does not. */
  #hold(): void {
    this.#process.ref();
    this.#process.channel?.ref();
  }

  #release(): void {
    this.#process.unref();
    this.#process.channel?.unref();
  }
}
