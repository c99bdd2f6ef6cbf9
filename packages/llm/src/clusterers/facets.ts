import { createRandom, hashJson } from "@prismrec/core/base";
import type { CachedModel } from "../cache/cached-model.js";
import { itemText } from "../facets/item-text.js";
import {
  FACET_PRESETS,
  FACET_PROMPT_VERSION,
  type FacetPreset,
  facetPrefix,
  facetPreset,
  facetQuestion,
} from "../facets/prompts.js";
import { centred, facetSignatures, informationOf, selectColumns } from "../facets/signatures.js";
import { categoryWords, type Facet, mergeFacets, proposedWords, saysNothing } from "../facets/vocabulary.js";
import type { Capability, ScoreRequest } from "../model/language-model.js";
import { bySignatures } from "./by-signatures.js";
import type { ClustererContext } from "./definition.js";
import { requireModel } from "./require-model.js";

const REQUIRES: readonly Capability[] = ["scoreWords", "text"];

/** Items whose themes the model is asked to name freely. */
const SAMPLED = 48;
/** Words of the model's own that join the vocabulary at most. */
const MOST_PROPOSED = 24;
/** Signatures that share less of their evidence are never one cluster. */
export const LEAST_COSINE = 0.1;

/**
 * *Score* (docs/concepts/method.md): the model reads each item once, after worked examples, and says how likely each
 * facet word comes next; an item's signature is what speaks for each facet beyond the catalog's mean. Works with models
 * far too small to partition; costs N items once, whatever the number of users.
 */
export const facetsClusterer = bySignatures({
  name: "facets",
  needs: "model",
  requires: REQUIRES,
  asksAbout: "items",
  description: "a language model scores facet words for every item once; histories are grouped by the answers",
  version: FACET_PROMPT_VERSION,
  async signatures(context) {
    const model = requireModel("facets", context, REQUIRES);
    const { catalog, maxFacets = 40, textMode = "without-year" } = context;
    const texts = catalog.items.slice(1).map((item) => itemText(item, textMode));
    const preset = presetOf(context);
    const vocabulary = await facetVocabulary(model, preset, texts, context);
    const scored = await model.scoreNext(scoreRequest(preset, texts, vocabulary), context);
    const z = centred(scored.logProbs);
    const information = informationOf(scored.logProbs);
    const columns = Array.from(information.keys())
      .filter((column) => !saysNothing(scored.words[column]!))
      .sort((a, b) => information[b]! - information[a]! || a - b)
      .slice(0, maxFacets);
    const facets = columns.map((column) => scored.words[column]!);
    const sources = new Map(vocabulary.map((facet) => [facet.word, facet]));
    return {
      matrix: facetSignatures(selectColumns(z, columns)),
      columns: facets,
      describes: true,
      fingerprint: hashJson([
        "facets",
        FACET_PROMPT_VERSION,
        preset.name,
        model.model.hash,
        facets,
        catalog.items.slice(1).map(({ id }, i) => [id, texts[i]]),
      ]),
      leastCosine: LEAST_COSINE,
      report: {
        model: model.model.name,
        preset: preset.name,
        facets: columns.map((column, i) => ({ ...sources.get(facets[i]!)!, information: information[column]! })),
        ...(context.facets === undefined ? { asked: { preset: preset.name, facets: vocabulary } } : {}),
        dropped: [
          ...scored.dropped,
          ...scored.words.filter(saysNothing).map((word) => ({ word, collidesWith: word.split(/[\s-]/)[0]! })),
        ],
      },
    };
  },
  async estimate(context) {
    const model = requireModel("facets", context, REQUIRES);
    const { catalog, textMode = "without-year", facets = [] } = context;
    const texts = catalog.items.slice(1).map((item) => itemText(item, textMode));
    const preset = presetOf(context);
    const { prompts, options } = proposalRequest(preset, texts);
    const isGiven = facets.length > 0 || context.asked?.preset === preset.name;
    const asked = isGiven ? 0 : prompts.length;
    const proposals = isGiven ? 0 : model.keptTexts(prompts, options);
    const unique = [...new Set(texts)];
    // Until the model has named its own facets, what is scored is not known, and nothing kept can be counted on.
    const scores =
      proposals < asked
        ? 0
        : model.keptScores(scoreRequest(preset, unique, await facetVocabulary(model, preset, texts, context)));
    const characters = unique.reduce((sum, text) => sum + text.length + preset.after.length, 0);
    return {
      calls: asked + unique.length,
      kept: proposals + scores,
      tokens:
        Math.ceil(((characters / 4) * (unique.length - scores)) / Math.max(1, unique.length)) +
        20 * (asked - proposals),
    };
  },
});

/** What the model is asked to name freely, and how. */
function proposalRequest(preset: FacetPreset, texts: readonly string[]) {
  // Sorted first, and of one seed: the sample, and with it every kept answer, is the same for the same items.
  const sampled = createRandom(1, "facet-sample")
    .shuffle([...new Set(texts)].sort())
    .slice(0, SAMPLED);
  return {
    prompts: sampled.map((text) => facetPrefix(preset) + facetQuestion(preset, text)),
    options: { chat: false, maxTokens: 6, stop: [".", ",", "\n"] },
  };
}

/** The way of asking of before, else the one that fits the catalog. */
function presetOf({ asked, catalog }: ClustererContext): FacetPreset {
  const before = FACET_PRESETS.find(({ name }) => name === asked?.preset);
  return before ?? facetPreset(categoryWords(catalog));
}

/** The user's facets; or those of before; or the preset's, the data's categories and what the model says sampled items are about. */
async function facetVocabulary(
  model: CachedModel,
  preset: FacetPreset,
  texts: readonly string[],
  context: ClustererContext,
): Promise<Facet[]> {
  const { catalog, facets, asked } = context;
  if (facets !== undefined && facets.length > 0) return mergeFacets([{ source: "user", words: facets }]);
  if (asked !== undefined && asked.preset === preset.name) return [...asked.facets];
  const { prompts, options } = proposalRequest(preset, texts);
  const answers = await model.generate(prompts, {
    ...options,
    ...(context.signal === undefined ? {} : { signal: context.signal }),
    ...(context.onProgress === undefined ? {} : { onProgress: context.onProgress }),
  });
  return mergeFacets([
    { source: "preset", words: preset.words },
    { source: "category", words: categoryWords(catalog) },
    { source: "model", words: proposedWords(answers).slice(0, MOST_PROPOSED) },
  ]);
}

function scoreRequest(preset: FacetPreset, texts: readonly string[], vocabulary: readonly Facet[]): ScoreRequest {
  return {
    prefix: facetPrefix(preset),
    continuations: texts.map((text) => facetQuestion(preset, text)),
    words: vocabulary.map(({ word }) => word),
  };
}
