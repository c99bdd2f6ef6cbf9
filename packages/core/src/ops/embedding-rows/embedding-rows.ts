import { PrismrecError } from "../../base/errors.js";
import type { Matrix } from "../../base/matrix.js";
import { checkLength } from "../check.js";
import { callNative, native } from "../native.js";
import {
  adamReference,
  gatherRowsReference,
  globalNormReference,
  lazyAdamReference,
  mergeRowsReference,
  NO_ROW,
  type RowIds,
  scatterAddRowsReference,
  uniqueRowsReference,
} from "./reference.js";
import type {
  AdamOptions,
  AdamState,
  LazyAdamOptions,
  MergedRows,
  RowAdamState,
  RowContribution,
  UniqueRows,
} from "./types.js";

export { NO_ROW, type RowIds };

export function createAdamState(length: number): AdamState {
  const [m, v] = [new Float32Array(length), new Float32Array(length)];
  adviseLargePages(m);
  adviseLargePages(v);
  return { m, v };
}

export function createRowAdamState(rows: number, cols: number): RowAdamState {
  return { ...createAdamState(rows * cols), steps: new Uint32Array(rows) };
}

/**
 * Asks the system for large pages behind a table, because rows all over one miss the processor's translation cache
 * otherwise. Costs a copy of what is written already; does nothing to small arrays and where the system has no such
 * pages.
 */
export function adviseLargePages(table: Float32Array): void {
  native()?.embeddingAdviseLargePages(table);
}

/**
 * The distinct ids of a batch and where each went: gather `unique` once, differentiate with respect to those rows, and
 * the cost of a step no longer grows with the table. NO_ROW is not among them.
 */
export function uniqueRows(ids: RowIds): UniqueRows {
  const addon = native();
  if (addon === undefined) return uniqueRowsReference(ids);
  const inverse = new Int32Array(ids.length);
  return { unique: addon.embeddingUniqueRows(unsigned(ids), inverse), inverse };
}

/**
 * The sum of sparse contributions over the rows that any of them touches, added in the order in which they come whatever
 * the number of threads.
 *
 * @param out where the result's data goes, allocated when absent; as long as all parts' data together, or longer
 * @throws PrismrecError SHAPE_MISMATCH
 */
export function mergeRows(parts: readonly RowContribution[], cols: number, out?: Float32Array): MergedRows {
  for (const { ids, data } of parts) checkLength("data", data.length, ids.length * cols);
  const total = parts.reduce((sum, part) => sum + part.ids.length, 0);
  if (out !== undefined && out.length < total * cols) checkLength("out", out.length, total * cols);
  const addon = native();
  if (addon === undefined) return mergeRowsReference(parts, cols);
  const ids = new Uint32Array(total);
  let at = 0;
  for (const part of parts) {
    ids.set(part.ids, at);
    at += part.ids.length;
  }
  const data = out ?? new Float32Array(total * cols);
  const each = parts.map((part) => part.data);
  const rows = addon.embeddingMergeRows(ids, each, data, cols);
  return { rows, data: data.subarray(0, rows.length * cols) };
}

/**
 * Copies rows out of a table; zeros for NO_ROW.
 *
 * @param ids any order, repeats allowed
 * @param out [ids.length * table.cols], allocated when absent
 * @throws PrismrecError SHAPE_MISMATCH, INVALID_ARGUMENT for an id beyond the table
 */
export function gatherRows(table: Matrix, ids: RowIds, out?: Float32Array): Matrix {
  checkTable(table);
  const data = out ?? new Float32Array(ids.length * table.cols);
  checkLength("out", data.length, ids.length * table.cols);
  const addon = native();
  if (addon === undefined) {
    checkIds(ids, table.rows);
    gatherRowsReference(table, ids, data);
  } else {
    callNative(() => addon.embeddingGatherRows(table.data, unsigned(ids), data, table.cols));
  }
  return { data, rows: ids.length, cols: table.cols };
}

/**
 * `table[ids[i]] += rows[i]`, repeats added in the order of `ids` whatever the number of threads, NO_ROW left out.
 *
 * @param rows [ids.length * table.cols]
 * @throws PrismrecError SHAPE_MISMATCH, INVALID_ARGUMENT for an id beyond the table
 */
export function scatterAddRows(table: Matrix, ids: RowIds, rows: Float32Array): void {
  checkTable(table);
  checkLength("rows", rows.length, ids.length * table.cols);
  const addon = native();
  if (addon === undefined) {
    checkIds(ids, table.rows);
    scatterAddRowsReference(table, ids, rows);
  } else {
    callNative(() => addon.embeddingScatterAddRows(table.data, unsigned(ids), rows, table.cols));
  }
}

