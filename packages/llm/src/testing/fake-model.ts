import type {
  Capabilities,
  GenerateOptions,
  LanguageModel,
  ScoreOptions,
  ScoreRequest,
  ScoreResult,
  Usage,
} from "../model/language-model.js";

/** A model made of functions, which counts what it is asked. For tests only. */
export class FakeModel implements LanguageModel {
  readonly name = "fake.gguf";
  readonly hash: string;
  readonly parallelism = 1;
  readonly capabilities: Capabilities;
  static readonly #ALL: Capabilities = {
    text: true,
    grammar: true,
    jsonSchema: false,
    scoreWords: true,
    embeddings: true,
    batching: false,
  };
  /** Every text, prompt or continuation that reached the model. */
  readonly asked: string[] = [];
  readonly #answers: {
    readonly generate?: (prompt: string, options: GenerateOptions) => string;
    readonly score?: (continuation: string, word: string) => number;
    readonly embed?: (text: string) => readonly number[];
  };
  constructor(
    answers: {
      generate?: (prompt: string, options: GenerateOptions) => string;
      score?: (continuation: string, word: string) => number;
      embed?: (text: string) => readonly number[];
    },
    hash = "fake",
    capabilities: Partial<Capabilities> = {},
  ) {
    this.#answers = answers;
    this.hash = hash;
    this.capabilities = { ...FakeModel.#ALL, ...capabilities };
  }

  async generate(prompts: readonly string[], options: GenerateOptions = {}): Promise<string[]> {
    return prompts.map((prompt) => {
      this.#count(prompt, options.signal);
      return this.#answers.generate?.(prompt, options) ?? "";
    });
  }

  async embed(texts: readonly string[]): Promise<Float32Array[]> {
    return texts.map((text) => {
      this.#count(text, undefined);
      return Float32Array.from(this.#answers.embed?.(text) ?? []);
    });
  }

  async scoreNext({ continuations, words }: ScoreRequest, options: ScoreOptions = {}): Promise<ScoreResult> {
    const logProbs = continuations.map((text, i) => {
      this.#count(text, options.signal);
      const row = Float32Array.from(words, (word) => this.#answers.score?.(text, word) ?? 0);
      options.onRow?.(i, row);
      return row;
    });
    return { words, dropped: [], logProbs };
  }

  usage(): Usage {
    const calls = this.asked.length;
    return { calls, promptTokens: calls * 10, generatedTokens: 0, seconds: 0 };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #count(text: string, signal: AbortSignal | undefined): void {
    signal?.throwIfAborted();
    this.asked.push(text);
  }
}
