import { createRandom, hashJson, SignatureClusterer } from "@prismrec/core";
import type { CachedModel } from "../cache/cached-model.js";
import { itemText } from "../facets/item-text.js";
import { FACET_PROMPT_VERSION, type FacetPreset, facetPrefix, facetPreset, facetQuestion } from "../facets/prompts.js";
import { centred, facetSignatures, informationOf, selectColumns } from "../facets/signatures.js";
import { categoryWords, type Facet, mergeFacets, proposedWords } from "../facets/vocabulary.js";
import { pairQuantile } from "./cut.js";
import type { ClustererContext, ClustererDefinition } from "./definition.js";
import { requireModel } from "./require-model.js";

/** Items whose themes the model is asked to name freely. */
const SAMPLED = 48;
/** Words of the model's own that join the vocabulary at most. */
const MOST_PROPOSED = 24;
const DEFAULT_CUT = 0.8;

/**
 * *Score* (docs/concepts/method.md): the model reads each item once, after worked examples, and says how likely each
 * facet word comes next; an item's signature is what speaks for each facet beyond the catalog's mean. Works with models
 * far too small to partition; costs N items once, whatever the number of users.
 */
export const facetsClusterer: ClustererDefinition = {
  name: "facets",
  needs: "model",
  description: "a language model scores facet words for every item once; histories are grouped by the answers",
  async create(context) {
    const start = performance.now();
    const model = requireModel("facets", context);
    const { catalog, maxFacets = 40, seed = 1, cut = DEFAULT_CUT, textMode = "without-year" } = context;
    const texts = catalog.items.slice(1).map((item) => itemText(item, textMode));
    const preset = facetPreset(categoryWords(catalog));
    const vocabulary = await facetVocabulary(model, preset, texts, context);
    const words = vocabulary.map(({ word }) => word);
    const scored = await model.scoreNext(
      {
        prefix: facetPrefix(preset),
        continuations: texts.map((text) => facetQuestion(preset, text)),
        words,
      },
      context,
    );
    const z = centred(scored.logProbs);
    const information = informationOf(scored.logProbs);
    const columns = Array.from(information.keys())
      .sort((a, b) => information[b]! - information[a]! || a - b)
      .slice(0, maxFacets);
    const signatures = facetSignatures(selectColumns(z, columns));
    const threshold = cut === "silhouette" ? cut : pairQuantile(signatures, cut, seed);
    const facets = columns.map((column) => scored.words[column]!);
    const sources = new Map(vocabulary.map((facet) => [facet.word, facet]));
    const clusterer = new SignatureClusterer({
      name: "facets",
      fingerprint: hashJson([
        "facets",
        FACET_PROMPT_VERSION,
        preset.name,
        model.model.hash,
        facets,
        threshold,
        catalog.items.slice(1).map(({ id }, i) => [id, texts[i]]),
      ]),
      catalog,
      signatures,
      facets,
      threshold,
    });
    return {
      clusterer,
      report: {
        name: "facets",
        model: model.model.name,
        preset: preset.name,
        facets: columns.map((column, i) => ({ ...sources.get(facets[i]!)!, information: information[column]! })),
        dropped: scored.dropped,
        threshold,
        seconds: (performance.now() - start) / 1000,
      },
    };
  },
};

/** The user's facets; or the preset's, the data's categories and what the model says sampled items are about. */
async function facetVocabulary(
  model: CachedModel,
  preset: FacetPreset,
  texts: readonly string[],
  context: ClustererContext,
): Promise<Facet[]> {
  const { catalog, facets, seed = 1 } = context;
  if (facets !== undefined && facets.length > 0) return mergeFacets([{ source: "user", words: facets }]);
  // Sorted first: the sample, and with it every kept answer, is the same for the same items in any order.
  const sampled = createRandom(seed, "facet-sample")
    .shuffle([...new Set(texts)].sort())
    .slice(0, SAMPLED);
  const answers = await model.generate(
    sampled.map((text) => facetPrefix(preset) + facetQuestion(preset, text)),
    {
      chat: false,
      maxTokens: 6,
      stop: [".", ",", "\n"],
      ...(context.signal === undefined ? {} : { signal: context.signal }),
      ...(context.onProgress === undefined ? {} : { onProgress: context.onProgress }),
    },
  );
  return mergeFacets([
    { source: "preset", words: preset.words },
    { source: "category", words: categoryWords(catalog) },
    { source: "model", words: proposedWords(answers).slice(0, MOST_PROPOSED) },
  ]);
}
