import { hashJson } from "@prismrec/core/base";
import { SignatureClusterer } from "@prismrec/core/interests";
import { type ItemSignatures, takeRows } from "../signatures/item-signatures.js";
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
      const signatures = await definition.signatures(context);
      const { matrix, columns, fingerprint, unread, report } = signatures;
      const threshold = cut === "silhouette" ? cut : thresholdOf(signatures, cut);
      const clusterer = new SignatureClusterer({
        name,
        fingerprint: hashJson([name, fingerprint, threshold]),
        catalog,
        signatures: matrix,
        facets: columns,
        threshold,
      });
      return {
        clusterer,
        report: {
          ...report,
          name,
          threshold,
          seconds: (performance.now() - start) / 1000,
          ...(unread === undefined || unread.rows.length === 0
            ? {}
            : { unread: { items: unread.rows.length, byCategory: unread.byCategory.length } }),
          ...(unread?.isBudgetSpent === true ? { budgetSpent: true } : {}),
        },
      };
    },
  };
}

/** By the pairs of items that were read; where there is none, by those of all. */
function thresholdOf({ matrix, leastCosine, unread }: ItemSignatures, cut: number): number {
  if (unread === undefined || unread.rows.length === 0) return pairQuantile(matrix, cut, leastCosine);
  const missing = new Set(unread.rows);
  const read = Array.from({ length: matrix.rows }, (_, row) => row).filter((row) => !missing.has(row));
  if (read.length >= 2) return pairQuantile(takeRows(matrix, read), cut, leastCosine);
  // Where nothing is known of most items, 0 would put all of them together.
  return pairQuantile(matrix, cut, leastCosine) || 1;
}