/**
 * One step of Adam (Kingma and Ba 2015) on the rows `ids` of a table and on no other, in place.
 *
 * It is dense Adam restricted to rows that have a gradient. Where every row is touched in every step it is dense Adam
 * exactly; where not, it differs in that an untouched row keeps its moments (dense Adam lets them decay, and goes on
 * moving the row by what is left of its momentum) and is not weight-decayed.
 *
 * @param ids strictly ascending, as `uniqueRows` gives them
 * @param gradients [ids.length * table.cols]
 * @throws PrismrecError SHAPE_MISMATCH, INVALID_ARGUMENT
 */
export function lazyAdam(
  table: Matrix,
  state: RowAdamState,
  ids: Uint32Array,
  gradients: Float32Array,
  options: LazyAdamOptions,
): void {
  checkTable(table);
  checkState(state, table.data.length);
  checkLength("state.steps", state.steps.length, table.rows);
  checkLength("gradients", gradients.length, ids.length * table.cols);
  const resolved = { ...resolveOptions(options), correction: options.correction ?? "global" };
  const addon = native();
  if (addon === undefined) {
    checkIds(ids, table.rows, false);
    checkAscending(ids);
    lazyAdamReference(table, state, ids, gradients, resolved);
    return;
  }
  const perRow = resolved.correction === "row";
  const { m, v, steps } = state;
  callNative(() =>
    addon.embeddingLazyAdam(table.data, m, v, steps, ids, gradients, table.cols, perRow, ...positional(resolved)),
  );
}

/**
 * One step of Adam (Kingma and Ba 2015), AdamW with `weightDecay`, on a dense parameter, in place.
 *
 * @throws PrismrecError SHAPE_MISMATCH, INVALID_ARGUMENT
 */
export function adam(values: Float32Array, state: AdamState, gradients: Float32Array, options: AdamOptions): void {
  checkState(state, values.length);
  checkLength("gradients", gradients.length, values.length);
  const resolved = resolveOptions(options);
  const addon = native();
  if (addon === undefined) adamReference(values, state, gradients, resolved);
  else addon.embeddingAdam(values, state.m, state.v, gradients, ...positional(resolved));
}

/** Euclidean norm over all entries of all arrays, summed in double precision. */
export function globalNorm(gradients: readonly Float32Array[]): number {
  const addon = native();
  return addon === undefined ? globalNormReference(gradients) : Math.sqrt(addon.embeddingSquaredNorm(gradients));
}

/** The `gradientScale` that brings a global norm down to `maxNorm`; 1 where it is within. */
export function clipScale(norm: number, maxNorm: number): number {
  return norm > maxNorm ? maxNorm / norm : 1;
}

function resolveOptions(options: AdamOptions): Required<AdamOptions> {
  const resolved = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, gradientScale: 1, ...options };
  if (!Number.isInteger(resolved.step) || resolved.step < 1) {
    throw new PrismrecError("INVALID_ARGUMENT", "Adam counts its steps from 1", {
      expected: "an integer >= 1",
      received: String(resolved.step),
    });
  }
  for (const name of ["beta1", "beta2"] as const) {
    if (!(resolved[name] >= 0 && resolved[name] < 1)) {
      throw new PrismrecError("INVALID_ARGUMENT", `${name} out of range`, {
        expected: `0 <= ${name} < 1`,
        received: String(resolved[name]),
      });
    }
  }
  return resolved;
}

/** The order in which the addon takes the scalars. */
function positional(
  options: Required<AdamOptions>,
): [
  step: number,
  learningRate: number,
  beta1: number,
  beta2: number,
  epsilon: number,
  weightDecay: number,
  gradientScale: number,
] {
  const { step, learningRate, beta1, beta2, epsilon, weightDecay, gradientScale } = options;
  return [step, learningRate, beta1, beta2, epsilon, weightDecay, gradientScale];
}

/** The same bytes; -1 becomes NO_ROW, any other negative id one beyond any table. */
function unsigned(ids: RowIds): Uint32Array {
  return ids instanceof Uint32Array ? ids : new Uint32Array(ids.buffer, ids.byteOffset, ids.length);
}

function checkTable(table: Matrix): void {
  checkLength("table.data", table.data.length, table.rows * table.cols);
}

function checkState(state: AdamState, length: number): void {
  checkLength("state.m", state.m.length, length);
  checkLength("state.v", state.v.length, length);
}

function checkIds(ids: RowIds, rows: number, none = true): void {
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i]!;
    if ((id >= 0 && id < rows) || (none && id >>> 0 === NO_ROW)) continue;
    throw new PrismrecError("INVALID_ARGUMENT", `row id at position ${i} is outside the table`, {
      expected: `0 <= id < ${rows}`,
      received: String(id),
    });
  }
}

function checkAscending(ids: Uint32Array): void {
  for (let i = 1; i < ids.length; i++) {
    if (ids[i]! > ids[i - 1]!) continue;
    throw new PrismrecError("INVALID_ARGUMENT", "row ids of an update must be distinct and ascending", {
      expected: `more than ${ids[i - 1]} at position ${i}`,
      received: String(ids[i]),
      hint: "Pass the batch's ids through uniqueRows and sum the gradients of repeats.",
    });
  }
}
