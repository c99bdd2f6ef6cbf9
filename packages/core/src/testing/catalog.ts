import type { Catalog, Dataset, Item } from "../data/types.js";

/** A catalog of the given items, dense ids in the order given. For tests only. */
export function catalogOf(items: readonly { id: string; title?: string; categories?: readonly string[] }[]): Catalog {
  const ids = new Map(items.map(({ id }, i) => [id, i + 1]));
  return {
    size: items.length,
    items: [
      { id: "", title: "", categories: [] },
      ...items.map(({ id, title = id, categories = [] }): Item => ({ id, title, categories })),
    ],
    popularity: new Uint32Array(items.length + 1),
    idOf: (id) => ids.get(id),
  };
}

/** A dataset whose training users are `train` and whose test users see `history` and are asked for `targets`. */
export function datasetOf(
  catalog: Catalog,
  train: readonly (readonly number[])[],
  test: readonly { history: readonly number[]; targets: readonly number[] }[],
): Dataset {
  const rows = [...train, ...test.map(({ history, targets }) => [...history, ...targets])];
  const indptr = new Uint32Array(rows.length + 1);
  rows.forEach((row, u) => {
    indptr[u + 1] = indptr[u]! + row.length;
  });
  const userIds = rows.map((_, u) => `u${u}`);
  const testUsers = Uint32Array.from(test, (_, r) => train.length + r);
  return {
    fingerprint: "test",
    catalog,
    log: {
      userCount: rows.length,
      userIds,
      indptr,
      items: Uint32Array.from(rows.flat()),
      indexOf: (id) => {
        const at = userIds.indexOf(id);
        return at < 0 ? undefined : at;
      },
    },
    split: {
      protocol: "user-disjoint",
      train: { users: Uint32Array.from(train.keys()), ends: Uint32Array.from(train, (row) => row.length) },
      valid: { users: new Uint32Array(), historyEnds: new Uint32Array(), targetEnds: new Uint32Array() },
      test: {
        users: testUsers,
        historyEnds: Uint32Array.from(test, ({ history }) => history.length),
        targetEnds: Uint32Array.from(test, ({ history, targets }) => history.length + targets.length),
      },
    },
  };
}
