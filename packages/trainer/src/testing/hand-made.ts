import { createCatalog, createLog, type Dataset, type Item } from "@prismrec/core/data";

/** A data set by hand: dense item ids per training user and per test user (whose last item is the target). For tests only. */
export function handMade(
  train: readonly (readonly number[])[],
  options: {
    readonly test?: readonly (readonly number[])[];
    readonly timestamps?: readonly (readonly number[])[];
  } = {},
): Dataset {
  const all = [...train, ...(options.test ?? [])];
  const size = Math.max(0, ...all.flat());
  const items: Item[] = Array.from({ length: size + 1 }, (_, id) =>
    id === 0 ? { id: "", title: "", categories: [] } : { id: `i${id}`, title: `title ${id}`, categories: ["c"] },
  );
  const popularity = new Uint32Array(size + 1);
  for (const item of train.flat()) popularity[item]!++;
  const indptr = Uint32Array.from([0, ...all.map(({ length }) => length)]);
  for (let u = 0; u < all.length; u++) indptr[u + 1]! += indptr[u]!;
  const part = (from: number, to: number) => ({
    users: Uint32Array.from({ length: to - from }, (_, r) => from + r),
    historyEnds: Uint32Array.from({ length: to - from }, (_, r) => all[from + r]!.length - 1),
    targetEnds: Uint32Array.from({ length: to - from }, (_, r) => all[from + r]!.length),
  });
  return {
    fingerprint: "hand-made",
    catalog: createCatalog(items, popularity),
    log: createLog({
      userIds: all.map((_, u) => `u${u}`),
      indptr,
      items: Uint32Array.from(all.flat()),
      ...(options.timestamps === undefined
        ? {}
        : { timestamps: BigInt64Array.from(options.timestamps.flat(), (time) => BigInt(time)) }),
    }),
    split: {
      protocol: "user-disjoint",
      train: {
        users: Uint32Array.from(train, (_, u) => u),
        ends: Uint32Array.from(train, (history) => history.length),
      },
      valid: part(train.length, train.length),
      test: part(train.length, all.length),
    },
  };
}
