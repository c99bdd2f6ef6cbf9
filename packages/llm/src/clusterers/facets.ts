import { hashJson, type Matrix, sha256 } from "@prismrec/core/base";
import type { CachedModel } from "../cache/cached-model.js";
import { addCosts } from "../cache/cost.js";
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
import { readingOf, rowOf, withUnread } from "./reading.js";
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
    const scored = await model.scoreNextWithinBudget(scoreRequest(preset, texts, vocabulary), readingOf(context));
    const read = scored.logProbs.filter((row) => row !== undefined);
    const unread = Array.from(texts.keys()).filter((item) => scored.logProbs[item] === undefined);
    const z = centred(read);
    const information = read.length === 0 ? new Float64Array(scored.words.length) : informationOf(read);
    const telling = Array.from(information.keys())
      .filter((column) => !saysNothing(scored.words[column]!))
      .sort((a, b) => information[b]! - information[a]! || a - b)
      .slice(0, read.length === 0 ? 0 : maxFacets);
    // Items that were not read are held against the others by what the data say of them.
    const categories = unread.length === 0 ? [] : categoryWords(catalog);
    const named = scored.words.flatMap((word, column) => (categories.includes(word) ? [column] : []));
    const columns = [...new Set([...telling, ...named])];
    const facets = columns.map((column) => scored.words[column]!);
    const ofRead = facetSignatures(read.length === 0 ? emptyMatrix(columns.length) : selectColumns(z, columns));
    const matrix = withUnread(ofRead, unread, (item) => categoryRow(catalog.items[item + 1]!.categories, facets));
    const byCategory = unread.filter((item) => rowOf(matrix, item).some((value) => value > 0));
    const sources = new Map(vocabulary.map((facet) => [facet.word, facet]));
    return {
      matrix,
      columns: facets,
      describes: true,
      fingerprint: hashJson([
        "facets",
        FACET_PROMPT_VERSION,
        preset.name,
        model.model.hash,
        facets,
        catalog.items.slice(1).map(({ id }, i) => [id, texts[i]]),
        ...(unread.length === 0 ? [] : [unread]),
      ]),
      leastCosine: LEAST_COSINE,
      unread: { rows: unread, byCategory, isBudgetSpent: unread.length > 0 },
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
    const watched = readingOf(context);
    const isGiven = facets.length > 0 || context.asked?.preset === preset.name;
    const proposals = isGiven ? [] : [await model.estimateTexts(prompts, { ...options, ...watched })];
    // Until the model has named facets of its own, what is scored is not known: it costs as much with the others alone.
    const isNamed = proposals.every(({ calls, kept }) => calls === kept);
    const vocabulary = isNamed
      ? await facetVocabulary(model, preset, texts, context)
      : mergeFacets([{ source: "preset", words: preset.words }]);
    return addCosts([...proposals, await model.estimateScores(scoreRequest(preset, texts, vocabulary), watched)]);
  },
});

/** What the model is asked to name freely, and how. */
function proposalRequest(preset: FacetPreset, texts: readonly string[]) {
  // By their hashes: another item changes the sample, and with it what is kept of all, only where it comes into it.
  const sampled = [...new Set(texts)]
    .map((text) => ({ text, place: sha256(text) }))
    .sort((a, b) => (a.place < b.place ? -1 : 1))
    .slice(0, SAMPLED)
    .map(({ text }) => text);
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

/** Unit row over the facets that are an item's own categories; zeros where none is. */
function categoryRow(categories: readonly string[], facets: readonly string[]): Float32Array {
  const own = new Set(categories.map((category) => category.trim().toLowerCase()));
  const shared = facets.filter((facet) => own.has(facet)).length;
  return Float32Array.from(facets, (facet) => (own.has(facet) ? 1 / Math.sqrt(shared) : 0));
}

function emptyMatrix(cols: number): Matrix {
  return { data: new Float32Array(), rows: 0, cols };
}
