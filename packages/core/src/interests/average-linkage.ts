import { PrismrecError } from "../base/errors.js";
import type { Matrix } from "../base/matrix.js";

export interface LinkageOptions {
  /** Most clusters to return, at least 1. */
  readonly maxClusters: number;
  /**
   * Where to cut the tree: a cosine (clusters whose mean cosine is at least this are merged), or `silhouette`, the
   * number of clusters in 1..maxClusters with the largest mean silhouette (Rousseeuw, 1987).
   */
  readonly threshold: number | "silhouette";
  /** A silhouette at most this large counts as no structure: one cluster (default 0). */
  readonly minSilhouette?: number;
}

interface Merge {
  readonly a: number;
  readonly b: number;
  readonly height: number;
}

/** Cosine distance (1 - cosine) of all pairs, [n * n]; a zero vector is at distance 1 from everything but itself. */
function cosineDistances({ data, rows, cols }: Matrix): Float64Array {
  const norms = new Float64Array(rows);
  for (let i = 0; i < rows; i++) {
    let sum = 0;
    for (let k = 0; k < cols; k++) sum += data[i * cols + k]! ** 2;
    norms[i] = Math.sqrt(sum);
  }
  const distances = new Float64Array(rows * rows);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < i; j++) {
      let dot = 0;
      for (let k = 0; k < cols; k++) dot += data[i * cols + k]! * data[j * cols + k]!;
      const scale = norms[i]! * norms[j]!;
      const distance = scale > 0 ? 1 - dot / scale : 1;
      distances[i * rows + j] = distance;
      distances[j * rows + i] = distance;
    }
  }
  return distances;
}

/**
 * The merges of average linkage by nearest-neighbour chains (Murtagh, 1983), O(n²) time: average linkage is reducible,
 * so merging reciprocal nearest neighbours wherever they are found gives the same tree as merging the closest pair.
 */
function mergesOf(pairwise: Float64Array, n: number): Merge[] {
  const d = Float64Array.from(pairwise);
  const size = new Float64Array(n).fill(1);
  const alive = new Uint8Array(n).fill(1);
  const merges: Merge[] = [];
  const chain: number[] = [];
  while (merges.length < n - 1) {
    if (chain.length === 0) chain.push(alive.indexOf(1));
    for (;;) {
      const top = chain[chain.length - 1]!;
      const previous = chain.length > 1 ? chain[chain.length - 2]! : -1;
      let best = previous;
      let bestDistance = previous >= 0 ? d[top * n + previous]! : Infinity;
      for (let j = 0; j < n; j++) {
        if (j !== top && alive[j] === 1 && d[top * n + j]! < bestDistance) {
          best = j;
          bestDistance = d[top * n + j]!;
        }
      }
      if (best !== previous) {
        chain.push(best);
        continue;
      }
      chain.length -= 2;
      const a = Math.min(top, best);
      const b = Math.max(top, best);
      merges.push({ a, b, height: bestDistance });
      const total = size[a]! + size[b]!;
      for (let j = 0; j < n; j++) {
        if (alive[j] === 0 || j === a || j === b) continue;
        const merged = (size[a]! * d[a * n + j]! + size[b]! * d[b * n + j]!) / total;
        d[a * n + j] = merged;
        d[j * n + a] = merged;
      }
      size[a] = total;
      alive[b] = 0;
      break;
    }
  }
  // A stable sort by height puts every merge after the merges it is made of.
  return merges.sort((x, y) => x.height - y.height);
}

/** Clusters after the first `count` merges, numbered by first appearance. */
function cut(merges: readonly Merge[], count: number, n: number): Int16Array {
  const parent = Int32Array.from({ length: n }, (_, i) => i);
  const root = (i: number): number => {
    let at = i;
    while (parent[at] !== at) {
      parent[at] = parent[parent[at]!]!;
      at = parent[at]!;
    }
    return at;
  };
  for (let m = 0; m < count; m++) {
    const { a, b } = merges[m]!;
    parent[root(b)] = root(a);
  }
  const number = new Map<number, number>();
  const assign = new Int16Array(n);
  for (let i = 0; i < n; i++) {
    const r = root(i);
    let c = number.get(r);
    if (c === undefined) {
      c = number.size;
      number.set(r, c);
    }
    assign[i] = c;
  }
  return assign;
}

/** Mean over the items of (b - a) / max(a, b), 0 for singletons; a, b = mean distance within, to the nearest other cluster. */
function meanSilhouette(distances: Float64Array, assign: Int16Array, clusters: number): number {
  const n = assign.length;
  const size = new Float64Array(clusters);
  for (let i = 0; i < n; i++) size[assign[i]!] = size[assign[i]!]! + 1;
  const sums = new Float64Array(clusters);
  let total = 0;
  for (let i = 0; i < n; i++) {
    const own = assign[i]!;
    if (size[own]! < 2) continue;
    sums.fill(0);
    for (let j = 0; j < n; j++) sums[assign[j]!] = sums[assign[j]!]! + distances[i * n + j]!;
    const within = sums[own]! / (size[own]! - 1);
    let nearest = Infinity;
    for (let c = 0; c < clusters; c++) {
      if (c !== own) nearest = Math.min(nearest, sums[c]! / size[c]!);
    }
    const scale = Math.max(within, nearest);
    if (scale > 0) total += (nearest - within) / scale;
  }
  return total / n;
}

/**
 * Average linkage on cosine over the rows of `vectors`.
 * Returns [rows] cluster numbers, 0..M - 1 by first appearance, M <= maxClusters. O(rows²·cols) time, O(rows²) memory;
 * deterministic. Throws NON_FINITE for NaN or infinite entries, INVALID_ARGUMENT for bad options.
 */
export function averageLinkage(vectors: Matrix, options: LinkageOptions): Int16Array {
  const { maxClusters, threshold, minSilhouette = 0 } = options;
  if (!Number.isInteger(maxClusters) || maxClusters < 1) {
    throw new PrismrecError("INVALID_ARGUMENT", "maxClusters must be a positive integer", {
      expected: "1, 2, 3, ...",
      received: String(maxClusters),
    });
  }
  const n = vectors.rows;
  if (vectors.data.length !== n * vectors.cols) {
    throw new PrismrecError("SHAPE_MISMATCH", "the vectors' data does not fill their shape", {
      expected: `${n} x ${vectors.cols} numbers`,
      received: `${vectors.data.length} numbers`,
    });
  }
  if (!vectors.data.every(Number.isFinite)) {
    throw new PrismrecError("NON_FINITE", "the vectors to cluster hold NaN or infinite numbers", {
      hint: "compute the item signatures again",
    });
  }
  if (n <= 1) return new Int16Array(n);
  const distances = cosineDistances(vectors);
  const merges = mergesOf(distances, n);
  const fewestMerges = Math.max(0, n - maxClusters);
  if (threshold !== "silhouette") {
    let count = 0;
    while (count < merges.length && merges[count]!.height <= 1 - threshold) count++;
    return cut(merges, Math.max(count, fewestMerges), n);
  }
  let best = cut(merges, n - 1, n);
  let bestValue = minSilhouette;
  for (let clusters = 2; clusters <= Math.min(maxClusters, n - 1); clusters++) {
    const assign = cut(merges, n - clusters, n);
    const value = meanSilhouette(distances, assign, clusters);
    if (value > bestValue) {
      best = assign;
      bestValue = value;
    }
  }
  return best;
}
