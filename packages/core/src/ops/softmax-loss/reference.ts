import type { CsrMatrix } from "../../base/matrix.js";
import type { SoftmaxLoss, SoftmaxLossChoice, SoftmaxLossInput, SoftmaxLossValue } from "./types.js";

/** One column of a row's softmax: an item and what is added to its inner product. */
interface Column {
  readonly item: number;
  readonly shift: number;
}

/**
 * The definition of the loss and its gradients in double precision, for machines without the addon and as the other
 * side of its tests. Takes input that `checkSoftmaxLoss` has accepted.
 */
export function softmaxLossReference(
  input: SoftmaxLossInput & SoftmaxLossChoice,
): SoftmaxLossValue & Partial<SoftmaxLoss> {
  const { interests, items, targets, interestsPerRow } = input;
  const rows = targets.rows;
  const dim = items.cols;
  let countedRows = 0;
  for (let r = 0; r < rows; r++) if (targets.indptr[r + 1]! > targets.indptr[r]!) countedRows++;

  const rowLosses = new Float32Array(rows);
  const wanted = input.gradients !== false;
  const itemIds = input.sampled === undefined ? undefined : sortedUnion(input.sampled.ids, targets.indices);
  const slotOf = itemIds === undefined ? undefined : new Map(Array.from(itemIds, (id, slot) => [id, slot]));
  const slots = !wanted ? 0 : (itemIds?.length ?? items.rows);
  const interestGradient = new Float64Array(wanted ? rows * interestsPerRow * dim : 0);
  const offsetGradient = new Float64Array(wanted ? rows * interestsPerRow : 0);
  const itemGradient = new Float64Array(slots * dim);
  const biasGradient = new Float64Array(slots);

  let total = 0;
  for (let r = 0; r < rows; r++) {
    const first = targets.indptr[r]!;
    const targetCount = targets.indptr[r + 1]! - first;
    if (targetCount === 0) continue;
    const present: number[] = [];
    for (let j = 0; j < interestsPerRow; j++) {
      if (input.offsets?.[r * interestsPerRow + j] !== Number.NEGATIVE_INFINITY) present.push(r * interestsPerRow + j);
    }
    const { columns, targetColumns } = columnsOf(input, r);
    const logits = logitsOf(input, present, columns);
    const scores = readOut(logits, present.length, columns.length, input.readout);
    const top = scores.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
    let sum = 0;
    for (const score of scores) sum += Math.exp(score - top);
    const normaliser = top + Math.log(sum);
    let targetSum = 0;
    for (const column of targetColumns) targetSum += scores[column]!;
    const loss = normaliser - targetSum / targetCount;
    rowLosses[r] = loss;
    total += loss;
    if (!wanted) continue;

    const scoreGradient = scores.map((score) => Math.exp(score - normaliser) / countedRows);
    for (const column of targetColumns) scoreGradient[column]! -= 1 / (targetCount * countedRows);
    for (let c = 0; c < columns.length; c++) {
      const { item } = columns[c]!;
      const slot = slotOf?.get(item) ?? item;
      const share = interestShares(logits, present.length, columns.length, c, scores[c]!, input.readout);
      for (let p = 0; p < present.length; p++) {
        const gradient = scoreGradient[c]! * share[p]!;
        if (gradient === 0) continue;
        const row = present[p]!;
        offsetGradient[row]! += gradient;
        biasGradient[slot]! += gradient;
        for (let k = 0; k < dim; k++) {
          interestGradient[row * dim + k]! += gradient * items.data[item * dim + k]!;
          itemGradient[slot * dim + k]! += gradient * interests.data[row * dim + k]!;
        }
      }
    }
  }
  const value = { loss: countedRows === 0 ? 0 : total / countedRows, rowLosses, countedRows };
  if (!wanted) return value;
  return {
    ...value,
    gradients: {
      interests: Float32Array.from(interestGradient),
      offsets: Float32Array.from(offsetGradient),
      items: Float32Array.from(itemGradient),
      itemBias: Float32Array.from(biasGradient),
      ...(itemIds === undefined ? {} : { itemIds }),
    },
  };
}

