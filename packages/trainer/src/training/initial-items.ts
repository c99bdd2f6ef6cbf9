import { createRandom, type Matrix } from "@prismrec/core/base";
import { cooccurrence, ppmi, truncatedSvd } from "@prismrec/core/ops";
import type { TrainingSequences } from "./sequences.js";

/**
 * Item vectors from who was consumed together: U sqrt(S) of the PPMI of training co-occurrence, each pair of a sequence
 * weighing one over its length; rows of items with a training event are scaled to mean norm 1. Uses training sequences alone.
 *
 * @returns [itemCount, dim]; items without a training event are zero
 */
export function svdItems(sequences: TrainingSequences, itemCount: number, dim: number, seed: number): Matrix {
  // A large catalog has many items without a training event: their rows and columns of the matrix are zero, and left out of it.
  const { seen, places } = seenItems(sequences.items, itemCount);
  const counts = cooccurrence(
    {
      indptr: sequences.indptr,
      indices: sequences.items.map((id) => places[id - 1]!),
      rows: sequences.count,
      cols: seen.length,
    },
    { pairWeight: "inverse-length" },
  );
  const { u, singularValues } = truncatedSvd(ppmi(counts), Math.min(dim, seen.length), { seed });
  const data = new Float32Array(itemCount * dim);
  let norms = 0;
  for (const [row, i] of seen.entries()) {
    let squared = 0;
    for (let c = 0; c < u.cols; c++) {
      const value = u.data[row * u.cols + c]! * Math.sqrt(singularValues[c]!);
      data[i * dim + c] = value;
      squared += value * value;
    }
    norms += Math.sqrt(squared);
  }
  const scale = norms > 0 ? seen.length / norms : 1;
  for (let i = 0; i < data.length; i++) data[i] = data[i]! * scale;
  return { data, rows: itemCount, cols: dim };
}

/** The rows (dense id - 1) that have an event, ascending, and [N] the place of each row among them. */
function seenItems(
  items: Uint32Array,
  itemCount: number,
): { readonly seen: Uint32Array; readonly places: Uint32Array } {
  const places = new Uint32Array(itemCount);
  for (const id of items) places[id - 1] = 1;
  let count = 0;
  for (const has of places) count += has;
  const seen = new Uint32Array(count);
  count = 0;
  for (let row = 0; row < itemCount; row++) {
    if (places[row] === 0) continue;
    seen[count] = row;
    places[row] = count++;
  }
  return { seen, places };
}

/** N(0, 1 / sqrt(dim)): rows of norm about 1. */
export function randomItems(itemCount: number, dim: number, seed: number): Matrix {
  const random = createRandom(seed, "items");
  const data = new Float32Array(itemCount * dim);
  for (let i = 0; i < data.length; i++) data[i] = random.normal() / Math.sqrt(dim);
  return { data, rows: itemCount, cols: dim };
}

/** log(count + 1) less its value at the mean count: where a learned popularity bias starts. */
export function popularityBias(popularity: Uint32Array): Float32Array {
  const counts = popularity.subarray(1);
  const mean = counts.reduce((sum, count) => sum + count, 0) / Math.max(1, counts.length);
  return Float32Array.from(counts, (count) => Math.log(count + 1) - Math.log(mean + 1));
}
