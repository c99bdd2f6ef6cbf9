import type { RunOptions } from "@prismrec/core/base";
import type { CachedModel } from "../cache/cached-model.js";
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
  const answers = await model.generate(
    texts.map((text) => kindPrompt(domain, text, set)),
    {
      ...KIND_OPTIONS,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
    },
  );
  return answers.map(parseKind);
}
