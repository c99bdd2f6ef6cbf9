import { z } from "zod";
import { PrismrecError } from "../../base/errors.js";
import type { Matrix } from "../../base/matrix.js";
import { softmaxLossSync } from "../../ops/softmax-loss/softmax-loss.js";
import type { Term } from "./term.js";

const settings = z.strictObject({
  power: z
    .number()
    .min(1)
    .default(2)
    .describe("p of the label-aware attention: the larger, the more the closest interest counts"),
});

/**
 * Sampled softmax on a user vector that looks at the label (Li et al. 2019, equations 6 to 8):
 * `v_u = sum_k softmax_k(pow(<v_k, e>, p)) v_k` with e the target's vector, which learns as the query too. The power
 * keeps the sign, so that an even p does not bring back interests that point away. Absent interests take no part. One
 * target for each row.
 */
export const labelAwareTerm: Term<z.infer<typeof settings>> = {
  name: "prediction",
  settings: settings.prefault({}),
  ofVectors({ settings: { power }, targets, items, sampled, device, allocate }, vectors, offsets) {
    const { rows, indices } = targets;
    const attended = attend(vectors, offsets, items, indices, power);
    const { loss, gradients } = softmaxLossSync(
      {
        interests: { data: attended.users, rows, cols: items.cols },
        interestsPerRow: 1,
        items,
        targets,
        readout: "max",
        ...(sampled === undefined ? {} : { sampled }),
        ...(device === undefined ? {} : { device }),
      },
      // The interests' gradient is as long as the interests, which that of the users is not.
      allocate === undefined
        ? undefined
        : (of, length) => (of === "items" ? allocate(of, length) : new Float32Array(length)),
    );
    const { items: ofItems, itemIds: ids } = gradients;
    const ofVectors = allocate?.("interests", vectors.length) ?? new Float32Array(vectors.length);
    ofVectors.fill(0);
    const { cols } = items;
    const count = vectors.length / cols / rows;
    for (let r = 0; r < rows; r++) {
      const target = indices[r]!;
      const ofTarget = (ids === undefined ? target : placeOf(ids, target)) * cols;
      const user = gradients.interests.subarray(r * cols, (r + 1) * cols);
      const mean = dot(user, 0, attended.users, r * cols, cols);
      for (let j = r * count; j < (r + 1) * count; j++) {
        const weight = attended.weights[j]!;
        if (weight === 0) continue;
        const slope = power * Math.abs(attended.products[j]!) ** (power - 1);
        const ofProduct = weight * slope * (dot(user, 0, vectors, j * cols, cols) - mean);
        for (let c = 0; c < cols; c++) {
          ofVectors[j * cols + c] = weight * user[c]! + ofProduct * items.data[target * cols + c]!;
          ofItems[ofTarget + c]! += ofProduct * vectors[j * cols + c]!;
        }
      }
    }
    return { loss, vectors: ofVectors, items: { ...(ids === undefined ? {} : { ids }), data: ofItems } };
  },
};

/** The users' vectors [R, d], with the attention weights [R * J] and what they are of: <v_j, e_target>. */
function attend(
  vectors: Float32Array,
  offsets: Float32Array | undefined,
  items: Matrix,
  targets: Uint32Array,
  power: number,
): { readonly users: Float32Array; readonly weights: Float64Array; readonly products: Float64Array } {
  const { cols } = items;
  const rows = targets.length;
  const count = vectors.length / cols / rows;
  const users = new Float32Array(rows * cols);
  const weights = new Float64Array(rows * count);
  const products = new Float64Array(rows * count);
  for (let r = 0; r < rows; r++) {
    const present: number[] = [];
    for (let j = r * count; j < (r + 1) * count; j++) if (offsets?.[j] !== Number.NEGATIVE_INFINITY) present.push(j);
    for (const j of present) products[j] = dot(vectors, j * cols, items.data, targets[r]! * cols, cols);
    const logits = present.map((j) => Math.sign(products[j]!) * Math.abs(products[j]!) ** power);
    const top = Math.max(...logits);
    const total = logits.reduce((sum, logit) => sum + Math.exp(logit - top), 0);
    for (const [i, j] of present.entries()) {
      weights[j] = Math.exp(logits[i]! - top) / total;
      for (let c = 0; c < cols; c++) users[r * cols + c]! += weights[j]! * vectors[j * cols + c]!;
    }
  }
  return { users, weights, products };
}

function dot(a: ArrayLike<number>, from: number, b: ArrayLike<number>, start: number, length: number): number {
  let sum = 0;
  for (let c = 0; c < length; c++) sum += a[from + c]! * b[start + c]!;
  return sum;
}

/** Where a value stands among ascending ones. */
function placeOf(ascending: Uint32Array, value: number): number {
  let [low, high] = [0, ascending.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ascending[middle]! < value) low = middle + 1;
    else high = middle;
  }
  if (ascending[low] === value) return low;
  throw new PrismrecError("INTERNAL", "a target has no gradient of its own", { received: `row ${value}` });
}
