import { PrismrecError } from "@prismrec/core/base";
import type { LanguageModel } from "../model/language-model.js";

/** What a stage may spend on a language model; absent means no limit. */
export interface BudgetLimits {
  readonly maxCalls?: number;
  readonly maxTokens?: number;
  readonly maxSeconds?: number;
}

interface Spent {
  readonly name: string;
  readonly used: number;
  readonly limit: number;
}

/** Counts what a model has spent since the budget was made. */
export class Budget {
  readonly #limits: BudgetLimits;
  readonly #model: LanguageModel;
  readonly #start: ReturnType<LanguageModel["usage"]>;
  readonly #startTime = performance.now();

  constructor(model: LanguageModel, limits: BudgetLimits) {
    this.#model = model;
    this.#limits = limits;
    this.#start = model.usage();
  }

  /** How many of `wanted` further requests may be made, going by what those before have taken; 0: the budget is spent. */
  room(wanted: number): number {
    const calls = this.#model.usage().calls - this.#start.calls;
    const left = this.#spent().map(({ name, used, limit }) => {
      const each = name === "calls" || calls === 0 ? 1 : used / calls;
      return used >= limit ? 0 : Math.max(1, Math.floor((limit - used) / each));
    });
    return Math.min(wanted, ...left);
  }

  /** Throws BUDGET_EXCEEDED once a limit is reached; `saved` and `total` say what is done. */
  check(saved: number, total: number): void {
    const spent = this.#spent().find(({ used, limit }) => used >= limit);
    if (spent === undefined) return;
    throw new PrismrecError("BUDGET_EXCEEDED", `the language model's budget of ${spent.limit} ${spent.name} is spent`, {
      expected: `${total} answers`,
      received: `${saved} answers, all of them saved`,
      hint: "raise the budget and run the same command again: it continues where it stopped",
    });
  }

  #spent(): Spent[] {
    const { maxCalls, maxTokens, maxSeconds } = this.#limits;
    const now = this.#model.usage();
    const tokens = now.promptTokens + now.generatedTokens - this.#start.promptTokens - this.#start.generatedTokens;
    return [
      { name: "calls", used: now.calls - this.#start.calls, limit: maxCalls ?? Number.POSITIVE_INFINITY },
      { name: "tokens", used: tokens, limit: maxTokens ?? Number.POSITIVE_INFINITY },
      {
        name: "seconds",
        used: (performance.now() - this.#startTime) / 1000,
        limit: maxSeconds ?? Number.POSITIVE_INFINITY,
      },
    ];
  }
}
