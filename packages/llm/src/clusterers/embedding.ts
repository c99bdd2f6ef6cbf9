import { hashJson } from "@prismrec/core/base";
import { itemText } from "../facets/item-text.js";
import type { Capability } from "../model/language-model.js";
import { centredVectors } from "../signatures/centred-vectors.js";
import { bySignatures } from "./by-signatures.js";
import type { ClustererContext } from "./definition.js";
import { requireModel } from "./require-model.js";

const REQUIRES: readonly Capability[] = ["embeddings"];

/** Item vectors of a GGUF embedding model, minus their mean (which all texts share), grouped like facet signatures. */
export const embeddingClusterer = bySignatures({
  name: "embedding",
  needs: "embedding-model",
  requires: REQUIRES,
  asksAbout: "items",
  description: "histories are grouped by the cosine of an embedding model's vectors of the items' titles",
  async signatures(context) {
    const model = requireModel("embedding", embedding(context), REQUIRES);
    const { catalog, textMode = "without-year" } = context;
    const texts = catalog.items.slice(1).map((item) => itemText(item, textMode));
    return {
      matrix: centredVectors(await model.embed(texts, context), model.model.name),
      columns: [],
      describes: false,
      fingerprint: hashJson([
        "embedding-1",
        model.model.hash,
        catalog.items.slice(1).map(({ id }, i) => [id, texts[i]]),
      ]),
      leastCosine: 0,
      report: { model: model.model.name },
    };
  },
  async estimate(context) {
    const model = requireModel("embedding", embedding(context), REQUIRES);
    const { catalog, textMode = "without-year" } = context;
    const texts = [...new Set(catalog.items.slice(1).map((item) => itemText(item, textMode)))];
    const kept = model.keptVectors(texts);
    const characters = texts.reduce((sum, text) => sum + text.length, 0);
    return {
      calls: texts.length,
      kept,
      tokens: Math.ceil(((characters / 4) * (texts.length - kept)) / Math.max(1, texts.length)),
    };
  },
});

/** The context with the model that vectors come from in the model's place. */
function embedding(context: ClustererContext): ClustererContext {
  return context.embedder === undefined ? context : { ...context, model: context.embedder };
}
