import { setMaxListeners } from "node:events";
import { basename } from "node:path";
import { PrismrecError, type RunOptions, sha256File, threadBudget } from "@prismrec/core/base";
import { ChildEndedError, LlamaChild, OpenFailedError, TaskFailedError } from "./child-process.js";
import { requireLlamaCpp } from "./engine.js";
import { type GgufInfo, inspectGguf } from "./gguf.js";
import type {
  Capabilities,
  DroppedWord,
  GenerateOptions,
  LanguageModel,
  ScoreOptions,
  ScoreRequest,
  ScoreResult,
  Usage,
} from "./language-model.js";
import type { ChildTask, TaskResult } from "./protocol.js";

export interface LlamaCppOptions {
  readonly modelPath: string;
  /** Threads in all (default: the thread budget). */
  readonly threads?: number;
  /** Let llama.cpp use a GPU where its prebuilt libraries find one (default false). */
  readonly gpu?: boolean;
  /** Longest prompt and answer in tokens (default 2048; the model's own limit where that is smaller). */
  readonly contextSize?: number;
  /**
   * Short texts that a process writes side by side (default 1). More are faster and read the weights once for all of them, but
   * what is written beside a text decides its last bits: now and then another word is the likeliest (decision 64).
   */
  readonly sequences?: number;
  /** How often a task is given to a fresh process after a crash (default 2). */
  readonly retries?: number;
  readonly signal?: AbortSignal;
}

/**
 * Up to this many bytes a model runs as several processes of one thread each: they share the weights through the page
 * cache, never wait for one another, and do not collapse beside a busy process as several threads of one do.
 */
const SMALL_MODEL_BYTES = 1 << 30;

type Settle = { resolve: (result: TaskResult) => void; reject: (error: unknown) => void };
type Job = Settle & { readonly task: ChildTask; readonly signal: AbortSignal | undefined; attempts: number };

/** llama.cpp through node-llama-cpp, in child processes: a crash there is retried and never ours. */
export class LlamaCppModel implements LanguageModel {
  readonly name: string;
  readonly hash: string;
  readonly parallelism: number;
  readonly capabilities: Capabilities;
  readonly info: GgufInfo;
  readonly #options: LlamaCppOptions;
  readonly #threadsEach: number;
  readonly #sequences: number;
  readonly #children: (LlamaChild | undefined)[];
  /** Requests that each process has, and whether they are one that must be alone. */
  readonly #running: { count: number; alone: boolean }[];
  readonly #queue: Job[] = [];
  #closed = false;
  #calls = 0;
  #promptTokens = 0;
  #generatedTokens = 0;
  #seconds = 0;

  private constructor(options: LlamaCppOptions, info: GgufInfo, hash: string) {
    const threads = options.threads ?? threadBudget();
    this.name = basename(options.modelPath);
    this.hash = hash;
    this.info = info;
    const isText = !info.architecture.includes("bert");
    this.capabilities = {
      text: isText,
      grammar: isText,
      jsonSchema: isText,
      scoreWords: isText,
      embeddings: true,
      batching: info.bytes <= SMALL_MODEL_BYTES ? threads > 1 : (options.sequences ?? 1) > 1,
    };
    const processes = info.bytes <= SMALL_MODEL_BYTES ? threads : 1;
    this.#sequences = options.sequences ?? 1;
    this.parallelism = this.#sequences * processes;
    this.#options = options;
    this.#threadsEach = Math.max(1, Math.floor(threads / processes));
    this.#children = new Array<LlamaChild | undefined>(processes).fill(undefined);
    this.#running = Array.from(this.#children, () => ({ count: 0, alone: false }));
  }

