import { PrismrecError } from "@prismrec/core/base";
import type { LanguageModel } from "../model/language-model.js";

/** What a stage may spend on a language model; absent means no limit. */
export interface BudgetLimits {
  readonly maxCalls?: number;
  readonly maxTokens?: number;
  readonly maxSeconds?: number;
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

  /** Throws BUDGET_EXCEEDED once a limit is reached; `saved` and `total` say what is done. */
  check(saved: number, total: number): void {
    const { maxCalls, maxTokens, maxSeconds } = this.#limits;
    const now = this.#model.usage();
    const tokens = now.promptTokens + now.generatedTokens - this.#start.promptTokens - this.#start.generatedTokens;
    const spent: [name: string, used: number, limit: number | undefined][] = [
      ["calls", now.calls - this.#start.calls, maxCalls],
      ["tokens", tokens, maxTokens],
      ["seconds", (performance.now() - this.#startTime) / 1000, maxSeconds],
    ];
    for (const [name, used, limit] of spent) {
      if (limit !== undefined && used >= limit) {
        throw new PrismrecError("BUDGET_EXCEEDED", `the language model's budget of ${limit} ${name} is spent`, {
          expected: `${total} answers`,
          received: `${saved} answers, all of them saved`,
          hint: "raise the budget and run the same command again: it continues where it stopped",
        });
      }
    }
  }
}
