import type { RunOptions } from "@prismrec/core/base";

export interface ScoreRequest {
  /** What every prompt starts with (instructions, worked examples); evaluated once and kept. */
  readonly prefix: string;
  /** The rest of each prompt; it should end in a word, so that the next word starts with a space. */
  readonly continuations: readonly string[];
  /** Words to score as the next one, without their leading space. */
  readonly words: readonly string[];
}

/** A word that cannot be told from an earlier one by its first token. */
export interface DroppedWord {
  readonly word: string;
  readonly collidesWith: string;
}

export interface ScoreResult {
  /** The words that were scored, in the order given. */
  readonly words: readonly string[];
  readonly dropped: readonly DroppedWord[];
  /** One row per continuation: natural-log probability of each word's first token. */
  readonly logProbs: readonly Float32Array[];
}

export interface ScoreOptions extends RunOptions {
  /** Called as each continuation is done, in any order. */
  readonly onRow?: (index: number, logProbs: Float32Array) => void;
}

export interface GenerateOptions extends RunOptions {
  /** GBNF; the text is one that it accepts, or the start of one where `maxTokens` cut it. */
  readonly grammar?: string;
  /** Default 256. */
  readonly maxTokens?: number;
  /** 0 (default) always takes the likeliest token. */
  readonly temperature?: number;
  readonly seed?: number;
  /** Wrap the prompt in the model's chat template (default), or let the model continue it as plain text. */
  readonly chat?: boolean;
  readonly system?: string;
  /** Plain text only: stop before the first of these. */
  readonly stop?: readonly string[];
}

/** Work done so far, for budgets and estimates. */
export interface Usage {
  readonly calls: number;
  /** Prompt tokens evaluated (those already kept in the cache of a shared prefix do not count). */
  readonly promptTokens: number;
  readonly generatedTokens: number;
  /** Seconds of the model's work, summed over the processes that did it. */
  readonly seconds: number;
}

/**
 * The seam to a language model. Every call may reject with the abort signal's reason, MODEL_INVALID (the file),
 * MODEL_UNSUPPORTED (the engine cannot do this) or OUT_OF_MEMORY; an engine that crashes has been retried before.
 */
export interface LanguageModel {
  /** For people: the file's name. */
  readonly name: string;
  /** Content hash of the weights: the first part of every cache key. */
  readonly hash: string;
  /** How many requests are worth sending at once. */
  readonly parallelism: number;
  /** One text per prompt. */
  generate(prompts: readonly string[], options?: GenerateOptions): Promise<string[]>;
  /** One vector per text; MODEL_UNSUPPORTED for a model that does not embed. */
  embed(texts: readonly string[], options?: RunOptions): Promise<Float32Array[]>;
  scoreNext(request: ScoreRequest, options?: ScoreOptions): Promise<ScoreResult>;
  usage(): Usage;
  /** Ends the engine's processes; calls in flight reject. */
  close(): Promise<void>;
}
