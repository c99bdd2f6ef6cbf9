import { z } from "zod";
import { PrismrecError } from "../../base/errors.js";
import { mergeRows } from "../../ops/embedding-rows/embedding-rows.js";
import { matrixProductSync } from "../../ops/matrix-product/matrix-product.js";
import { onlyBest } from "./best-interest.js";
import type { Term } from "./term.js";

const settings = z.strictObject({
  beta: z.number().min(0).default(1).describe("how much harder negatives weigh more; 0: all the same"),
  detach: z
    .boolean()
    .default(false)
    .describe("whether the weights are held fixed; otherwise easy negatives are drawn a little closer, as published"),
});

/**
 * Interest-aware hard negatives (Xie et al. 2023, equations 5 to 7) for the interest closest to the target: with x_0 its
 * product with the target, x_1 .. x_n those with uniform candidates, and
 * `N = n sum_j e^((1 + beta) x_j) / sum_j e^(beta x_j)`, the mean over rows of `-x_0 + log(e^x_0 + N)`. A row's own target
 * among its candidates is left out. One target for each row, candidates that all rows share.
 */
export const hardNegativesTerm: Term<z.infer<typeof settings>> = {
  name: "prediction",
  settings: settings.prefault({}),
  ofVectors({ settings: { beta, detach }, targets, items, sampled }, vectors, offsets) {
    if (sampled === undefined || sampled.perRow === true) {
      throw new PrismrecError("CONFIG_INVALID", "hard negatives are looked for among candidates that a batch shares", {
        expected: "batches of cuts",
        received: sampled === undefined ? "the whole catalog" : "candidates for each row",
      });
    }
    const { data, cols } = items;
    const { rows, indices: target } = targets;
    const interests = { data: vectors, rows: vectors.length / cols, cols };
    const winners = winnersOf(onlyBest(interests, items, target, offsets), rows);
    const [queries, positives] = [new Float32Array(rows * cols), new Float32Array(rows * cols)];
    for (let r = 0; r < rows; r++) {
      positives.set(data.subarray(target[r]! * cols, (target[r]! + 1) * cols), r * cols);
      const winner = winners[r]!;
      if (winner >= 0) queries.set(vectors.subarray(winner * cols, (winner + 1) * cols), r * cols);
    }
    const { ids } = sampled;
    const count = ids.length;
    const negatives = new Float32Array(count * cols);
    for (let s = 0; s < count; s++) negatives.set(data.subarray(ids[s]! * cols, (ids[s]! + 1) * cols), s * cols);
    const q = { data: queries, rows, cols };
    const n = { data: negatives, rows: count, cols };
    // Overwritten row by row with the loss's gradient in each product.
    const products = matrixProductSync(q, n, { transposeB: true });
    const ofPositive = new Float32Array(rows);
    const counted = winners.reduce((sum, winner) => sum + (winner < 0 ? 0 : 1), 0);
    let loss = 0;
    for (let r = 0; r < rows; r++) {
      const row = products.data.subarray(r * count, (r + 1) * count);
      if (winners[r]! < 0) {
        row.fill(0);
        continue;
      }
      let x0 = 0;
      for (let c = 0; c < cols; c++) x0 += queries[r * cols + c]! * positives[r * cols + c]!;
      const found = hardness(row, ids, target[r]!, x0, beta, detach);
      loss += found.loss;
      ofPositive[r] = found.ofPositive / counted;
      for (let s = 0; s < count; s++) row[s]! /= counted;
    }
    const ofQueries = matrixProductSync(products, n);
    const ofNegatives = matrixProductSync(transposed(products.data, rows, count), q);
    const gradient = new Float32Array(vectors.length);
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < cols; c++) {
        const at = r * cols + c;
        if (winners[r]! >= 0) {
          gradient[winners[r]! * cols + c] = ofQueries.data[at]! + ofPositive[r]! * positives[at]!;
        }
        // No longer read: what the target itself is told.
        positives[at] = ofPositive[r]! * queries[at]!;
      }
    }
    const merged = mergeRows(
      [
        { ids: target, data: positives },
        { ids, data: ofNegatives.data },
      ],
      cols,
    );
    return {
      loss: counted === 0 ? 0 : loss / counted,
      vectors: gradient,
      items: { ids: merged.rows, data: merged.data },
    };
  },
};

/** The one interest of each row that is not left out; -1 where a row has none. */
function winnersOf(offsets: Float32Array, rows: number): Int32Array {
  const count = offsets.length / rows;
  return Int32Array.from({ length: rows }, (_, r) => {
    const at = offsets.subarray(r * count, (r + 1) * count).indexOf(0);
    return at < 0 ? -1 : r * count + at;
  });
}

/** One row's loss and its gradient in x_0; `row`, the products with the candidates, becomes the gradient in them. */
function hardness(
  row: Float32Array,
  ids: Uint32Array,
  target: number,
  x0: number,
  beta: number,
  detach: boolean,
): { readonly loss: number; readonly ofPositive: number } {
  let top = Number.NEGATIVE_INFINITY;
  let others = 0;
  for (let s = 0; s < row.length; s++) {
    if (ids[s] === target) continue;
    others++;
    top = Math.max(top, row[s]!);
  }
  if (others === 0) {
    row.fill(0);
    return { loss: 0, ofPositive: 0 };
  }
  let [sharp, flat] = [0, 0];
  for (let s = 0; s < row.length; s++) {
    if (ids[s] === target) continue;
    sharp += Math.exp((1 + beta) * (row[s]! - top));
    flat += Math.exp(beta * (row[s]! - top));
  }
  const logN = Math.log(others) + top + Math.log(sharp) - Math.log(flat);
  const higher = Math.max(x0, logN);
  const logZ = higher + Math.log(Math.exp(x0 - higher) + Math.exp(logN - higher));
  const share = Math.exp(logN - logZ);
  for (let s = 0; s < row.length; s++) {
    if (ids[s] === target) {
      row[s] = 0;
      continue;
    }
    const a = Math.exp((1 + beta) * (row[s]! - top)) / sharp;
    const b = Math.exp(beta * (row[s]! - top)) / flat;
    row[s] = share * (detach ? a : (1 + beta) * a - beta * b);
  }
  return { loss: logZ - x0, ofPositive: -share };
}

function transposed(data: Float32Array, rows: number, cols: number) {
  const turned = new Float32Array(data.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) turned[c * rows + r] = data[r * cols + c]!;
  return { data: turned, rows: cols, cols: rows };
}
