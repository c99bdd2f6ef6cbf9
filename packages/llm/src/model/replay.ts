import { hashJson, PrismrecError, type RunOptions } from "@prismrec/core/base";
import type {
  Capabilities,
  GenerateOptions,
  LanguageModel,
  ScoreOptions,
  ScoreRequest,
  ScoreResult,
  Usage,
} from "./language-model.js";

/** Answers by content: what was asked (hashed) and what a model said. Plain JSON. */
export interface Recording {
  readonly name: string;
  readonly hash: string;
  readonly texts: Record<string, string>;
  readonly vectors: Record<string, number[]>;
  readonly scores: Record<
    string,
    { words: string[]; dropped: { word: string; collidesWith: string }[]; row: number[] }
  >;
}

const textKey = (prompt: string, { signal: _signal, onProgress: _onProgress, ...options }: GenerateOptions): string =>
  hashJson(["generate", prompt, options]);
const vectorKey = (text: string): string => hashJson(["embed", text]);
const scoreKey = (prefix: string, continuation: string, words: readonly string[]): string =>
  hashJson(["score", prefix, continuation, words]);

export function emptyRecording(name: string, hash: string): Recording {
  return { name, hash, texts: {}, vectors: {}, scores: {} };
}

/** A model that says again what was recorded; anything else is LLM_OUTPUT_INVALID, never a guess. For tests. */
export class ReplayModel implements LanguageModel {
  readonly name: string;
  readonly hash: string;
  readonly parallelism = 1;
  readonly capabilities: Capabilities;
  readonly #recording: Recording;
  #calls = 0;

  constructor(recording: Recording) {
    this.name = recording.name;
    this.hash = recording.hash;
    this.#recording = recording;
    const { texts, scores, vectors } = recording;
    const said = (answers: object): boolean => Object.keys(answers).length > 0;
    this.capabilities = {
      text: said(texts),
      grammar: said(texts),
      jsonSchema: false,
      scoreWords: said(scores),
      embeddings: said(vectors),
      batching: false,
    };
  }

  async generate(prompts: readonly string[], options: GenerateOptions = {}): Promise<string[]> {
    return prompts.map((prompt) => this.#find(this.#recording.texts, textKey(prompt, options), prompt, options.signal));
  }

  async embed(texts: readonly string[], options: RunOptions = {}): Promise<Float32Array[]> {
    return texts.map((text) =>
      Float32Array.from(this.#find(this.#recording.vectors, vectorKey(text), text, options.signal)),
    );
  }

  async scoreNext({ prefix, continuations, words }: ScoreRequest, options: ScoreOptions = {}): Promise<ScoreResult> {
    const found = continuations.map((text) =>
      this.#find(this.#recording.scores, scoreKey(prefix, text, words), text, options.signal),
    );
    const logProbs = found.map(({ row }) => Float32Array.from(row));
    logProbs.forEach((row, i) => {
      options.onRow?.(i, row);
    });
    return { words: found[0]?.words ?? [], dropped: found[0]?.dropped ?? [], logProbs };
  }

  usage(): Usage {
    return { calls: this.#calls, promptTokens: 0, generatedTokens: 0, seconds: 0 };
  }

  async close(): Promise<void> {
    this.#calls = 0;
  }

  #find<T>(answers: Record<string, T>, key: string, asked: string, signal: AbortSignal | undefined): T {
    signal?.throwIfAborted();
    const answer = answers[key];
    if (answer === undefined) {
      throw new PrismrecError("LLM_OUTPUT_INVALID", "the recording holds no answer to this", {
        received: JSON.stringify(asked),
        hint: "record the conversation again",
      });
    }
    this.#calls++;
    return answer;
  }
}

/** Passes everything on to `model` and writes the answers into `recording`. */
export function recordModel(model: LanguageModel, recording: Recording): LanguageModel {
  return {
    name: model.name,
    hash: model.hash,
    parallelism: model.parallelism,
    capabilities: model.capabilities,
    async generate(prompts, options = {}) {
      const answers = await model.generate(prompts, options);
      prompts.forEach((prompt, i) => {
        recording.texts[textKey(prompt, options)] = answers[i]!;
      });
      return answers;
    },
    async embed(texts, options) {
      const vectors = await model.embed(texts, options);
      texts.forEach((text, i) => {
        recording.vectors[vectorKey(text)] = Array.from(vectors[i]!);
      });
      return vectors;
    },
    async scoreNext(request, options) {
      const result = await model.scoreNext(request, options);
      request.continuations.forEach((text, i) => {
        recording.scores[scoreKey(request.prefix, text, request.words)] = {
          words: [...result.words],
          dropped: [...result.dropped],
          row: Array.from(result.logProbs[i]!),
        };
      });
      return result;
    },
    usage: () => model.usage(),
    close: () => model.close(),
  };
}
