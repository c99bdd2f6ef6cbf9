import { createCatalog, createLog } from "../data/catalog.js";
import type { Catalog, Dataset, Item } from "../data/types.js";

/** A catalog of the given items, dense ids in the order given. For tests only. */
export function catalogOf(
  items: readonly { id: string; title?: string; categories?: readonly string[] }[],
  popularity = new Uint32Array(items.length + 1),
): Catalog {
  const given = items.map(({ id, title = id, categories = [] }): Item => ({ id, title, categories }));
  return createCatalog([{ id: "", title: "", categories: [] }, ...given], popularity);
}

/** A catalog of titles (and categories), ids i1, i2, ... For tests only. */
export function titledCatalog(titles: readonly string[], categories: readonly (readonly string[])[] = []): Catalog {
  return catalogOf(titles.map((title, i) => ({ id: `i${i + 1}`, title, categories: categories[i] ?? [] })));
}

/** A dataset whose training users are `train` and whose test users see `history` and are asked for `targets`. */
export function datasetOf(
  catalog: Catalog,
  train: readonly (readonly number[])[],
  test: readonly { history: readonly number[]; targets: readonly number[] }[] = [],
): Dataset {
  const rows = [...train, ...test.map(({ history, targets }) => [...history, ...targets])];
  const indptr = Uint32Array.from([0, ...rows.map(({ length }) => length)]);
  for (let u = 0; u < rows.length; u++) indptr[u + 1]! += indptr[u]!;
  return {
    fingerprint: "test",
    catalog,
    log: createLog({ userIds: rows.map((_, u) => `u${u}`), indptr, items: Uint32Array.from(rows.flat()) }),
    split: {
      protocol: "user-disjoint",
      train: { users: Uint32Array.from(train.keys()), ends: Uint32Array.from(train, ({ length }) => length) },
      valid: { users: new Uint32Array(), historyEnds: new Uint32Array(), targetEnds: new Uint32Array() },
      test: {
        users: Uint32Array.from(test, (_, r) => train.length + r),
        historyEnds: Uint32Array.from(test, ({ history }) => history.length),
        targetEnds: Uint32Array.from(test, ({ history, targets }) => history.length + targets.length),
      },
    },
  };
}
