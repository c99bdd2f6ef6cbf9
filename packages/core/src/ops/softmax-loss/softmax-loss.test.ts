import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isPrismrecError, type PrismrecError } from "../../base/errors.js";
import type { CsrMatrix, Matrix } from "../../base/matrix.js";
import { createRandom } from "../../base/random.js";
import { native } from "../native.js";
import { softmaxLoss, softmaxLossSync } from "./softmax-loss.js";
import type { SoftmaxLossGradients, SoftmaxLossInput } from "./types.js";

const variants = native() === undefined ? ["typescript"] : ["typescript", "reference", "scalar", undefined];

function matrix(rows: number, cols: number, values: readonly number[]): Matrix {
  return { data: Float32Array.from(values), rows, cols };
}

function csr(cols: number, rows: readonly (readonly number[])[]): CsrMatrix {
  const indptr = new Uint32Array(rows.length + 1);
  rows.forEach((row, r) => {
    indptr[r + 1] = indptr[r]! + row.length;
  });
  return { indptr, indices: Uint32Array.from(rows.flat()), rows: rows.length, cols };
}

interface Shape {
  readonly rows: number;
  readonly interests: number;
  readonly items: number;
  readonly dim: number;
  readonly readout: "log-sum-exp" | "max";
  readonly candidates?: number;
  readonly perRow?: boolean;
  readonly seed?: number;
}

/** A case with everything in it: bias, offsets with absent interests, masks, a row without targets, repeated targets. */
function example(shape: Shape): SoftmaxLossInput & { offsets: Float32Array; itemBias: Float32Array } {
  const random = createRandom(shape.seed ?? 3);
  const values = (count: number) => Float32Array.from({ length: count }, () => random.normal());
  const ids = (count: number) => Array.from({ length: count }, () => random.integer(0, shape.items));
  const pairs = shape.rows * shape.interests;
  const offsets = values(pairs).map((offset, p) => (p % shape.interests === 2 ? Number.NEGATIVE_INFINITY : offset));
  const perRow = shape.perRow ?? false;
  const entries = (shape.candidates ?? 0) * (perRow ? shape.rows : 1);
  const targets = csr(
    shape.items,
    Array.from({ length: shape.rows }, (_, r) => (r === 1 ? [] : ids(1 + (r % 4)))),
  );
  return {
    interests: { data: values(pairs * shape.dim), rows: pairs, cols: shape.dim },
    interestsPerRow: shape.interests,
    offsets,
    items: { data: values(shape.items * shape.dim), rows: shape.items, cols: shape.dim },
    itemBias: values(shape.items),
    targets,
    mask: csr(
      shape.items,
      Array.from({ length: shape.rows }, () => ids(3)),
    ),
    readout: shape.readout,
    ...(shape.candidates === undefined
      ? {}
      : {
          sampled: {
            ids: Uint32Array.from(ids(entries)),
            perRow,
            logQ: values(entries),
            targetLogQ: values(targets.indices.length),
          },
        }),
  };
}

function expectClose(got: Float32Array, want: Float32Array): void {
  expect(got.length).toBe(want.length);
  const scale = want.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  got.forEach((value, i) => {
    expect(Math.abs(value - want[i]!)).toBeLessThanOrEqual(1e-5 * scale + 1e-6);
  });
}

