import type { RunOptions } from "@prismrec/core/base";
import type { CachedModel, ReadingOrder } from "../cache/cached-model.js";
import type { CostEstimate } from "../cache/cost.js";
import type { CatalogDomain } from "./domains.js";
import { KIND_OPTIONS, kindPrompt, parseKind } from "./prompts.js";

/**
 * What the model says each text is: a few phrases, joined by commas, or "". One question for each distinct text, asked once for
 * as long as the model's cache lasts.
 *
 * @param set the worked examples shown (default 0); the second set tells how much the first decides
 */
export async function readKinds(
  model: CachedModel,
  domain: CatalogDomain,
  texts: readonly string[],
  options: RunOptions = {},
  set: 0 | 1 = 0,
): Promise<string[]> {
  const answers = await model.generate(promptsOf(domain, texts, set), asking(options));
  return answers.map(parseKind);
}

/** As `readKinds`; undefined for what the budget did not do for. */
export async function readKindsWithinBudget(
  model: CachedModel,
  domain: CatalogDomain,
  texts: readonly string[],
  options: RunOptions & ReadingOrder = {},
): Promise<(string | undefined)[]> {
  const answers = await model.generateWithinBudget(promptsOf(domain, texts, 0), asking(options));
  return answers.map((answer) => (answer === undefined ? undefined : parseKind(answer)));
}

/** What `readKinds` would cost (`CachedModel.estimateTexts`). */
export function estimateKinds(
  model: CachedModel,
  domain: CatalogDomain,
  texts: readonly string[],
  options: RunOptions = {},
): Promise<CostEstimate> {
  return model.estimateTexts(promptsOf(domain, texts, 0), asking(options));
}

function promptsOf(domain: CatalogDomain, texts: readonly string[], set: 0 | 1): string[] {
  return texts.map((text) => kindPrompt(domain, text, set));
}

function asking({ signal, onProgress, order }: RunOptions & ReadingOrder) {
  return {
    ...KIND_OPTIONS,
    ...(signal === undefined ? {} : { signal }),
    ...(onProgress === undefined ? {} : { onProgress }),
    ...(order === undefined ? {} : { order }),
  };
}
