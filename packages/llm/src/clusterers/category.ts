import { categoryClusterer as fromCatalog } from "@prismrec/core/interests";
import type { ClustererDefinition } from "./definition.js";

/** The metadata control: what the items' own categories say, with no language model. */
export const categoryClusterer: ClustererDefinition = {
  name: "category",
  needs: "categories",
  description: "histories are grouped by the items' categories, with no language model",
  async create({ catalog }) {
    return { clusterer: fromCatalog(catalog), report: { name: "category" } };
  },
  async signatures({ catalog }) {
    const { signatures, facets, fingerprint } = fromCatalog(catalog);
    return { matrix: signatures, columns: facets, describes: true, fingerprint, leastCosine: 0, report: {} };
  },
};
