import type { Matrix } from "../../base/matrix.js";
import type {
  ContrastiveLoss,
  ContrastiveLossChoice,
  ContrastiveLossInput,
  InfoNceInput,
  SupervisedContrastiveInput,
} from "./types.js";

/** Rows as the loss sees them, in double precision, with room for their gradient. */
interface Side {
  readonly h: Float64Array;
  readonly dh: Float64Array;
  readonly dim: number;
}

interface RowTerm {
  readonly row: number;
  readonly candidates: readonly number[];
  /** A non-empty part of `candidates`. */
  readonly positives: readonly number[];
}

/**
 * The definition of both losses and their gradients in double precision, for machines without the addon and as the other
 * side of its tests. Takes input that `checkContrastiveLoss` has accepted.
 */
export function contrastiveLossReference(input: ContrastiveLossInput & ContrastiveLossChoice): ContrastiveLoss {
  return input.kind === "info-nce" ? infoNce(input) : supervised(input);
}

function infoNce(input: InfoNceInput & ContrastiveLossChoice): ContrastiveLoss {
  const n = input.queries.rows;
  const symmetric = input.direction === "symmetric";
  const queries = sideOf(input, [input.queries]);
  const candidates = sideOf(
    input,
    input.negatives === undefined ? [input.positives] : [input.positives, input.negatives],
  );
  const rowLosses = new Float64Array(n);
  const scale = scaleOf(input, n) * (symmetric ? 0.5 : 1);
  const ids = input.positiveIds;
  for (let i = 0; i < n; i++) {
    const inBatch = range(n).filter((j) => j === i || ids === undefined || ids[j] !== ids[i]);
    const explicit = range(input.negatives?.rows ?? 0)
      .filter((j) => ids === undefined || input.negativeIds === undefined || input.negativeIds[j] !== ids[i])
      .map((j) => n + j);
    const forward: RowTerm = { row: i, candidates: [...inBatch, ...explicit], positives: [i] };
    rowLosses[i] = addRow(queries, candidates, forward, input.temperature, scale, input.logQ);
    if (!symmetric) continue;
    const backward: RowTerm = { row: i, candidates: inBatch, positives: [i] };
    rowLosses[i] = (rowLosses[i]! + addRow(candidates, queries, backward, input.temperature, scale)) / 2;
  }
  const value = reduced(input, rowLosses, n);
  if (input.gradients === false) return value;
  const candidateGradient = rawGradient(input, candidates, [
    input.positives,
    ...(input.negatives === undefined ? [] : [input.negatives]),
  ]);
  const positives = n * input.positives.cols;
  return {
    ...value,
    gradients: {
      queries: rawGradient(input, queries, [input.queries]),
      positives: candidateGradient.slice(0, positives),
      ...(input.negatives === undefined ? {} : { negatives: candidateGradient.slice(positives) }),
    },
  };
}

function supervised(input: SupervisedContrastiveInput & ContrastiveLossChoice): ContrastiveLoss {
  const { groups, labels, itemIds } = input;
  const n = input.rows.rows;
  const side = sideOf(input, [input.rows]);
  const terms: RowTerm[] = [];
  for (let i = 0; i < n; i++) {
    const isPositive = (j: number) => j !== i && groups[j] === groups[i] && labels[j] === labels[i] && labels[i] !== -1;
    const positives = range(n).filter(isPositive);
    if (positives.length === 0) continue;
    const candidates = range(n).filter((j) => {
      if (j === i) return false;
      if (input.scope === "group") return groups[j] === groups[i];
      return itemIds === undefined || itemIds[j] !== itemIds[i] || isPositive(j);
    });
    terms.push({ row: i, candidates, positives });
  }
  const rowLosses = new Float64Array(n);
  const scale = scaleOf(input, terms.length);
  for (const term of terms) rowLosses[term.row] = addRow(side, side, term, input.temperature, scale);
  const value = reduced(input, rowLosses, terms.length);
  return input.gradients === false ? value : { ...value, gradients: { rows: rawGradient(input, side, [input.rows]) } };
}

/** Loss of one row: log-sum-exp over its candidates minus the mean logit of its positives; adds `scale` times its gradient. */
function addRow(
  rows: Side,
  columns: Side,
  { row, candidates, positives }: RowTerm,
  temperature: number,
  scale: number,
  logQ?: Float32Array,
): number {
  const dim = rows.dim;
  const logits = candidates.map((j) => {
    let dot = 0;
    for (let k = 0; k < dim; k++) dot += rows.h[row * dim + k]! * columns.h[j * dim + k]!;
    return dot / temperature - (logQ?.[j] ?? 0);
  });
  const top = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const normaliser = top + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - top), 0));
  const wanted = new Set(positives);
  let positiveSum = 0;
  candidates.forEach((j, c) => {
    const positive = wanted.has(j);
    if (positive) positiveSum += logits[c]!;
    const share = Math.exp(logits[c]! - normaliser) - (positive ? 1 / positives.length : 0);
    const gradient = (share * scale) / temperature;
    for (let k = 0; k < dim; k++) {
      rows.dh[row * dim + k]! += gradient * columns.h[j * dim + k]!;
      columns.dh[j * dim + k]! += gradient * rows.h[row * dim + k]!;
    }
  });
  return normaliser - positiveSum / positives.length;
}

function sideOf(input: ContrastiveLossInput, parts: readonly Matrix[]): Side {
  const dim = parts[0]!.cols;
  const h = Float64Array.from(parts.flatMap((part) => Array.from(part.data)));
  if (input.similarity === "cosine") {
    for (let i = 0; i < h.length; i += dim) {
      const length = norm(h, i, dim);
      for (let k = i; k < i + dim; k++) h[k] = length === 0 ? 0 : h[k]! / length;
    }
  }
  return { h, dh: new Float64Array(h.length), dim };
}

/** The gradient with respect to the rows as given: through the scaling to unit length where there is one. */
function rawGradient(input: ContrastiveLossInput, { h, dh, dim }: Side, parts: readonly Matrix[]): Float32Array {
  if (input.similarity === "dot") return Float32Array.from(dh);
  const raw = Float64Array.from(parts.flatMap((part) => Array.from(part.data)));
  const gradient = new Float32Array(raw.length);
  for (let i = 0; i < raw.length; i += dim) {
    const length = norm(raw, i, dim);
    if (length === 0) continue;
    let along = 0;
    for (let k = i; k < i + dim; k++) along += h[k]! * dh[k]!;
    for (let k = i; k < i + dim; k++) gradient[k] = (dh[k]! - along * h[k]!) / length;
  }
  return gradient;
}

function norm(values: Float64Array, start: number, dim: number): number {
  let squares = 0;
  for (let k = start; k < start + dim; k++) squares += values[k]! ** 2;
  return Math.sqrt(squares);
}

function scaleOf(input: ContrastiveLossInput, countedRows: number): number {
  return (input.reduction ?? "mean") === "mean" && countedRows > 0 ? 1 / countedRows : 1;
}

function reduced(input: ContrastiveLossInput, rowLosses: Float64Array, countedRows: number): ContrastiveLoss {
  const sum = rowLosses.reduce((a, b) => a + b, 0);
  return { loss: sum * scaleOf(input, countedRows), rowLosses: Float32Array.from(rowLosses), countedRows };
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}