/** The columns of row r's softmax and, for each target entry, which of them it is. */
function columnsOf(input: SoftmaxLossInput, r: number): { columns: Column[]; targetColumns: number[] } {
  const { targets, itemBias, sampled } = input;
  const bias = (item: number) => itemBias?.[item] ?? 0;
  const own = rowOf(targets, r);
  const ownItems = new Set(own);
  const removed = new Set(input.mask === undefined ? [] : rowOf(input.mask, r));
  const columns: Column[] = [];
  if (sampled === undefined) {
    const place = new Map<number, number>();
    for (let item = 0; item < input.items.rows; item++) {
      if (removed.has(item) && !ownItems.has(item)) continue;
      place.set(item, columns.length);
      columns.push({ item, shift: bias(item) });
    }
    return { columns, targetColumns: Array.from(own, (item) => place.get(item)!) };
  }
  const targetColumns: number[] = [];
  const place = new Map<number, number>();
  own.forEach((item, n) => {
    let column = place.get(item);
    if (column === undefined) {
      column = columns.length;
      place.set(item, column);
      columns.push({ item, shift: bias(item) - (sampled.targetLogQ?.[targets.indptr[r]! + n] ?? 0) });
    }
    targetColumns.push(column);
  });
  const count = sampled.perRow ? sampled.ids.length / targets.rows : sampled.ids.length;
  const from = sampled.perRow ? r * count : 0;
  for (let s = from; s < from + count; s++) {
    const item = sampled.ids[s]!;
    if (!ownItems.has(item) && !removed.has(item)) columns.push({ item, shift: bias(item) - (sampled.logQ?.[s] ?? 0) });
  }
  return { columns, targetColumns };
}

function rowOf(matrix: CsrMatrix, r: number): Uint32Array {
  return matrix.indices.subarray(matrix.indptr[r]!, matrix.indptr[r + 1]!);
}

/** [present, columns] */
function logitsOf(input: SoftmaxLossInput, present: readonly number[], columns: readonly Column[]): Float64Array {
  const { interests, items, offsets } = input;
  const dim = items.cols;
  const logits = new Float64Array(present.length * columns.length);
  let at = 0;
  for (const row of present) {
    const offset = offsets?.[row] ?? 0;
    for (const { item, shift } of columns) {
      let dot = 0;
      for (let k = 0; k < dim; k++) dot += interests.data[row * dim + k]! * items.data[item * dim + k]!;
      logits[at++] = dot + shift + offset;
    }
  }
  return logits;
}

function readOut(
  logits: Float64Array,
  present: number,
  columns: number,
  readout: SoftmaxLossInput["readout"],
): Float64Array {
  const scores = new Float64Array(columns);
  for (let c = 0; c < columns; c++) {
    let top = Number.NEGATIVE_INFINITY;
    for (let p = 0; p < present; p++) top = Math.max(top, logits[p * columns + c]!);
    let sum = 0;
    for (let p = 0; p < present; p++) sum += Math.exp(logits[p * columns + c]! - top);
    scores[c] = readout === "max" ? top : top + Math.log(sum);
  }
  return scores;
}

/** Derivative of column c's score with respect to each interest's logit. */
function interestShares(
  logits: Float64Array,
  present: number,
  columns: number,
  c: number,
  score: number,
  readout: SoftmaxLossInput["readout"],
): Float64Array {
  const shares = new Float64Array(present);
  for (let p = 0; p < present; p++) {
    const logit = logits[p * columns + c]!;
    if (readout === "log-sum-exp") shares[p] = Math.exp(logit - score);
    else if (logit === score) {
      shares[p] = 1;
      break;
    }
  }
  return shares;
}

function sortedUnion(a: Uint32Array, b: Uint32Array): Uint32Array {
  return Uint32Array.from(new Set([...a, ...b])).sort();
}
