import { hashJson, type Matrix, type RunOptions, sha256, yieldToEventLoop } from "@prismrec/core/base";
import type { Catalog } from "@prismrec/core/data";
import type { InterestModel } from "@prismrec/core/models";
import { choleskyInverse } from "@prismrec/core/ops";

/** What a former training has learned, for one that goes on from it with other data. */
export interface WarmStart {
  /** Of the network, by name. */
  readonly parameters: ReadonlyMap<string, Float32Array>;
  /** [M, d] item vectors, whatever tower made them. */
  readonly items: Matrix;
  /** [M] */
  readonly itemBias?: Float32Array;
  /** [M] external ids of the items, in that order. */
  readonly itemIds: readonly string[];
}

/** What a model hands on; its memory stays the model's. */
export function warmStartOf(model: InterestModel, { items }: Catalog): WarmStart {
  const bias = model.itemBias();
  return {
    parameters: new Map(Array.from(model.parameters, ({ name, values }) => [name, values])),
    items: model.itemVectors(),
    ...(bias === undefined ? {} : { itemBias: bias }),
    itemIds: items.slice(1).map(({ id }) => id),
  };
}

/** Hash of all that it hands on: the same, the same start. */
export function warmStartFingerprint({ parameters, items, itemBias, itemIds }: WarmStart): string {
  const hashOf = ({ buffer, byteOffset, byteLength }: Float32Array): string =>
    sha256(new Uint8Array(buffer, byteOffset, byteLength));
  return hashJson({
    parameters: [...parameters].map(([name, values]) => [name, hashOf(values)]),
    items: hashOf(items.data),
    ...(itemBias === undefined ? {} : { itemBias: hashOf(itemBias) }),
    itemIds,
  });
}

/** Share of the mean diagonal that is added to it, so that features that hardly vary decide nothing. */
const RIDGE = 1e-3;

/**
 * The linear map from features of items to the vectors that a former training gave them: W with F W ~ V over the items that
 * it knew, by ridge regression. New items' vectors by what is known of them, as for cold items from their attributes (Gantner
 * et al., "Learning attribute-to-feature mappings for cold-start recommendations", ICDM 2010).
 *
 * @param features [N, f] of all items
 * @param former [N] row of each in `vectors`, NO_FORMER for a new one
 * @param vectors [M, d]
 * @returns W [f, d]; zero where no item was known
 */
export async function featureMap(
  features: Matrix,
  former: Int32Array,
  vectors: Matrix,
  run: RunOptions = {},
): Promise<Matrix> {
  const { cols: f } = features;
  const { cols: d } = vectors;
  const gram = new Float64Array(f * f);
  const right = new Float64Array(f * d);
  for (let item = 0; item < features.rows; item++) {
    if (item % 256 === 0) await yieldToEventLoop(run.signal);
    const known = former[item]!;
    if (known === NO_FORMER) continue;
    const row = features.data.subarray(item * f, (item + 1) * f);
    const vector = vectors.data.subarray(known * d, (known + 1) * d);
    for (let a = 0; a < f; a++) {
      const x = row[a]!;
      if (x === 0) continue;
      for (let b = 0; b < f; b++) gram[a * f + b]! += x * row[b]!;
      for (let c = 0; c < d; c++) right[a * d + c]! += x * vector[c]!;
    }
  }
  let trace = 0;
  for (let a = 0; a < f; a++) trace += gram[a * f + a]!;
  const map = { data: new Float32Array(f * d), rows: f, cols: d };
  if (trace === 0) return map;
  for (let a = 0; a < f; a++) gram[a * f + a]! += (RIDGE * trace) / f;
  const inverse = await choleskyInverse({ data: Float32Array.from(gram), rows: f, cols: f }, run);
  for (let a = 0; a < f; a++) {
    for (let c = 0; c < d; c++) {
      let sum = 0;
      for (let b = 0; b < f; b++) sum += inverse.data[a * f + b]! * right[b * d + c]!;
      map.data[a * d + c] = sum;
    }
  }
  return map;
}

export const NO_FORMER = -1;

/** [N] row of each item in the former training, NO_FORMER for one that it did not know. */
export function formerRows({ itemIds }: WarmStart, { items }: Catalog): Int32Array {
  const rows = new Map(itemIds.map((id, row) => [id, row]));
  return Int32Array.from(items.slice(1), ({ id }) => rows.get(id) ?? NO_FORMER);
}

/** `rows W`, [N, d]. */
export function mapped(rows: Matrix, map: Matrix): Matrix {
  const data = new Float32Array(rows.rows * map.cols);
  for (let item = 0; item < rows.rows; item++) {
    for (let a = 0; a < rows.cols; a++) {
      const x = rows.data[item * rows.cols + a]!;
      if (x === 0) continue;
      for (let c = 0; c < map.cols; c++) data[item * map.cols + c]! += x * map.data[a * map.cols + c]!;
    }
  }
  return { data, rows: rows.rows, cols: map.cols };
}
