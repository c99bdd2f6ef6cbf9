import { createCatalog, createLog } from "../data/catalog.js";
import type { Dataset } from "../data/types.js";

/** A dataset of training users alone. For tests; ids are dense already. */
export function trainingData(lists: readonly (readonly number[])[], size: number): Dataset {
  const popularity = new Uint32Array(size + 1);
  for (const id of lists.flat()) popularity[id]!++;
  const items = Array.from({ length: size + 1 }, (_, id) => ({
    id: id === 0 ? "" : `i${id}`,
    title: "",
    categories: [],
  }));
  const indptr = Uint32Array.from([0, ...lists.map(({ length }) => length)]);
  for (let u = 0; u < lists.length; u++) indptr[u + 1]! += indptr[u]!;
  const none = new Uint32Array(0);
  const nobody = { users: none, historyEnds: none, targetEnds: none };
  return {
    fingerprint: "constructed",
    catalog: createCatalog(items, popularity),
    log: createLog({ userIds: lists.map((_, u) => `u${u}`), indptr, items: Uint32Array.from(lists.flat()) }),
    split: {
      protocol: "user-disjoint",
      train: { users: Uint32Array.from(lists.keys()), ends: Uint32Array.from(lists, ({ length }) => length) },
      valid: nobody,
      test: nobody,
    },
  };
}
