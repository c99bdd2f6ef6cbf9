import { PrismrecError } from "../base/errors.js";

/** Any array of small non-negative cluster numbers; negative entries mean "no cluster" and are left out of a pair. */
export type ClusterLabels = ArrayLike<number>;

interface Contingency {
  readonly total: number;
  readonly cells: readonly number[];
  readonly rows: readonly number[];
  readonly cols: readonly number[];
  /** Row and column of each cell of `cells`. */
  readonly rowOf: readonly number[];
  readonly colOf: readonly number[];
}

function contingency(a: ClusterLabels, b: ClusterLabels): Contingency {
  if (a.length !== b.length) {
    throw new PrismrecError("SHAPE_MISMATCH", "two partitions of different lengths cannot be compared", {
      expected: `${a.length} entries`,
      received: `${b.length} entries`,
      hint: "pass the clusters of the same items in the same order",
    });
  }
  const rowIndex = new Map<number, number>();
  const colIndex = new Map<number, number>();
  const cellIndex = new Map<string, number>();
  const rows: number[] = [];
  const cols: number[] = [];
  const cells: number[] = [];
  const rowOf: number[] = [];
  const colOf: number[] = [];
  const place = (index: Map<number, number>, counts: number[], value: number): number => {
    let at = index.get(value);
    if (at === undefined) {
      at = counts.length;
      index.set(value, at);
      counts.push(0);
    }
    counts[at] = counts[at]! + 1;
    return at;
  };
  let total = 0;
  for (let i = 0; i < a.length; i++) {
    const x = a[i]!;
    const y = b[i]!;
    if (x < 0 || y < 0) continue;
    total++;
    const r = place(rowIndex, rows, x);
    const c = place(colIndex, cols, y);
    const key = `${r},${c}`;
    let cell = cellIndex.get(key);
    if (cell === undefined) {
      cell = cells.length;
      cellIndex.set(key, cell);
      cells.push(0);
      rowOf.push(r);
      colOf.push(c);
    }
    cells[cell] = cells[cell]! + 1;
  }
  return { total, cells, rows, cols, rowOf, colOf };
}

function pairsWithin(counts: readonly number[]): number {
  let sum = 0;
  for (const n of counts) sum += (n * (n - 1)) / 2;
  return sum;
}

/**
 * Adjusted Rand index of two partitions of the same items (Hubert & Arabie, 1985): 1 = the same partition,
 * 0 = what chance gives for these cluster sizes. Two partitions that are both trivial in the same way score 1.
 */
export function adjustedRandIndex(a: ClusterLabels, b: ClusterLabels): number {
  const { total, cells, rows, cols } = contingency(a, b);
  const all = (total * (total - 1)) / 2;
  if (all === 0) return 1;
  const together = pairsWithin(cells);
  const inRows = pairsWithin(rows);
  const inCols = pairsWithin(cols);
  const expected = (inRows * inCols) / all;
  const best = (inRows + inCols) / 2;
  return best === expected ? 1 : (together - expected) / (best - expected);
}

function entropy(counts: readonly number[], total: number): number {
  let h = 0;
  for (const n of counts) {
    if (n > 0) h -= (n / total) * Math.log(n / total);
  }
  return h;
}

/** Mutual information of two labelings in nats, at least 0. */
export function mutualInformation(a: ClusterLabels, b: ClusterLabels): number {
  const { total, cells, rows, cols, rowOf, colOf } = contingency(a, b);
  let information = 0;
  for (let i = 0; i < cells.length; i++) {
    const n = cells[i]!;
    information += (n / total) * Math.log((n * total) / (rows[rowOf[i]!]! * cols[colOf[i]!]!));
  }
  return Math.max(0, information);
}

/** Mutual information over the arithmetic mean of the two entropies, 0..1; two trivial labelings score 1. */
export function normalizedMutualInformation(a: ClusterLabels, b: ClusterLabels): number {
  const { total, rows, cols } = contingency(a, b);
  if (total === 0) return 1;
  const scale = (entropy(rows, total) + entropy(cols, total)) / 2;
  return scale === 0 ? 1 : mutualInformation(a, b) / scale;
}

/** Entropy of a partition's cluster sizes in nats; negative entries are left out. */
export function sizeEntropy(labels: ClusterLabels): number {
  const { total, rows } = contingency(labels, labels);
  return total === 0 ? 0 : entropy(rows, total);
}

export interface Mean {
  readonly mean: number;
  /** Standard error of the mean; 0 for fewer than two values. */
  readonly standardError: number;
  readonly count: number;
}

export function meanOf(values: ArrayLike<number>): Mean {
  const count = values.length;
  if (count === 0) return { mean: 0, standardError: 0, count };
  let sum = 0;
  for (let i = 0; i < count; i++) sum += values[i]!;
  const mean = sum / count;
  let squares = 0;
  for (let i = 0; i < count; i++) squares += (values[i]! - mean) ** 2;
  return { mean, standardError: count < 2 ? 0 : Math.sqrt(squares / (count - 1) / count), count };
}
