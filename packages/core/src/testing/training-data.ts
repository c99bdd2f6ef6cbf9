import type { Dataset } from "../data/types.js";
import { catalogOf, datasetOf } from "./catalog.js";

/** A dataset of training users alone, of items i1, i2, ... For tests; ids are dense already. */
export function trainingData(lists: readonly (readonly number[])[], size: number): Dataset {
  const popularity = new Uint32Array(size + 1);
  for (const id of lists.flat()) popularity[id]!++;
  const items = Array.from({ length: size }, (_, i) => ({ id: `i${i + 1}`, title: "" }));
  return datasetOf(catalogOf(items, popularity), lists);
}
