import { hashJson, PrismrecError } from "@prismrec/core/base";
import { itemText } from "../facets/item-text.js";
import { wordSignatures } from "../signatures/word-signatures.js";
import { bySignatures } from "./by-signatures.js";
import { LEAST_COSINE } from "./facets.js";

/** The control that every claim for a language model has to beat: TF-IDF of the words of the titles, with no model. */
export const titleWordsClusterer = bySignatures({
  name: "title-words",
  needs: "nothing",
  asksAbout: "items",
  description: "histories are grouped by the words of the items' titles (TF-IDF), with no language model",
  async signatures({ catalog, textMode = "without-year" }) {
    const texts = catalog.items.slice(1).map((item) => itemText(item, textMode));
    const { matrix, words } = wordSignatures(texts);
    if (matrix.values.length === 0 && catalog.size > 0) {
      throw new PrismrecError("MODEL_UNSUPPORTED", "the clusterer title-words needs items with titles", {
        expected: "a column of titles in the items' file",
        received: "no word in any title",
        hint: "name the column with --item-title, or choose another --clusterer",
      });
    }
    return {
      matrix,
      columns: words,
      describes: false,
      fingerprint: hashJson(["title-words-1", catalog.items.slice(1).map(({ id }, i) => [id, texts[i]])]),
      leastCosine: LEAST_COSINE,
      report: {},
    };
  },
});
