import { PrismrecError } from "@prismrec/core/base";
import type { LanguageModel } from "../model/language-model.js";

/** What a stage may spend on a language model; absent means no limit. */
export interface BudgetLimits {
  readonly maxCalls?: number;
  readonly maxTokens?: number;
  readonly maxSeconds?: number;
}

interface Spending {
  readonly calls: number;
  readonly tokens: number;
}

interface Spent {
  readonly name: string;
  readonly used: number;
  readonly limit: number;
}

/** Counts what models have spent, all together, since the budget was made. */
export class Budget {
  readonly #limits: BudgetLimits;
  readonly #models: readonly LanguageModel[];
  readonly #start: Spending;
  readonly #startTime = performance.now();

  constructor(models: readonly LanguageModel[], limits: BudgetLimits) {
    this.#models = models;
    this.#limits = limits;
    this.#start = spendingOf(models);
  }

  /** What is left of it now. */
  left(): BudgetLimits {
    const left = Object.fromEntries(this.#spent().map(({ name, used, limit }) => [name, Math.max(0, limit - used)]));
    const { maxCalls, maxTokens, maxSeconds } = this.#limits;
    return {
      ...(maxCalls === undefined ? {} : { maxCalls: left.calls! }),
      ...(maxTokens === undefined ? {} : { maxTokens: left.tokens! }),
      ...(maxSeconds === undefined ? {} : { maxSeconds: left.seconds! }),
    };
  }

  /** How many of `wanted` further requests may be made, going by what those before have taken; 0: the budget is spent. */
  room(wanted: number): number {
    const calls = spendingOf(this.#models).calls - this.#start.calls;
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
    const now = spendingOf(this.#models);
    return [
      { name: "calls", used: now.calls - this.#start.calls, limit: maxCalls ?? Number.POSITIVE_INFINITY },
      { name: "tokens", used: now.tokens - this.#start.tokens, limit: maxTokens ?? Number.POSITIVE_INFINITY },
      {
        name: "seconds",
        used: (performance.now() - this.#startTime) / 1000,
        limit: maxSeconds ?? Number.POSITIVE_INFINITY,
      },
    ];
  }
}

function spendingOf(models: readonly LanguageModel[]): Spending {
  const usages = models.map((model) => model.usage());
  return {
    calls: usages.reduce((sum, { calls }) => sum + calls, 0),
    tokens: usages.reduce((sum, { promptTokens, generatedTokens }) => sum + promptTokens + generatedTokens, 0),
  };
}
