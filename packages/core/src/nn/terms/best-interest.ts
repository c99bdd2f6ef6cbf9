import type { Matrix } from "../../base/matrix.js";
import { softmaxLossSync } from "../../ops/softmax-loss/softmax-loss.js";
import type { Term } from "./term.js";

/**
 * Sampled softmax on the interest closest to the target alone (Cen et al. 2020): no gradient reaches the others. One
 * target for each row.
 */
export const bestInterestTerm: Term = {
  name: "prediction",
  ofVectors({ targets, items, sampled, device, allocate }, vectors, offsets) {
    const interests = { data: vectors, rows: vectors.length / items.cols, cols: items.cols };
    const result = softmaxLossSync(
      {
        interests,
        interestsPerRow: interests.rows / targets.rows,
        offsets: onlyBest(interests, items, targets.indices, offsets),
        items,
        targets,
        readout: "max",
        ...(sampled === undefined ? {} : { sampled }),
        ...(device === undefined ? {} : { device }),
      },
      allocate,
    );
    const { interests: gradient, items: ofItems, itemIds: ids } = result.gradients;
    return { loss: result.loss, vectors: gradient, items: { ...(ids === undefined ? {} : { ids }), data: ofItems } };
  },
};

/**
 * Offsets [R * J] that leave each row the interest with the largest inner product with its target: the hard readout, in
 * which no gradient reaches the others. A row without any is left none.
 *
 * @param interests [R * J, d]
 * @param targets [R] rows of the item table
 * @param given [R * J] -Infinity where an interest is absent
 */
export function onlyBest(interests: Matrix, items: Matrix, targets: Uint32Array, given?: Float32Array): Float32Array {
  const count = interests.rows / targets.length;
  const offsets = new Float32Array(interests.rows).fill(Number.NEGATIVE_INFINITY);
  for (let r = 0; r < targets.length; r++) {
    let best = -1;
    let highest = Number.NEGATIVE_INFINITY;
    for (let j = r * count; j < (r + 1) * count; j++) {
      if (given?.[j] === Number.NEGATIVE_INFINITY) continue;
      const score = innerProduct(interests, j, items, targets[r]!);
      if (best >= 0 && score <= highest) continue;
      best = j;
      highest = score;
    }
    if (best >= 0) offsets[best] = 0;
  }
  return offsets;
}

function innerProduct(a: Matrix, i: number, b: Matrix, j: number): number {
  const [from, to] = [i * a.cols, j * b.cols];
  let sum = 0;
  for (let c = 0; c < a.cols; c++) sum += a.data[from + c]! * b.data[to + c]!;
  return sum;
}
