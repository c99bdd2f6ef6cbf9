import { hashJson, type RunOptions } from "@prismrec/core/base";
import { z } from "zod";
import type {
  GenerateOptions,
  LanguageModel,
  ScoreOptions,
  ScoreRequest,
  ScoreResult,
} from "../model/language-model.js";
import { type AnswerCache, answerKey } from "./answer-cache.js";
import { Budget, type BudgetLimits } from "./budget.js";

const scoredWords = z.object({
  words: z.array(z.string()),
  dropped: z.array(z.object({ word: z.string(), collidesWith: z.string() })),
});
const numbers = z.array(z.number());

/** Requests sent between two looks at the budget and the disk, per process of the model. */
const BATCH_PER_PROCESS = 8;

/**
 * A model whose answers are kept: what is in the cache is not asked again, what is asked is saved as it comes, and a
 * budget stops it between requests with everything saved.
 */
export class CachedModel {
  readonly model: LanguageModel;
  readonly #cache: AnswerCache | undefined;
  readonly #budget: Budget;

  constructor(model: LanguageModel, cache: AnswerCache | undefined, limits: BudgetLimits = {}) {
    this.model = model;
    this.#cache = cache;
    this.#budget = new Budget(model, limits);
  }

  async generate(prompts: readonly string[], options: GenerateOptions = {}): Promise<string[]> {
    const { signal: _signal, onProgress: _onProgress, ...asked } = options;
    return this.#each(
      "generate",
      prompts,
      (prompt) => this.#textKey(prompt, asked),
      (value) => z.string().parse(value),
      options,
      async (batch, keep) => {
        const texts = await this.model.generate(batch, { ...asked, ...signalOf(options) });
        for (const [i, text] of texts.entries()) keep(i, text);
      },
    );
  }

  async embed(texts: readonly string[], options: RunOptions = {}): Promise<Float32Array[]> {
    const vectors = await this.#each(
      "embed",
      texts,
      (text) => this.#vectorKey(text),
      (value) => numbers.parse(value),
      options,
      async (batch, keep) => {
        const rows = await this.model.embed(batch, signalOf(options));
        for (const [i, row] of rows.entries())
          keep(
            i,
            Array.from(row, (x) => Number(x.toPrecision(6))),
          );
      },
    );
    return vectors.map((vector) => Float32Array.from(vector));
  }

  /** As `LanguageModel.scoreNext`; scores are kept to four decimals, fresh or not, so that a resumed run is the same. */
  async scoreNext(request: ScoreRequest, options: ScoreOptions = {}): Promise<ScoreResult> {
    const { prefix, continuations } = request;
    const question = this.#question(request);
    const questionKey = answerKey(this.model.hash, question);
    const known = this.#cache?.get(questionKey);
    const parsed = scoredWords.safeParse(known);
    const about = parsed.success
      ? parsed.data
      : await this.model.scoreNext({ ...request, continuations: continuations.slice(0, 1) }, signalOf(options));
    if (!parsed.success) this.#cache?.put(questionKey, { words: about.words, dropped: about.dropped });
    const rows = await this.#each(
      "score",
      continuations,
      (text) => this.#scoreKey(question, text),
      (value) => numbers.length(about.words.length).parse(value),
      options,
      (batch, keep) =>
        this.model
          .scoreNext(
            { prefix, continuations: batch, words: about.words },
            {
              ...signalOf(options),
              onRow: (i, row) =>
                keep(
                  i,
                  Array.from(row, (x) => Math.round(x * 1e4) / 1e4),
                ),
            },
          )
          .then(() => undefined),
    );
    return { words: about.words, dropped: about.dropped, logProbs: rows.map((row) => Float32Array.from(row)) };
  }

  /** How many of these texts the cache can write without the model. */
  keptTexts(prompts: readonly string[], options: Omit<GenerateOptions, keyof RunOptions> = {}): number {
    return this.#kept(prompts.map((prompt) => this.#textKey(prompt, options)));
  }

  keptVectors(texts: readonly string[]): number {
    return this.#kept(texts.map((text) => this.#vectorKey(text)));
  }

  keptScores(request: ScoreRequest): number {
    const question = this.#question(request);
    return this.#kept(request.continuations.map((text) => this.#scoreKey(question, text)));
  }

  #kept(keys: readonly string[]): number {
    return keys.filter((key) => this.#cache?.has(key) === true).length;
  }

  #textKey(prompt: string, options: Omit<GenerateOptions, keyof RunOptions>): string {
    return answerKey(this.model.hash, ["generate-1", this.model.hash, prompt, options]);
  }

  #vectorKey(text: string): string {
    return answerKey(this.model.hash, ["embed-1", this.model.hash, text]);
  }

  #scoreKey(question: unknown, text: string): string {
    return answerKey(this.model.hash, [hashJson(question), text]);
  }

  /** What is asked about every text of a request. */
  #question({ prefix, continuations, words }: ScoreRequest): unknown {
    const base = continuations[0] === undefined ? "" : (/\S+$/.exec(continuations[0])?.[0] ?? "");
    return ["score-1", this.model.hash, prefix, base, words];
  }

  async #each<T>(
    stage: string,
    inputs: readonly string[],
    keyOf: (input: string) => string,
    parse: (value: unknown) => T,
    { signal, onProgress }: RunOptions,
    ask: (batch: readonly string[], keep: (index: number, value: T) => void) => Promise<void>,
  ): Promise<T[]> {
    const answers = new Map<string, T>();
    const open: string[] = [];
    for (const input of new Set(inputs)) {
      const kept = this.#cache?.get(keyOf(input));
      if (kept === undefined) open.push(input);
      else answers.set(input, parse(kept));
    }
    const total = answers.size + open.length;
    const step = BATCH_PER_PROCESS * this.model.parallelism;
    const report = (): void => onProgress?.({ stage, done: answers.size, total, unit: "answers" });
    report();
    for (let at = 0; at < open.length; at += step) {
      signal?.throwIfAborted();
      this.#budget.check(answers.size, total);
      const batch = open.slice(at, at + step);
      await ask(batch, (i, value) => {
        answers.set(batch[i]!, value);
        this.#cache?.put(keyOf(batch[i]!), value);
        report();
      }).finally(() => this.#cache?.flush());
    }
    return inputs.map((input) => answers.get(input)!);
  }
}

function signalOf({ signal }: RunOptions): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}
