import type { Matrix } from "../../base/matrix.js";
import type {
  AdamOptions,
  AdamState,
  LazyAdamOptions,
  MergedRows,
  RowAdamState,
  RowContribution,
  UniqueRows,
} from "./types.js";

/** Rows of a table; -1 in an Int32Array is NO_ROW too. */
export type RowIds = Uint32Array | Int32Array;

/** An id that stands for no row, such as padding. */
export const NO_ROW = 2 ** 32 - 1;

/** out[i] = table[ids[i]], zero for NO_ROW */
export function gatherRowsReference(table: Matrix, ids: RowIds, out: Float32Array): void {
  const { data, cols } = table;
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i]! >>> 0;
    if (id === NO_ROW) out.fill(0, i * cols, (i + 1) * cols);
    else out.set(data.subarray(id * cols, (id + 1) * cols), i * cols);
  }
}

/** table[ids[i]] += rows[i], in the order of `ids`, without NO_ROW. */
export function scatterAddRowsReference(table: Matrix, ids: RowIds, rows: Float32Array): void {
  const { data, cols } = table;
  for (let i = 0; i < ids.length; i++) {
    if (ids[i]! >>> 0 === NO_ROW) continue;
    const to = ids[i]! * cols;
    for (let c = 0; c < cols; c++) data[to + c]! += rows[i * cols + c]!;
  }
}

export function uniqueRowsReference(ids: RowIds): UniqueRows {
  const unique = Uint32Array.from(new Set(ids))
    .filter((id) => id !== NO_ROW)
    .sort();
  const place = new Map<number, number>();
  unique.forEach((id, at) => {
    place.set(id, at);
  });
  return { unique, inverse: Int32Array.from(ids, (id) => place.get(id >>> 0) ?? -1) };
}

export function mergeRowsReference(parts: readonly RowContribution[], cols: number): MergedRows {
  const { unique, inverse } = uniqueRowsReference(Uint32Array.from(parts.flatMap(({ ids }) => [...ids])));
  const data = new Float32Array(unique.length * cols);
  let at = 0;
  for (const part of parts) {
    const places = inverse.subarray(at, at + part.ids.length);
    scatterAddRowsReference({ data, rows: unique.length, cols }, places, part.data);
    at += part.ids.length;
  }
  return { rows: unique, data };
}

interface Update {
  readonly options: Required<AdamOptions>;
  /** learningRate / (1 - beta1^step) */
  readonly rate: number;
  /** sqrt(1 - beta2^step) */
  readonly root: number;
}

function updateAt(options: Required<AdamOptions>, step: number): Update {
  return {
    options,
    rate: options.learningRate / (1 - options.beta1 ** step),
    root: Math.sqrt(1 - options.beta2 ** step),
  };
}

function adamSpan(
  values: Float32Array,
  state: AdamState,
  at: number,
  length: number,
  gradients: Float32Array,
  from: number,
  update: Update,
): void {
  const { beta1, beta2, epsilon, gradientScale, learningRate, weightDecay } = update.options;
  const { m, v } = state;
  for (let i = 0; i < length; i++) {
    const g = gradients[from + i]! * gradientScale;
    const first = beta1 * m[at + i]! + (1 - beta1) * g;
    const second = beta2 * v[at + i]! + (1 - beta2) * g * g;
    m[at + i] = first;
    v[at + i] = second;
    const decayed = values[at + i]! * (1 - learningRate * weightDecay);
    values[at + i] = decayed - (update.rate * first) / (Math.sqrt(second) / update.root + epsilon);
  }
}

export function adamReference(
  values: Float32Array,
  state: AdamState,
  gradients: Float32Array,
  options: Required<AdamOptions>,
): void {
  adamSpan(values, state, 0, values.length, gradients, 0, updateAt(options, options.step));
}

export function lazyAdamReference(
  table: Matrix,
  state: RowAdamState,
  ids: Uint32Array,
  gradients: Float32Array,
  options: Required<LazyAdamOptions>,
): void {
  const { data, cols } = table;
  const shared = updateAt(options, options.step);
  for (let i = 0; i < ids.length; i++) {
    const row = ids[i]!;
    const seen = state.steps[row]! + 1;
    state.steps[row] = seen;
    const update = options.correction === "row" ? updateAt(options, seen) : shared;
    adamSpan(data, state, row * cols, cols, gradients, i * cols, update);
  }
}

export function globalNormReference(gradients: readonly Float32Array[]): number {
  let sum = 0;
  for (const gradient of gradients) {
    for (let i = 0; i < gradient.length; i++) sum += gradient[i]! * gradient[i]!;
  }
  return Math.sqrt(sum);
}
