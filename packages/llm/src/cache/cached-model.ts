import { hashJson, type RunOptions } from "@prismrec/core/base";
import { z } from "zod";
import type { GenerateOptions, LanguageModel, ScoreRequest, ScoreResult } from "../model/language-model.js";
import { type AnswerCache, answerKey } from "./answer-cache.js";
import { Budget, type BudgetLimits } from "./budget.js";
import { type CostEstimate, measureCost } from "./cost.js";

const scoredWords = z.object({
  words: z.array(z.string()),
  dropped: z.array(z.object({ word: z.string(), collidesWith: z.string() })),
});
const numbers = z.array(z.number());

/** Requests sent between two looks at the budget and the disk, per process of the model. */
const BATCH_PER_PROCESS = 8;

/** Which inputs come first where a budget may not do for all: their indices; those left out come last. */
export interface ReadingOrder {
  readonly order?: readonly number[];
}

/** `ScoreResult`, undefined for what the budget did not do for. */
export interface PartialScores extends Omit<ScoreResult, "logProbs"> {
  readonly logProbs: readonly (Float32Array | undefined)[];
}

interface Asking<T> extends RunOptions, ReadingOrder {
  readonly stage: string;
  readonly inputs: readonly string[];
  keyOf(input: string): string;
  /** Reads what is kept. */
  parse(value: unknown): T;
  ask(batch: readonly string[], keep: (index: number, value: T) => void): Promise<void>;
}

/**
 * A model whose answers are kept: what is in the cache is not asked again, what is asked is saved as it comes, and a budget
 * stops it between requests with everything saved: with an error, or, of the methods that end in `WithinBudget`, with
 * undefined in the place of what was not asked.
 */
export class CachedModel {
  readonly model: LanguageModel;
  readonly #cache: AnswerCache | undefined;
  readonly #budget: Budget;

  constructor(model: LanguageModel, cache: AnswerCache | undefined, limits: BudgetLimits = {}) {
    this.model = model;
    this.#cache = cache;
    this.#budget = new Budget([model], limits);
  }

  /** What is left of the budget. */
  budgetLeft(): BudgetLimits {
    return this.#budget.left();
  }

  async generate(prompts: readonly string[], options: GenerateOptions = {}): Promise<string[]> {
    return this.#all(this.#texts(prompts, options));
  }

  generateWithinBudget(
    prompts: readonly string[],
    options: GenerateOptions & ReadingOrder = {},
  ): Promise<(string | undefined)[]> {
    return this.#some(this.#texts(prompts, options));
  }

  async embed(texts: readonly string[], options: RunOptions = {}): Promise<Float32Array[]> {
    const rows = await this.#all(this.#vectors(texts, options));
    return rows.map((row) => Float32Array.from(row));
  }

  async embedWithinBudget(
    texts: readonly string[],
    options: RunOptions & ReadingOrder = {},
  ): Promise<(Float32Array | undefined)[]> {
    const rows = await this.#some(this.#vectors(texts, options));
    return rows.map((row) => (row === undefined ? undefined : Float32Array.from(row)));
  }

  /** As `LanguageModel.scoreNext`; scores are kept to four decimals, fresh or not, so that a resumed run is the same. */
  async scoreNext(request: ScoreRequest, options: RunOptions = {}): Promise<ScoreResult> {
    const about = await this.#about(request, options);
    const rows = await this.#all(this.#scores(request, about.words, options));
    return { ...about, logProbs: rows.map((row) => Float32Array.from(row)) };
  }

  async scoreNextWithinBudget(request: ScoreRequest, options: RunOptions & ReadingOrder = {}): Promise<PartialScores> {
    const isKnown = this.#knownWords(request) !== undefined;
    if (!isKnown && this.#budget.room(1) === 0) {
      return { words: request.words, dropped: [], logProbs: request.continuations.map(() => undefined) };
    }
    const about = await this.#about(request, options);
    const rows = await this.#some(this.#scores(request, about.words, options));
    return { ...about, logProbs: rows.map((row) => (row === undefined ? undefined : Float32Array.from(row))) };
  }

  /** What `generate` would cost, from what is kept and from a sample, which is asked, and kept. */
  estimateTexts(prompts: readonly string[], options: GenerateOptions = {}): Promise<CostEstimate> {
    return this.#estimate(this.#texts(prompts, options), (batch) => this.generate(batch, options));
  }

  /** What `embed` would cost, as `estimateTexts`. */
  estimateVectors(texts: readonly string[], options: RunOptions = {}): Promise<CostEstimate> {
    return this.#estimate(this.#vectors(texts, options), (batch) => this.embed(batch, signalOf(options)));
  }

