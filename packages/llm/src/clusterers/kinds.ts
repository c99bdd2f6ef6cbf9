import { hashJson, type RunOptions } from "@prismrec/core/base";
import type { Catalog } from "@prismrec/core/data";
import { CachedModel } from "../cache/cached-model.js";
import { addCosts } from "../cache/cost.js";
import { itemText } from "../facets/item-text.js";
import { domainOf, type FoundDomain } from "../kinds/domains.js";
import { KIND_PROMPT_VERSION, parseKind } from "../kinds/prompts.js";
import { estimateKinds, readKindsWithinBudget } from "../kinds/read-kinds.js";
import type { Capability, LanguageModel } from "../model/language-model.js";
import { centredVectors } from "../signatures/centred-vectors.js";
import type { ItemSignatures } from "../signatures/item-signatures.js";
import { wordSignatures } from "../signatures/word-signatures.js";
import { bySignatures } from "./by-signatures.js";
import type { ClustererContext } from "./definition.js";
import { LEAST_COSINE } from "./facets.js";
import { readingOf, withUnread } from "./reading.js";
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
    const kinds = await readKindsWithinBudget(model, domain, texts, readingOf(context));
    const made = await signaturesOfKinds(catalog, kinds, { ...context, budget: model.budgetLeft() });
    return {
      ...made,
      fingerprint: hashJson(["kinds", KIND_PROMPT_VERSION, domain, model.model.hash, made.fingerprint]),
      report: { ...made.report, model: model.model.name, domain: { name: domain, because } },
    };
  },
  async estimate(context) {
    const model = requireModel("kinds", context, REQUIRES);
    const { catalog, cache, embedder, textMode = "without-year" } = context;
    const { domain } = knownDomain(context);
    const texts = [...new Set(catalog.items.slice(1).map((item) => itemText(item, textMode)))];
    const written = await estimateKinds(model, domain, texts, readingOf(context));
    if (embedder === undefined) return written;
    // What is written is not known before: where it is not kept, a title is about as long.
    const kept = await readKindsWithinBudget(new CachedModel(model.model, cache, { maxCalls: 0 }), domain, texts);
    const said = kept.map((kind, i) => (kind === undefined ? texts[i]! : kind)).filter((text) => text !== "");
    const { order: _, ...watched } = readingOf(context);
    return addCosts([written, await vectorModel(embedder, context).estimateVectors(said, watched)]);
  },
});

function knownDomain({ domain, catalog }: ClustererContext): FoundDomain {
  return domain === undefined ? domainOf(catalog) : { domain, because: "the settings" };
}

type SpentOn = Pick<ClustererContext, "cache" | "budget">;

function vectorModel(embedder: LanguageModel, { cache, budget }: SpentOn): CachedModel {
  return requireModel(
    "kinds",
    { model: embedder, ...(cache === undefined ? {} : { cache }), ...(budget === undefined ? {} : { budget }) },
    ["embeddings"],
  );
}

/**
 * Signatures of what was said of each item ("": nothing; undefined: it was not read), [N] in the order of dense ids. Items of
 * which nothing is said go by their categories.
 */
export async function signaturesOfKinds(
  catalog: Catalog,
  kinds: readonly (string | undefined)[],
  context: Pick<ClustererContext, "embedder" | "order"> & SpentOn & RunOptions,
): Promise<ItemSignatures> {
  const { embedder } = context;
  const items = catalog.items.slice(1);
  const texts = kinds.map((kind, i) => kind || parseKind(items[i]!.categories.join(", ")));
  const open = Array.from(kinds.keys()).filter((i) => !kinds[i]);
  const isBudgetSpent = kinds.includes(undefined);
  const byItem = [items.map(({ id }, i) => [id, texts[i]]), ...(open.length === 0 ? [] : [open])];
  if (embedder === undefined) {
    const { matrix, words } = wordSignatures(texts);
    return {
      describes: true,
      matrix,
      columns: words,
      fingerprint: hashJson(["kinds-by-words-1", ...byItem]),
      leastCosine: LEAST_COSINE,
      unread: { rows: open, byCategory: open.filter((i) => texts[i] !== ""), isBudgetSpent },
      report: {},
    };
  }
  const vectors = await vectorsOf(vectorModel(embedder, context), texts, context);
  const read = centredVectors(
    vectors.filter((vector) => vector !== undefined),
    embedder.name,
  );
  const missing = Array.from(vectors.keys()).filter((i) => vectors[i] === undefined);
  const unread = [...new Set([...open, ...missing])].sort((a, b) => a - b);
  return {
    describes: false,
    matrix: withUnread(read, missing, () => new Float32Array(read.cols)),
    columns: [],
    fingerprint: hashJson(["kinds-by-vectors-1", embedder.hash, ...byItem, ...(missing.length === 0 ? [] : [missing])]),
    leastCosine: 0,
    unread: {
      rows: unread,
      byCategory: open.filter((i) => vectors[i] !== undefined),
      isBudgetSpent: isBudgetSpent || missing.some((i) => texts[i] !== ""),
    },
    report: {},
  };
}

/** A vector for each text; undefined for "", and for what the budget did not do for. */
async function vectorsOf(
  model: CachedModel,
  texts: readonly string[],
  context: Pick<ClustererContext, "order"> & RunOptions,
): Promise<(Float32Array | undefined)[]> {
  const { order, ...watched } = readingOf(context);
  const said = Array.from(new Set([...(order ?? []).map((i) => texts[i]!), ...texts])).filter((text) => text !== "");
  const vectors = await model.embedWithinBudget(said, watched);
  const vectorOf = new Map(said.map((text, i) => [text, vectors[i]]));
  return texts.map((text) => vectorOf.get(text));
}