  /**
   * Checks the file (FILE_NOT_FOUND, MODEL_INVALID) and the engine (LLM_ENGINE_MISSING), and starts the first process, so
   * that a model llama.cpp cannot open is known now. The other processes start when there is work for them.
   */
  static async open(options: LlamaCppOptions): Promise<LlamaCppModel> {
    const { signal } = options;
    signal?.throwIfAborted();
    const info = await inspectGguf(options.modelPath);
    requireLlamaCpp();
    const hash = await sha256File(options.modelPath, signal);
    const model = new LlamaCppModel(options, info, hash);
    try {
      await abortable(model.#child(0).ready(), signal);
    } catch (error) {
      await model.close();
      signal?.throwIfAborted();
      throw model.#openError(error);
    }
    return model;
  }

  async scoreNext(request: ScoreRequest, options: ScoreOptions = {}): Promise<ScoreResult> {
    const { prefix, continuations, words } = request;
    const { signal, onProgress, onRow } = options;
    this.#requireText();
    const base = /\S+$/.exec(continuations[0] ?? prefix)?.[0] ?? "a";
    const { numbers: firstTokens = [] } = await this.#submit({ kind: "words", base, words }, signal);
    const kept: { word: string; token: number }[] = [];
    const dropped: DroppedWord[] = [];
    words.forEach((word, i) => {
      const token = firstTokens[i] ?? -1;
      const same = kept.find((other) => other.token === token);
      if (token < 0) dropped.push({ word, collidesWith: base });
      else if (same !== undefined) dropped.push({ word, collidesWith: same.word });
      else kept.push({ word, token });
    });
    if (kept.length === 0) {
      throw new PrismrecError("MODEL_UNSUPPORTED", `${this.name} cannot tell the words to score from one another`, {
        expected: "words with different first tokens",
        received: words.slice(0, 5).join(", "),
        hint: "give other --facets",
      });
    }
    const tokens = kept.map(({ token }) => token);
    let done = 0;
    const rows = await this.#all(
      continuations.map((text) => ({ kind: "score", prefix, continuation: text, tokens })),
      signal,
      (index, { numbers = [] }) => {
        const row = Float32Array.from(numbers);
        if (row.length !== tokens.length || !row.every(Number.isFinite)) {
          throw new PrismrecError("LLM_OUTPUT_INVALID", `${this.name} gave scores that are not numbers`, {
            received: JSON.stringify(continuations[index]),
            hint: "check the model file; some quantisations are broken",
          });
        }
        onRow?.(index, row);
        onProgress?.({ stage: "score", done: ++done, total: continuations.length, unit: "items" });
        return row;
      },
    );
    return { words: kept.map(({ word }) => word), dropped, logProbs: rows };
  }