function caught(input: SoftmaxLossInput): PrismrecError {
  try {
    softmaxLossSync(input);
  } catch (error) {
    if (isPrismrecError(error)) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe.each(variants)("softmax loss, variant %s", (variant) => {
  const chosen = variant === undefined ? {} : { variant };

  it("gives one interest and two items the logistic loss", () => {
    const { loss, gradients } = softmaxLossSync({
      interests: matrix(1, 1, [1]),
      interestsPerRow: 1,
      items: matrix(2, 1, [0, 2]),
      targets: csr(2, [[0]]),
      readout: "log-sum-exp",
      ...chosen,
    });
    expect(loss).toBeCloseTo(Math.log(1 + Math.exp(2)), 6);
    const wrong = 1 / (1 + Math.exp(-2));
    expect(gradients.itemBias[0]).toBeCloseTo(-wrong, 6);
    expect(gradients.itemBias[1]).toBeCloseTo(wrong, 6);
    expect(gradients.items[1]).toBeCloseTo(wrong, 6);
    expect(gradients.interests[0]).toBeCloseTo(2 * wrong, 6);
    // Moving every logit of a lone interest moves nothing.
    expect(gradients.offsets[0]).toBeCloseTo(0, 6);
  });

  it("mixes interests with their priors under log-sum-exp", () => {
    // Item scores: 0 gets log(.25 e^1 + .75 e^0), 1 gets log(.25 e^0 + .75 e^1).
    const { loss } = softmaxLossSync({
      interests: matrix(2, 2, [1, 0, 0, 1]),
      interestsPerRow: 2,
      offsets: Float32Array.of(Math.log(0.25), Math.log(0.75)),
      items: matrix(2, 2, [1, 0, 0, 1]),
      targets: csr(2, [[0]]),
      readout: "log-sum-exp",
      ...chosen,
    });
    expect(loss).toBeCloseTo(-Math.log((0.25 * Math.E + 0.75) / (Math.E + 1)), 6);
  });

  it("lets only the winning interest learn under max, the first of equals", () => {
    const { loss, gradients } = softmaxLossSync({
      interests: matrix(2, 1, [1, 1]),
      interestsPerRow: 2,
      items: matrix(2, 1, [0, 2]),
      targets: csr(2, [[0]]),
      readout: "max",
      ...chosen,
    });
    expect(loss).toBeCloseTo(Math.log(1 + Math.exp(2)), 6);
    expect(gradients.interests[0]).toBeCloseTo(2 / (1 + Math.exp(-2)), 6);
    expect(gradients.interests[1]).toBe(0);
  });

  it("averages over the targets of a row, counting an item as often as it is named", () => {
    const base = {
      interests: matrix(1, 1, [1]),
      interestsPerRow: 1,
      items: matrix(2, 1, [0, 2]),
      readout: "log-sum-exp",
      ...chosen,
    } as const;
    const zero = softmaxLossSync({ ...base, targets: csr(2, [[0]]) }).loss;
    const one = softmaxLossSync({ ...base, targets: csr(2, [[1]]) }).loss;
    expect(softmaxLossSync({ ...base, targets: csr(2, [[1, 0, 1]]) }).loss).toBeCloseTo((zero + 2 * one) / 3, 6);
  });

  it("takes masked items out of a row's softmax, but never its targets", () => {
    const base = {
      interests: matrix(1, 1, [1]),
      interestsPerRow: 1,
      items: matrix(3, 1, [0, 2, 5]),
      targets: csr(3, [[0]]),
      readout: "log-sum-exp",
      ...chosen,
    } as const;
    const { loss, gradients } = softmaxLossSync({ ...base, mask: csr(3, [[2, 0]]) });
    expect(loss).toBeCloseTo(Math.log(1 + Math.exp(2)), 6);
    expect(gradients.items[2]).toBe(0);
    expect(gradients.itemBias[2]).toBe(0);
  });

  it("skips rows without targets and does not count them", () => {
    const { loss, rowLosses, countedRows, gradients } = softmaxLossSync({
      interests: matrix(2, 1, [1, Number.NaN]),
      interestsPerRow: 1,
      items: matrix(2, 1, [0, 2]),
      targets: csr(2, [[0], []]),
      readout: "log-sum-exp",
      ...chosen,
    });
    expect(countedRows).toBe(1);
    expect(loss).toBeCloseTo(Math.log(1 + Math.exp(2)), 6);
    expect(rowLosses[1]).toBe(0);
    expect(gradients.interests[1]).toBe(0);
  });

  it("sets targets against the candidates, leaving out accidental hits and taking off logQ", () => {
    // Candidates 0 (a hit), 1 and 1 again, 2 masked; uncorrected target logit 0, corrected negatives 2 - log 2 twice.
    const { loss, gradients } = softmaxLossSync({
      interests: matrix(1, 1, [1]),
      interestsPerRow: 1,
      items: matrix(4, 1, [0, 2, 5, 7]),
      targets: csr(4, [[0]]),
      mask: csr(4, [[2]]),
      sampled: {
        ids: Uint32Array.of(0, 1, 1, 2),
        logQ: Float32Array.of(0, Math.log(2), Math.log(2), 0),
      },
      readout: "log-sum-exp",
      ...chosen,
    });
    expect(loss).toBeCloseTo(Math.log(1 + Math.exp(2)), 6);
    expect(Array.from(gradients.itemIds ?? [])).toEqual([0, 1, 2]);
    const wrong = 1 / (1 + Math.exp(-2));
    expect(gradients.itemBias[0]).toBeCloseTo(-wrong, 6);
    expect(gradients.itemBias[1]).toBeCloseTo(wrong, 6);
    expect(gradients.itemBias[2]).toBe(0);
  });

  it("sets each row's targets against candidates of its own", () => {
    const { rowLosses, gradients } = softmaxLossSync({
      interests: matrix(2, 1, [1, 1]),
      interestsPerRow: 1,
      items: matrix(4, 1, [0, 2, 5, 3]),
      targets: csr(4, [[0], [1]]),
      sampled: { ids: Uint32Array.of(1, 0, 3, 1), perRow: true },
      readout: "log-sum-exp",
      ...chosen,
    });
    expect(rowLosses[0]).toBeCloseTo(Math.log(1 + Math.exp(2)), 6);
    expect(rowLosses[1]).toBeCloseTo(Math.log(1 + Math.exp(1)), 6);
    expect(Array.from(gradients.itemIds ?? [])).toEqual([0, 1, 3]);
    const [first, second] = [1 / (1 + Math.exp(-2)), 1 / (1 + Math.exp(-1))];
    expect(gradients.itemBias[0]).toBeCloseTo(-first / 2, 6);
    expect(gradients.itemBias[1]).toBeCloseTo((first - second) / 2, 6);
    expect(gradients.itemBias[2]).toBeCloseTo(second / 2, 6);
  });

  it.each(["log-sum-exp", "max"] as const)("equals the full softmax when every item is a candidate (%s)", (readout) => {
    const { sampled: _, ...input } = example({ rows: 7, interests: 3, items: 20, dim: 5, readout });
    const full = softmaxLossSync({ ...input, ...chosen });
    const sampled = softmaxLossSync({
      ...input,
      sampled: { ids: Uint32Array.from({ length: 20 }, (__, i) => i) },
      ...chosen,
    });
    expect(sampled.loss).toBeCloseTo(full.loss, 5);
    expectClose(sampled.gradients.items, full.gradients.items);
    expectClose(sampled.gradients.interests, full.gradients.interests);
    expectClose(sampled.gradients.itemBias, full.gradients.itemBias);
  });

  it.each([
    { readout: "log-sum-exp", candidates: undefined },
    { readout: "max", candidates: undefined },
    { readout: "log-sum-exp", candidates: 8 },
    { readout: "max", candidates: 8 },
    { readout: "log-sum-exp", candidates: 8, perRow: true },
    { readout: "max", candidates: 8, perRow: true },
  ] as const)("agrees with the definition ($readout, $candidates candidates)", ({ readout, candidates, ...rest }) => {
    for (const [rows, interests, items, dim] of [
      [1, 3, 3, 1],
      [5, 4, 33, 17],
      [40, 5, 130, 8],
    ] as const) {
      const input = example({ rows, interests, items, dim, readout, ...(candidates ? { candidates } : {}), ...rest });
      const want = softmaxLossSync({ ...input, variant: "typescript" });
      const got = softmaxLossSync({ ...input, ...chosen });
      expect(got.loss).toBeCloseTo(want.loss, 5);
      expect(got.countedRows).toBe(want.countedRows);
      expectClose(got.rowLosses, want.rowLosses);
      expectClose(got.gradients.interests, want.gradients.interests);
      expectClose(got.gradients.offsets, want.gradients.offsets);
      expectClose(got.gradients.items, want.gradients.items);
      expectClose(got.gradients.itemBias, want.gradients.itemBias);
      expect(got.gradients.itemIds).toEqual(want.gradients.itemIds);
    }
  });

  it("has a gradient that sums to nothing over the items and over the offsets of a row", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e6 }), fc.constantFrom("log-sum-exp", "max"), (seed, readout) => {
        const input = example({ rows: 4, interests: 3, items: 12, dim: 3, readout, seed });
        const { gradients, loss } = softmaxLossSync({ ...input, ...chosen });
        expect(loss).toBeGreaterThanOrEqual(0);
        expect(gradients.itemBias.reduce((a, b) => a + b, 0)).toBeCloseTo(0, 5);
        for (let r = 0; r < 4; r++) {
          expect(gradients.offsets.subarray(r * 3, r * 3 + 3).reduce((a, b) => a + b, 0)).toBeCloseTo(0, 5);
        }
      }),
      { numRuns: 25 },
    );
  });

  it("never rises when another item is masked", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e6 }), fc.integer({ min: 0, max: 11 }), (seed, item) => {
        const input = example({ rows: 4, interests: 3, items: 12, dim: 3, readout: "log-sum-exp", seed });
        const rows = Array.from({ length: 4 }, (_, r) => [
          ...input.mask!.indices.subarray(input.mask!.indptr[r]!, input.mask!.indptr[r + 1]!),
        ]);
        const before = softmaxLossSync({ ...input, ...chosen }).loss;
        const after = softmaxLossSync({
          ...input,
          mask: csr(
            12,
            rows.map((row) => [...row, item]),
          ),
          ...chosen,
        }).loss;
        expect(after).toBeLessThanOrEqual(before + 1e-6);
      }),
      { numRuns: 25 },
    );
  });

  it("gives the value alone when gradients are not wanted", () => {
    const input = example({ rows: 5, interests: 3, items: 20, dim: 4, readout: "log-sum-exp" });
    const value = softmaxLossSync({ ...input, gradients: false, ...chosen });
    expect(value.gradients).toBeUndefined();
    expect(value.loss).toBe(softmaxLossSync({ ...input, ...chosen }).loss);
  });

  for (const candidates of [undefined, 12]) {
    it.skipIf(native() === undefined)(
      `writes the gradients into memory it is given${candidates === undefined ? "" : ", for candidates too"}`,
      () => {
        const input = example({
          rows: 7,
          interests: 3,
          items: 40,
          dim: 5,
          readout: "max",
          ...(candidates === undefined ? {} : { candidates }),
        });
        const given = new Map<string, Float32Array>();
        const { gradients } = softmaxLossSync(input, (of, length) => {
          const array = new Float32Array(length).fill(Number.NaN);
          given.set(of, array);
          return array;
        });
        const alone = softmaxLossSync(input).gradients;
        expect(gradients.interests.buffer).toBe(given.get("interests")!.buffer);
        expect(gradients.items.buffer).toBe(given.get("items")!.buffer);
        expect(gradients).toEqual(alone);
      },
    );
  }

  it("gives the same bits as a promise", async () => {
    const input = example({ rows: 30, interests: 4, items: 90, dim: 8, readout: "log-sum-exp" });
    expect(await softmaxLoss({ ...input, ...chosen })).toEqual(softmaxLossSync({ ...input, ...chosen }));
  });

  it("rejects with the reason of an aborted signal", async () => {
    const input = example({ rows: 30, interests: 4, items: 90, dim: 8, readout: "log-sum-exp" });
    const controller = new AbortController();
    const reason = new Error("enough");
    const pending = softmaxLoss({ ...input, ...chosen }, { signal: controller.signal });
    controller.abort(reason);
    await expect(pending).rejects.toBe(reason);
    await expect(softmaxLoss({ ...input, ...chosen }, { signal: controller.signal })).rejects.toBe(reason);
  });

  it("names what is not finite", () => {
    const input = example({ rows: 5, interests: 3, items: 20, dim: 4, readout: "log-sum-exp" });
    const spoil = (data: Float32Array) => data.map((value, i) => (i === 0 ? Number.NaN : value));
    for (const bad of [
      { ...input, interests: { ...input.interests, data: spoil(input.interests.data) } },
      { ...input, items: { ...input.items, data: spoil(input.items.data) } },
      { ...input, itemBias: spoil(input.itemBias) },
      { ...input, offsets: spoil(input.offsets) },
    ]) {
      expect(caught({ ...bad, ...chosen }).code).toBe("NON_FINITE");
    }
  });
});

