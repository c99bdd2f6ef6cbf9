import { hashJson } from "@prismrec/core/base";
import { SignatureClusterer } from "@prismrec/core/interests";
import { DEFAULT_CUT, pairQuantile } from "./cut.js";
import type { ClustererDefinition } from "./definition.js";

type SignatureDefinition = Omit<ClustererDefinition, "create"> & Required<Pick<ClustererDefinition, "signatures">>;

/** The clusterer that groups histories by average linkage on signatures of the items, cut where the catalog's pairs say. */
export function bySignatures(definition: SignatureDefinition): ClustererDefinition & SignatureDefinition {
  const { name } = definition;
  return {
    ...definition,
    async create(context) {
      const start = performance.now();
      const { catalog, cut = DEFAULT_CUT } = context;
      const { matrix, columns, fingerprint, leastCosine, report } = await definition.signatures(context);
      const threshold = cut === "silhouette" ? cut : pairQuantile(matrix, cut, leastCosine);
      const clusterer = new SignatureClusterer({
        name,
        fingerprint: hashJson([name, fingerprint, threshold]),
        catalog,
        signatures: matrix,
        facets: columns,
        threshold,
      });
      return { clusterer, report: { ...report, name, threshold, seconds: (performance.now() - start) / 1000 } };
    },
  };
}