  async generate(prompts: readonly string[], options: GenerateOptions = {}): Promise<string[]> {
    const {
      grammar,
      jsonSchema,
      maxTokens = 256,
      temperature = 0,
      seed,
      chat = true,
      system,
      stop = [],
      signal,
      onProgress,
    } = options;
    this.#requireText();
    let done = 0;
    return this.#all(
      prompts.map((prompt) => ({
        kind: "generate",
        prompt,
        chat,
        maxTokens,
        temperature,
        stop,
        ...(system === undefined ? {} : { system }),
        ...(grammar !== undefined ? { grammar } : jsonSchema !== undefined ? { jsonSchema } : {}),
        ...(seed === undefined ? {} : { seed }),
      })),
      signal,
      (_, { text = "" }) => {
        onProgress?.({ stage: "generate", done: ++done, total: prompts.length, unit: "prompts" });
        return text;
      },
    );
  }

  async embed(texts: readonly string[], options: RunOptions = {}): Promise<Float32Array[]> {
    let done = 0;
    return this.#all(
      texts.map((text) => ({ kind: "embed", text })),
      options.signal,
      (_, { numbers = [] }) => {
        options.onProgress?.({ stage: "embed", done: ++done, total: texts.length, unit: "items" });
        return Float32Array.from(numbers);
      },
    );
  }

  usage(): Usage {
    return {
      calls: this.#calls,
      promptTokens: this.#promptTokens,
      generatedTokens: this.#generatedTokens,
      seconds: this.#seconds,
    };
  }

  /** Process ids of the children that run now. */
  processes(): number[] {
    return this.#children.flatMap((child) => (child === undefined || child.ended ? [] : (child.pid ?? [])));
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const job of this.#queue.splice(0)) job.reject(closedError(this.name));
    for (const child of this.#children) child?.kill();
  }

  #requireText(): void {
    if (this.capabilities.text) return;
    throw new PrismrecError("MODEL_UNSUPPORTED", `${this.name} embeds texts and cannot write or score them`, {
      expected: "a model that generates text",
      received: `architecture ${this.info.architecture}`,
      hint: "use it with --clusterer embedding, or give an instruct model with --llm",
    });
  }

  /** Runs tasks over the processes, in order of submission; the first failure takes back what has not started. */
  async #all<T>(
    tasks: readonly ChildTask[],
    signal: AbortSignal | undefined,
    onResult: (index: number, result: TaskResult) => T,
  ): Promise<T[]> {
    const stop = new AbortController();
    const either = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
    // Each request that a process has listens.
    setMaxListeners(0, either);
    try {
      return await Promise.all(
        tasks.map((task, index) => this.#submit(task, either).then((result) => onResult(index, result))),
      );
    } catch (error) {
      stop.abort(error);
      throw error;
    }
  }

  #submit(task: ChildTask, signal: AbortSignal | undefined): Promise<TaskResult> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(closedError(this.name));
        return;
      }
      this.#queue.push({ task, signal, resolve, reject, attempts: 0 });
      this.#dispatch();
    });
  }

  #dispatch(): void {
    for (let job = this.#queue[0]; job !== undefined; job = this.#queue[0]) {
      // What was in a process that ended may be what ended it: it is tried again with no other beside it.
      const alone = job.attempts > 0;
      const slot = this.#freest(alone);
      if (slot === undefined) return;
      this.#queue.shift();
      const running = this.#running[slot]!;
      running.count++;
      running.alone = alone;
      void this.#runJob(slot, job).finally(() => {
        running.count--;
        running.alone = false;
        this.#dispatch();
      });
    }
  }

  /** The process with the fewest requests that takes one more; undefined where none does. */
  #freest(alone: boolean): number | undefined {
    let best: number | undefined;
    for (const [slot, { count, alone: taken }] of this.#running.entries()) {
      if (taken || count >= (alone ? 1 : this.#sequences)) continue;
      if (best === undefined || count < this.#running[best]!.count) best = slot;
    }
    return best;
  }

  async #runJob(slot: number, job: Job): Promise<void> {
    const { signal } = job;
    if (signal?.aborted === true) {
      job.reject(signal.reason);
      return;
    }
    try {
      const child = this.#child(slot);
      const { result, cancel } = await child.run(job.task);
      const onAbort = (): void => {
        cancel();
        job.reject(signal?.reason);
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      const value = await result.finally(() => signal?.removeEventListener("abort", onAbort));
      // Looking words up evaluates nothing.
      if (job.task.kind !== "words") this.#calls++;
      this.#promptTokens += value.promptTokens;
      this.#generatedTokens += value.generatedTokens;
      this.#seconds += value.seconds;
      job.resolve(value);
    } catch (error) {
      if (this.#closed) {
        job.reject(closedError(this.name));
      } else if (error instanceof ChildEndedError && job.attempts < (this.#options.retries ?? 2)) {
        job.attempts++;
        this.#queue.unshift(job);
      } else {
        job.reject(this.#taskError(error));
      }
    }
  }

  #child(slot: number): LlamaChild {
    let child = this.#children[slot];
    if (child === undefined || child.ended) {
      child = new LlamaChild({
        modelPath: this.#options.modelPath,
        threads: this.#threadsEach,
        gpu: this.#options.gpu ?? false,
        contextSize: this.#options.contextSize ?? 2048,
        sequences: this.#sequences,
      });
      this.#children[slot] = child;
    }
    return child;
  }

  #openError(error: unknown): unknown {
    if (error instanceof OpenFailedError || error instanceof ChildEndedError) {
      return new PrismrecError("MODEL_INVALID", `llama.cpp cannot open ${this.#options.modelPath}`, {
        expected: "a GGUF model of an architecture that this version of llama.cpp knows",
        received: `${this.info.architecture}: ${error.message}`,
        hint: "download the file again or try another model; prismrec doctor shows what works here",
        cause: error,
      });
    }
    return error;
  }

  #taskError(error: unknown): unknown {
    if (error instanceof TaskFailedError && error.kind === "too-long") {
      return new PrismrecError("INVALID_ARGUMENT", `a prompt is too long for ${this.name}`, {
        received: error.message,
        hint: "shorten the items' texts or raise the context size",
        cause: error,
      });
    }
    if (error instanceof TaskFailedError) {
      return new PrismrecError("MODEL_UNSUPPORTED", `${this.name} cannot do this`, {
        received: error.message,
        hint: "use an instruct model for facets and partition, an embedding model for embedding",
        cause: error,
      });
    }
    if (error instanceof ChildEndedError) {
      return new PrismrecError("OUT_OF_MEMORY", `llama.cpp crashed again and again with ${this.name}`, {
        expected: `${Math.ceil(this.info.bytes / 2 ** 20)} MB of memory and some for each process`,
        received: error.message,
        hint: "free memory, lower --threads, or use a smaller model; what was answered before is kept",
        cause: error,
      });
    }
    return this.#openError(error);
  }
}

function closedError(name: string): PrismrecError {
  return new PrismrecError("DISPOSED", `the language model ${name} is closed`);
}

async function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    if (onAbort !== undefined) signal.removeEventListener("abort", onAbort);
  }
}