  /** What `scoreNext` would cost, as `estimateTexts`. */
  async estimateScores(request: ScoreRequest, options: RunOptions = {}): Promise<CostEstimate> {
    const { words } = await this.#about(request, options);
    return this.#estimate(this.#scores(request, words, options), (batch) =>
      this.scoreNext({ ...request, continuations: batch }, signalOf(options)),
    );
  }

  /** How many of these texts the cache can write without the model. */
  keptTexts(prompts: readonly string[], options: GenerateOptions = {}): number {
    return this.#kept(this.#texts(prompts, options));
  }

  #kept<T>({ inputs, keyOf }: Asking<T>): number {
    return inputs.filter((input) => this.#cache?.has(keyOf(input)) === true).length;
  }

  #estimate<T>(
    { inputs, keyOf }: Asking<T>,
    ask: (batch: readonly string[]) => Promise<unknown>,
  ): Promise<CostEstimate> {
    return measureCost(this.model, [...new Set(inputs)], (input) => this.#cache?.has(keyOf(input)) === true, ask);
  }

  #texts(prompts: readonly string[], options: GenerateOptions & ReadingOrder): Asking<string> {
    const { signal: _signal, onProgress: _onProgress, order: _order, ...asked } = options;
    return {
      ...runOf(options),
      stage: "generate",
      inputs: prompts,
      keyOf: (prompt) => answerKey(this.model.hash, ["generate-1", this.model.hash, prompt, asked]),
      parse: (value) => z.string().parse(value),
      ask: async (batch, keep) => {
        const texts = await this.model.generate(batch, { ...asked, ...signalOf(options) });
        for (const [i, text] of texts.entries()) keep(i, text);
      },
    };
  }

  #vectors(texts: readonly string[], options: RunOptions & ReadingOrder): Asking<readonly number[]> {
    return {
      ...runOf(options),
      stage: "embed",
      inputs: texts,
      keyOf: (text) => answerKey(this.model.hash, ["embed-1", this.model.hash, text]),
      parse: (value) => numbers.parse(value),
      ask: async (batch, keep) => {
        const rows = await this.model.embed(batch, signalOf(options));
        for (const [i, row] of rows.entries()) {
          keep(
            i,
            Array.from(row, (x) => Number(x.toPrecision(6))),
          );
        }
      },
    };
  }

  #scores(
    request: ScoreRequest,
    words: readonly string[],
    options: RunOptions & ReadingOrder,
  ): Asking<readonly number[]> {
    const { prefix, continuations } = request;
    const question = questionOf(this.model, request);
    return {
      ...runOf(options),
      stage: "score",
      inputs: continuations,
      keyOf: (text) => this.#scoreKey(question, text),
      parse: (value) => numbers.length(words.length).parse(value),
      ask: async (batch, keep) => {
        const onRow = (i: number, row: Float32Array): void => keep(i, rounded(row));
        await this.model.scoreNext({ prefix, continuations: batch, words }, { ...signalOf(options), onRow });
      },
    };
  }

  #scoreKey(question: unknown, text: string): string {
    return answerKey(this.model.hash, [hashJson(question), text]);
  }

  /** Which of the words can be told apart, as kept; undefined where that is not known yet. */
  #knownWords(request: ScoreRequest): z.infer<typeof scoredWords> | undefined {
    const known = this.#cache?.get(answerKey(this.model.hash, questionOf(this.model, request)));
    return scoredWords.safeParse(known).data;
  }

  /** Which of the words can be told apart: the first text is asked about for it, and its answer kept. */
  async #about(request: ScoreRequest, options: RunOptions): Promise<z.infer<typeof scoredWords>> {
    const known = this.#knownWords(request);
    if (known !== undefined) return known;
    const [first] = request.continuations;
    const asked = { ...request, continuations: first === undefined ? [] : [first] };
    const { words, dropped, logProbs } = await this.model.scoreNext(asked, signalOf(options));
    const about = { words: [...words], dropped: [...dropped] };
    const question = questionOf(this.model, request);
    this.#cache?.put(answerKey(this.model.hash, question), about);
    if (first !== undefined) this.#cache?.put(this.#scoreKey(question, first), rounded(logProbs[0]!));
    return about;
  }

  /** Every answer, in the order of the inputs. Throws BUDGET_EXCEEDED. */
  async #all<T>(asking: Asking<T>): Promise<T[]> {
    const answers = await this.#each(asking, (done, total) => this.#budget.check(done, total));
    return asking.inputs.map((input) => answers.get(input)!);
  }

  async #some<T>(asking: Asking<T>): Promise<(T | undefined)[]> {
    const answers = await this.#each(asking, () => undefined);
    return asking.inputs.map((input) => answers.get(input));
  }

  /** The answers by input, until the budget is spent, of which `onSpent` is told. */
  async #each<T>(
    { stage, inputs, order = [], keyOf, parse, ask, signal, onProgress }: Asking<T>,
    onSpent: (done: number, total: number) => void,
  ): Promise<Map<string, T>> {
    const answers = new Map<string, T>();
    const open: string[] = [];
    for (const input of new Set([...order.map((index) => inputs[index]!), ...inputs])) {
      const kept = this.#cache?.get(keyOf(input));
      if (kept === undefined) open.push(input);
      else answers.set(input, parse(kept));
    }
    const total = answers.size + open.length;
    const report = (): void => onProgress?.({ stage, done: answers.size, total, unit: "answers" });
    report();
    for (let at = 0, step = 0; at < open.length; at += step) {
      signal?.throwIfAborted();
      step = this.#budget.room(BATCH_PER_PROCESS * this.model.parallelism);
      if (step === 0) {
        onSpent(answers.size, total);
        break;
      }
      const batch = open.slice(at, at + step);
      await ask(batch, (i, value) => {
        answers.set(batch[i]!, value);
        this.#cache?.put(keyOf(batch[i]!), value);
        report();
      }).finally(() => this.#cache?.flush());
    }
    return answers;
  }
}

function runOf({ signal, onProgress, order }: RunOptions & ReadingOrder): RunOptions & ReadingOrder {
  return {
    ...(signal === undefined ? {} : { signal }),
    ...(onProgress === undefined ? {} : { onProgress }),
    ...(order === undefined ? {} : { order }),
  };
}

function signalOf({ signal }: RunOptions): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}

/** What is asked about every text of a request. */
function questionOf({ hash }: LanguageModel, { prefix, continuations, words }: ScoreRequest): unknown {
  const base = continuations[0] === undefined ? "" : (/\S+$/.exec(continuations[0])?.[0] ?? "");
  return ["score-1", hash, prefix, base, words];
}

function rounded(row: Float32Array): number[] {
  return Array.from(row, (x) => Math.round(x * 1e4) / 1e4);
}