describe("the definition's gradients", () => {
  // Central differences of the reference's own loss, which is in double precision.
  it.each([
    { readout: "log-sum-exp", candidates: undefined },
    { readout: "max", candidates: undefined },
    { readout: "log-sum-exp", candidates: 6 },
    { readout: "max", candidates: 6 },
    { readout: "log-sum-exp", candidates: 6, perRow: true },
  ] as const)("are the slopes of its loss ($readout, $candidates candidates)", ({ readout, candidates, ...rest }) => {
    const shape = { rows: 4, interests: 3, items: 9, dim: 2, readout, ...rest };
    const input = example({ ...shape, ...(candidates ? { candidates } : {}) });
    const { gradients } = softmaxLossSync({ ...input, variant: "typescript" });
    const loss = () => softmaxLossSync({ ...input, variant: "typescript", gradients: false }).loss;
    const check = (data: Float32Array, i: number, slope: number | undefined) => {
      const kept = data[i]!;
      if (kept === Number.NEGATIVE_INFINITY) {
        expect(slope).toBe(0);
        return;
      }
      data[i] = kept + 1 / 4096;
      const [above, high] = [data[i]!, loss()];
      data[i] = kept - 1 / 4096;
      const [below, low] = [data[i]!, loss()];
      data[i] = kept;
      expect(slope).toBeCloseTo((high - low) / (above - below), 5);
    };
    const itemOf = (slot: number, g: SoftmaxLossGradients) => g.itemIds?.[slot] ?? slot;
    input.interests.data.forEach((_, i) => {
      check(input.interests.data, i, gradients.interests[i]);
    });
    input.offsets.forEach((_, i) => {
      check(input.offsets, i, gradients.offsets[i]);
    });
    gradients.itemBias.forEach((slope, slot) => {
      const item = itemOf(slot, gradients);
      check(input.itemBias, item, slope);
      for (const k of [0, 1]) check(input.items.data, item * 2 + k, gradients.items[slot * 2 + k]);
    });
  });
});

