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

/**
 * What an engine can do with a model. A clusterer asks for these, never for an engine: what it lacks is known before it is
 * asked anything.
 */
export interface Capabilities {
  /** Writes texts (`generate`). */
  readonly text: boolean;
  /** Holds a text to a GBNF grammar. */
  readonly grammar: boolean;
  /** Holds a text to a JSON schema. */
  readonly jsonSchema: boolean;
  /** Log-probabilities of words that are given (`scoreNext`); the likeliest words alone are not these. */
  readonly scoreWords: boolean;
  /** Vectors of texts (`embed`). */
  readonly embeddings: boolean;
  /** Several requests at once take less time than one after another. */
  readonly batching: boolean;
}

export type Capability = keyof Capabilities;

export interface GenerateOptions extends RunOptions {
  /** GBNF; the text is one that it accepts, or the start of one where `maxTokens` cut it. */
  readonly grammar?: string;
  /** JSON schema of the same answer, for an engine that takes no grammar but takes this; the text is JSON then. */
  readonly jsonSchema?: Readonly<Record<string, unknown>>;
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
 * MODEL_UNSUPPORTED (the engine cannot do this), OUT_OF_MEMORY, or, of a server, LLM_UNAUTHORIZED, LLM_MODEL_NOT_FOUND,
 * LLM_TIMEOUT, LLM_SERVER_FAILED or LLM_OUTPUT_INVALID; what may pass has been retried before.
 */
export interface LanguageModel {
  /** For people: the file's name, or the model's name on its server. */
  readonly name: string;
  /** Identity, the first part of every cache key: content hash of the weights, or of what a server says of its model. */
  readonly hash: string;
  readonly capabilities: Capabilities;
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
