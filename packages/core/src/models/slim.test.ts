import { describe, expect, it } from "vitest";
import { createRandom } from "../base/random.js";
import { trainingData } from "../testing/training-data.js";
import { fitSlim } from "./slim.js";

const ITEMS = 30;
const random = createRandom(3);
const lists = Array.from({ length: 60 }, () => [
  ...new Set(Array.from({ length: 8 }, () => 1 + Math.floor(ITEMS * random.uniform() ** 2))),
]);
const dataset = trainingData(lists, ITEMS);

/** X'X of the lists, in doubles. */
function counts(): Float64Array {
  const g = new Float64Array(ITEMS * ITEMS);
  for (const list of lists) for (const a of list) for (const b of list) g[(a - 1) * ITEMS + b - 1]!++;
  return g;
}

function dense({ indptr, indices, values, rows }: Awaited<ReturnType<typeof fitSlim>>["weights"]): Float64Array {
  const w = new Float64Array(rows * rows);
  for (let i = 0; i < rows; i++) {
    for (let at = indptr[i]!; at < indptr[i + 1]!; at++) w[i * rows + indices[at]!] = values![at]!;
  }
  return w;
}

describe("fitSlim", () => {
  const g = counts();

  it.each([
    [0.5, 2],
    [2, 20],
  ])("solves every column: no weight can be moved to the better (l1 %d, l2 %d)", async (l1, l2) => {
    const { weights } = await fitSlim(dataset, { l1, l2, neighbours: ITEMS });
    const w = dense(weights);
    expect(w.some((weight) => weight > 0)).toBe(true);
    for (let j = 0; j < ITEMS; j++) {
      for (let i = 0; i < ITEMS; i++) {
        const weight = w[i * ITEMS + j]!;
        if (i === j) {
          expect(weight).toBe(0);
          continue;
        }
        let slope = l1 + l2 * weight - g[i * ITEMS + j]!;
        for (let k = 0; k < ITEMS; k++) slope += g[i * ITEMS + k]! * w[k * ITEMS + j]!;
        // Karush, Kuhn and Tucker: flat where the weight is free, uphill where it is held at 0.
        if (weight > 0) expect(Math.abs(slope)).toBeLessThan(0.05);
        else if (g[i * ITEMS + j]! > 0) expect(slope).toBeGreaterThan(-0.05);
      }
    }
  });

  it("makes a column of its item's nearest neighbours alone", async () => {
    const { weights } = await fitSlim(dataset, { l1: 0, l2: 1, neighbours: 3 });
    const w = dense(weights);
    for (let j = 0; j < ITEMS; j++) {
      const column = Array.from({ length: ITEMS }, (_, i) => w[i * ITEMS + j]!);
      expect(column.filter((weight) => weight !== 0).length).toBeLessThanOrEqual(3);
    }
  });

  it("refuses penalties that are negative, and ends with the signal's own reason", async () => {
    await expect(fitSlim(dataset, { l1: -1, l2: 1, neighbours: 5 })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    const reason = new Error("enough");
    const run = { l1: 1, l2: 1, neighbours: 5, signal: AbortSignal.abort(reason) };
    await expect(fitSlim(dataset, run)).rejects.toBe(reason);
  });
});