describe("bad arguments of the softmax loss", () => {
  const good = example({ rows: 3, interests: 3, items: 8, dim: 4, readout: "log-sum-exp", candidates: 5 });
  const sampled = good.sampled!;
  it.each([
    ["interestsPerRow", "INVALID_ARGUMENT", { ...good, interestsPerRow: 0 }],
    ["interests must have", "SHAPE_MISMATCH", { ...good, interestsPerRow: 2 }],
    ["interests.data", "SHAPE_MISMATCH", { ...good, interests: { ...good.interests, data: new Float32Array(3) } }],
    ["one dimension", "SHAPE_MISMATCH", { ...good, items: matrix(8, 1, new Array(8).fill(0)) }],
    ["no rows", "SHAPE_MISMATCH", { ...good, items: matrix(0, 4, []) }],
    ["offsets", "SHAPE_MISMATCH", { ...good, offsets: new Float32Array(2) }],
    ["itemBias", "SHAPE_MISMATCH", { ...good, itemBias: new Float32Array(2) }],
    ["targets", "SHAPE_MISMATCH", { ...good, targets: csr(7, [[0], [1], [2]]) }],
    ["targets.indices[2]", "INVALID_ARGUMENT", { ...good, targets: csr(8, [[0], [1], [8]]) }],
    ["mask", "SHAPE_MISMATCH", { ...good, mask: csr(8, [[0]]) }],
    [
      "mask.indptr decreases",
      "INVALID_ARGUMENT",
      { ...good, mask: { ...csr(8, [[0], [1], [2]]), indptr: Uint32Array.of(0, 3, 2, 3) } },
    ],
    ["sampled.ids is empty", "INVALID_ARGUMENT", { ...good, sampled: { ids: new Uint32Array(0) } }],
    ["sampled.ids[0]", "INVALID_ARGUMENT", { ...good, sampled: { ids: Uint32Array.of(8) } }],
    ["as many candidates", "SHAPE_MISMATCH", { ...good, sampled: { ids: Uint32Array.of(0, 1), perRow: true } }],
    ["sampled.logQ", "SHAPE_MISMATCH", { ...good, sampled: { ids: sampled.ids, logQ: new Float32Array(1) } }],
    [
      "sampled.targetLogQ",
      "SHAPE_MISMATCH",
      { ...good, sampled: { ids: sampled.ids, targetLogQ: new Float32Array(99) } },
    ],
    ["no interest", "INVALID_ARGUMENT", { ...good, offsets: new Float32Array(9).fill(Number.NEGATIVE_INFINITY) }],
  ] as const)("are named: %s", (message, code, input) => {
    const error = caught(input);
    expect(error.code).toBe(code);
    expect(error.message).toContain(message);
    expect(error.expected).toBeTruthy();
    expect(error.received).toBeTruthy();
  });
});
