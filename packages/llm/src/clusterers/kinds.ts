import { hashJson, type RunOptions } from "@prismrec/core/base";
import type { Catalog } from "@prismrec/core/data";
import { CachedModel } from "../cache/cached-model.js";
import { itemText } from "../facets/item-text.js";
import { domainOf, type FoundDomain } from "../kinds/domains.js";
import { KIND_OPTIONS, KIND_PROMPT_VERSION, KIND_TOKENS, kindPrompt } from "../kinds/prompts.js";
import { readKinds } from "../kinds/read-kinds.js";
import type { Capability } from "../model/language-model.js";
import { centredVectors } from "../signatures/centred-vectors.js";
import type { ItemSignatures } from "../signatures/item-signatures.js";
import { wordSignatures } from "../signatures/word-signatures.js";
import { bySignatures } from "./by-signatures.js";
import type { ClustererContext } from "./definition.js";
import { LEAST_COSINE } from "./facets.js";
import { requireModel } from "./require-model.js";

const REQUIRES: readonly Capability[] = ["text"];

/**
 * *Describe* (docs/concepts/method.md): the model says in a few words what each item is, once; items are alike as those words
 * are, by TF-IDF or by the vectors of an embedding model where there is one.
 */
export const kindsClusterer = bySignatures({
  name: "kinds",
  needs: "model",
  requires: REQUIRES,
  asksAbout: "items",
  description: "a language model says in a few words what each item is, once; histories are grouped by those words",
  version: KIND_PROMPT_VERSION,
  async signatures(context) {
    const model = requireModel("kinds", context, REQUIRES);
    const { catalog, textMode = "without-year" } = context;
    const { domain, because } = knownDomain(context);
    const texts = catalog.items.slice(1).map((item) => itemText(item, textMode));
    const kinds = await readKinds(model, domain, texts, context);
    const made = await signaturesOfKinds(catalog, kinds, context);
    return {
      ...made,
      fingerprint: hashJson(["kinds", KIND_PROMPT_VERSION, domain, model.model.hash, made.fingerprint]),
      report: { ...made.report, model: model.model.name, domain: { name: domain, because } },
    };
  },
  async estimate(context) {
    const model = requireModel("kinds", context, REQUIRES);
    const { catalog, textMode = "without-year" } = context;
    const { domain } = knownDomain(context);
    const texts = [...new Set(catalog.items.slice(1).map((item) => itemText(item, textMode)))];
    const kept = model.keptTexts(
      texts.map((text) => kindPrompt(domain, text)),
      KIND_OPTIONS,
    );
    const open = texts.length - kept;
    const characters = texts.reduce((sum, text) => sum + text.length, 0) / Math.max(1, texts.length);
    // The worked examples are kept; what is read anew is the title and its frame, what is written rarely fills the limit.
    return {
      calls: texts.length,
      kept,
      tokens: Math.ceil(open * (characters / 4 + FRAME_TOKENS + (3 * KIND_TOKENS) / 4)),
    };
  },
});

/** Tokens around a title. */
const FRAME_TOKENS = 5;

function knownDomain({ domain, catalog }: ClustererContext): FoundDomain {
  return domain === undefined ? domainOf(catalog) : { domain, because: "the settings" };
}

/** Signatures of what was said of each item ("": nothing), [N] in the order of dense ids. */
export async function signaturesOfKinds(
  catalog: Catalog,
  kinds: readonly string[],
  context: Pick<ClustererContext, "embedder" | "cache"> & RunOptions,
): Promise<ItemSignatures> {
  const { embedder, cache } = context;
  const byItem = catalog.items.slice(1).map(({ id }, i) => [id, kinds[i]]);
  const unread = kinds.filter((kind) => kind === "").length;
  const common = { describes: true, report: unread === 0 ? {} : { unread } };
  if (embedder === undefined) {
    const { matrix, words } = wordSignatures(kinds);
    const fingerprint = hashJson(["kinds-by-words-1", byItem]);
    return { ...common, matrix, columns: words, fingerprint, leastCosine: LEAST_COSINE };
  }
  const vectors = await new CachedModel(embedder, cache).embed(kinds, context);
  const matrix = centredVectors(vectors, embedder.name);
  kinds.forEach((kind, i) => {
    if (kind === "") matrix.data.fill(0, i * matrix.cols, (i + 1) * matrix.cols);
  });
  const fingerprint = hashJson(["kinds-by-vectors-1", embedder.hash, byItem]);
  return { ...common, describes: false, matrix, columns: [], fingerprint, leastCosine: 0 };
}
