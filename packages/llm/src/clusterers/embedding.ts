import { hashJson } from "@prismrec/core/base";
import { addCosts } from "../cache/cost.js";
import { itemText } from "../facets/item-text.js";
import type { Capability } from "../model/language-model.js";
import { centredVectors } from "../signatures/centred-vectors.js";
import { bySignatures } from "./by-signatures.js";
import type { ClustererContext } from "./definition.js";
import { readingOf, withUnread } from "./reading.js";
import { requireModel } from "./require-model.js";

const REQUIRES: readonly Capability[] = ["embeddings"];

/** Item vectors of an embedding model, minus their mean (which all texts share), grouped like facet signatures. */
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
    const vectors = await model.embedWithinBudget(texts, readingOf(context));
    const read = centredVectors(
      vectors.filter((vector) => vector !== undefined),
      model.model.name,
    );
    const unread = Array.from(texts.keys()).filter((item) => vectors[item] === undefined);
    return {
      // Without a vector an item is like no other.
      matrix: withUnread(read, unread, () => new Float32Array(read.cols)),
      columns: [],
      describes: false,
      fingerprint: hashJson([
        "embedding-1",
        model.model.hash,
        catalog.items.slice(1).map(({ id }, i) => [id, texts[i]]),
        ...(unread.length === 0 ? [] : [unread]),
      ]),
      leastCosine: 0,
      unread: { rows: unread, byCategory: [], isBudgetSpent: unread.length > 0 },
      report: { model: model.model.name },
    };
  },
  async estimate(context) {
    const model = requireModel("embedding", embedding(context), REQUIRES);
    const { catalog, textMode = "without-year" } = context;
    const texts = catalog.items.slice(1).map((item) => itemText(item, textMode));
    return addCosts([await model.estimateVectors(texts, readingOf(context))]);
  },
});

/** The context with the model that vectors come from in the model's place. */
function embedding(context: ClustererContext): ClustererContext {
  return context.embedder === undefined ? context : { ...context, model: context.embedder };
}
