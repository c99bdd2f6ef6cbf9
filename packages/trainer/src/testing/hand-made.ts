import type { Dataset } from "@prismrec/core/data";
import { catalogOf, datasetOf } from "../../../core/src/testing/catalog.js";

/** A dataset by hand: dense item ids per training user and per test user (whose last item is the target). For tests only. */
export function handMade(
  train: readonly (readonly number[])[],
  options: {
    readonly test?: readonly (readonly number[])[];
    readonly timestamps?: readonly (readonly number[])[];
  } = {},
): Dataset {
  const { test = [], timestamps } = options;
  const size = Math.max(0, ...[...train, ...test].flat());
  const popularity = new Uint32Array(size + 1);
  for (const item of train.flat()) popularity[item]!++;
  const items = Array.from({ length: size }, (_, i) => ({
    id: `i${i + 1}`,
    title: `title ${i + 1}`,
    categories: ["c"],
  }));
  const dataset = datasetOf(
    catalogOf(items, popularity),
    train,
    test.map((own) => ({ history: own.slice(0, -1), targets: own.slice(-1) })),
  );
  if (timestamps === undefined) return dataset;
  return { ...dataset, log: { ...dataset.log, timestamps: BigInt64Array.from(timestamps.flat(), BigInt) } };
}
