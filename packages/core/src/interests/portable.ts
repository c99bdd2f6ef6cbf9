import type { Matrix, SparseMatrix } from "../base/matrix.js";
import type { Clusterer } from "./types.js";

/** Everything a clusterer needs to partition a history it has never seen, without a language model. */
export type ClustererState =
  | {
      readonly kind: "signatures";
      readonly name: string;
      /** As given to the clusterer that is saved, which hashes its options into its own. */
      readonly fingerprint: string;
      readonly facets: readonly string[];
      /** [N] external item ids, one per row of `signatures`. */
      readonly itemIds: readonly string[];
      readonly signatures: Matrix | SparseMatrix;
      readonly threshold: number | "silhouette";
      readonly minSilhouette: number;
      readonly labelFacets: number;
    }
  | { readonly kind: "random"; readonly seed: number }
  | { readonly kind: "shuffled"; readonly seed: number; readonly inner: ClustererState };

/** A clusterer that `saveClusterer` can write and serving can open again. */
export interface PortableClusterer extends Clusterer {
  state(): ClustererState;
}

export function isPortable(clusterer: Clusterer): clusterer is PortableClusterer {
  return "state" in clusterer && typeof clusterer.state === "function";
}
