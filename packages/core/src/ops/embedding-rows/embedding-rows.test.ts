import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isPrismrecError } from "../../base/errors.js";
import type { Matrix } from "../../base/matrix.js";
import {
  adam,
  clipScale,
  createAdamState,
  createRowAdamState,
  gatherRows,
  globalNorm,
  lazyAdam,
  mergeRows,
  NO_ROW,
  scatterAddRows,
  uniqueRows,
} from "./embedding-rows.js";
import {
  adamReference,
  gatherRowsReference,
  globalNormReference,
  lazyAdamReference,
  mergeRowsReference,
  scatterAddRowsReference,
  uniqueRowsReference,
} from "./reference.js";

/** Reproducible values in [-1, 1). */
function wave(length: number, phase: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => Math.fround(Math.sin(i * 1.7 + phase) * Math.cos(i * 0.3 - phase)));
}

function matrix(rows: number, cols: number, phase = 0): Matrix {
  return { data: wave(rows * cols, phase), rows, cols };
}

function allRows(rows: number): Uint32Array {
  return Uint32Array.from({ length: rows }, (_, i) => i);
}

function expectClose(actual: Float32Array, expected: Float32Array, tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < actual.length; i++) {
    const distance = Math.abs(actual[i]! - expected[i]!);
    if (!(distance <= tolerance * (1 + Math.abs(expected[i]!)))) {
      expect.fail(`element ${i}: ${actual[i]} instead of ${expected[i]}`);
    }
  }
}

/** Equality of bytes, without the cost of comparing element by element. */
function expectSameBits(actual: Float32Array, expected: Float32Array): void {
  expect(Buffer.compare(Buffer.from(actual.buffer), Buffer.from(expected.buffer))).toBe(0);
}

const defaults = {
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0,
  gradientScale: 1,
} as const;

describe("uniqueRows", () => {
  it("gives the distinct ids in ascending order and the way back to each position", () => {
    const { unique, inverse } = uniqueRows(Uint32Array.of(7, 3, 7, 0, 3, 70_000));
    expect([...unique]).toEqual([0, 3, 7, 70_000]);
    expect([...inverse]).toEqual([2, 1, 2, 0, 1, 3]);
  });

  it("has an empty answer to no ids", () => {
    const { unique, inverse } = uniqueRows(new Uint32Array(0));
    expect(unique.length + inverse.length).toBe(0);
  });

  it("agrees with the reference on any ids", () => {
    fc.assert(
      fc.property(fc.uint32Array({ maxLength: 300 }), (ids) => {
        const [actual, expected] = [uniqueRows(ids), uniqueRowsReference(ids)];
        expect(actual.unique).toEqual(expected.unique);
        expect(actual.inverse).toEqual(expected.inverse);
      }),
      { numRuns: 50 },
    );
  });
});

describe("gatherRows and scatterAddRows", () => {
  it("copy rows out in the order asked for, repeats included", () => {
    const table: Matrix = { data: Float32Array.of(1, 2, 3, 4, 5, 6), rows: 3, cols: 2 };
    expect([...gatherRows(table, Int32Array.of(2, 0, 2)).data]).toEqual([5, 6, 1, 2, 5, 6]);
  });

  it("add rows up where they belong, repeats included", () => {
    const table: Matrix = { data: Float32Array.of(1, 1, 1, 1), rows: 2, cols: 2 };
    scatterAddRows(table, Uint32Array.of(1, 1), Float32Array.of(1, 2, 10, 20));
    expect([...table.data]).toEqual([1, 1, 12, 23]);
  });

  it("agree with the reference bit for bit, also where the work is shared among threads", () => {
    const ids = Uint32Array.from({ length: 4000 }, (_, i) => (i * 7919) % 501);
    const [table, expected] = [matrix(501, 33), matrix(501, 33)];
    const rows = wave(4000 * 33, 2);
    scatterAddRows(table, ids, rows);
    scatterAddRowsReference(expected, ids, rows);
    expectSameBits(table.data, expected.data);
    const out = new Float32Array(4000 * 33);
    gatherRowsReference(table, ids, out);
    expectSameBits(gatherRows(table, ids).data, out);
  });

  it("take NO_ROW for zeros and for nothing", () => {
    const table: Matrix = { data: Float32Array.of(1, 2, 3, 4), rows: 2, cols: 2 };
    expect([...gatherRows(table, Int32Array.of(1, -1)).data]).toEqual([3, 4, 0, 0]);
    scatterAddRows(table, Uint32Array.of(NO_ROW, 0), Float32Array.of(9, 9, 10, 20));
    expect([...table.data]).toEqual([11, 22, 3, 4]);
    const { unique, inverse } = uniqueRows(Uint32Array.of(5, NO_ROW, 5));
    expect([[...unique], [...inverse]]).toEqual([[5], [0, -1, 0]]);
  });

  it("refuse an id outside the table and a wrong length", () => {
    const table = matrix(3, 2);
    expect(() => gatherRows(table, Int32Array.of(0, -2))).toThrow(/position 1 is outside/);
    expect(() => gatherRows(table, Uint32Array.of(3))).toThrow(/outside/);
    expect(() => scatterAddRows(table, Uint32Array.of(0), new Float32Array(3))).toThrow(/wrong length/);
  });
});

describe("mergeRows", () => {
  it("sums what several contributions say about a row", () => {
    const merged = mergeRows(
      [
        { ids: Uint32Array.of(4, 9), data: Float32Array.of(1, 1, 2, 2) },
        { ids: Uint32Array.of(9, NO_ROW, 0, 9), data: Float32Array.of(10, 10, 7, 7, 5, 5, 100, 100) },
      ],
      2,
    );
    expect([...merged.rows]).toEqual([0, 4, 9]);
    expect([...merged.data]).toEqual([5, 5, 1, 1, 112, 112]);
    expect(mergeRows([], 3).rows.length).toBe(0);
  });

  it("agrees with the reference bit for bit, also where the work is shared among threads", () => {
    const part = (count: number, factor: number) => ({
      ids: Uint32Array.from({ length: count }, (_, i) => (i % 11 === 0 ? NO_ROW : (i * factor) % 2003)),
      data: wave(count * 33, factor),
    });
    const parts = [part(3000, 7919), part(1, 1), part(2500, 104_729)];
    const [actual, expected] = [mergeRows(parts, 33), mergeRowsReference(parts, 33)];
    expect(actual.rows).toEqual(expected.rows);
    expectSameBits(actual.data.slice(), expected.data);
  });

  it("refuses values of another number than ids", () => {
    expect(() => mergeRows([{ ids: Uint32Array.of(1), data: new Float32Array(3) }], 2)).toThrow(/wrong length/);
  });
});

describe("adam", () => {
  it("moves by the learning rate in the direction of the sign at the first step", () => {
    const values = Float32Array.of(1, -1, 0.5);
    adam(values, createAdamState(3), Float32Array.of(0.3, -20, 0), { learningRate: 0.01, step: 1 });
    expectClose(values, Float32Array.of(0.99, -0.99, 0.5), 1e-6);
  });

  it("decays weights apart from the gradient", () => {
    const values = Float32Array.of(2);
    adam(values, createAdamState(1), Float32Array.of(0), { learningRate: 0.1, step: 1, weightDecay: 0.5 });
    expectClose(values, Float32Array.of(1.9), 1e-7);
  });

  it.each([1, 3, 7, 9, 66, 70_001])("agrees with the double-precision reference on %i values", (n) => {
    const [values, expected] = [wave(n, 1), wave(n, 1)];
    const [state, expectedState] = [createAdamState(n), createAdamState(n)];
    for (let step = 1; step <= 5; step++) {
      const gradients = wave(n, step);
      const options = { ...defaults, learningRate: 0.01, weightDecay: 0.1, gradientScale: 0.5, step };
      adam(values, state, gradients, options);
      adamReference(expected, expectedState, gradients, options);
    }
    expectClose(values, expected, 2e-6);
    expectClose(state.v, expectedState.v, 2e-6);
  });

  it("refuses step 0, whose correction would divide by zero", () => {
    expect(() => adam(wave(2, 0), createAdamState(2), wave(2, 1), { learningRate: 1, step: 0 })).toThrow(/from 1/);
  });
});

describe("lazyAdam", () => {
  it("is dense Adam where every row is touched in every step", () => {
    const [rows, cols] = [37, 13];
    const [table, dense] = [matrix(rows, cols), wave(rows * cols, 0)];
    const [lazyState, denseState] = [createRowAdamState(rows, cols), createAdamState(rows * cols)];
    for (let step = 1; step <= 10; step++) {
      const gradients = wave(rows * cols, step);
      lazyAdam(table, lazyState, allRows(rows), gradients, { learningRate: 0.01, step, weightDecay: 0.01 });
      adam(dense, denseState, gradients, { learningRate: 0.01, step, weightDecay: 0.01 });
    }
    // The spans differ in length, and so do the lanes that a fused multiply-add falls on.
    expectClose(table.data, dense, 1e-6);
  });

  it("leaves untouched rows and their moments as they are, and counts the others", () => {
    const table = matrix(4, 3);
    const before = table.data.slice();
    const state = createRowAdamState(4, 3);
    lazyAdam(table, state, Uint32Array.of(1, 3), wave(6, 5), { learningRate: 0.1, step: 1 });
    expect(table.data.subarray(0, 3)).toEqual(before.subarray(0, 3));
    expect(table.data.subarray(6, 9)).toEqual(before.subarray(6, 9));
    expect(state.m.subarray(0, 3)).toEqual(new Float32Array(3));
    expect([...state.steps]).toEqual([0, 1, 0, 1]);
    expect(table.data.subarray(3, 6)).not.toEqual(before.subarray(3, 6));
  });

  it("gives a row first seen late a full first step when corrected by its own count", () => {
    const options = { learningRate: 0.1, step: 1000 };
    const [own, shared] = [matrix(1, 1), matrix(1, 1)];
    const start = own.data[0]!;
    lazyAdam(own, createRowAdamState(1, 1), allRows(1), Float32Array.of(1), { ...options, correction: "row" });
    lazyAdam(shared, createRowAdamState(1, 1), allRows(1), Float32Array.of(1), options);
    expect(start - own.data[0]!).toBeCloseTo(0.1, 5);
    // Uncorrected moments (1 - beta1) and (1 - beta2) of one gradient: 0.1 / sqrt(0.001 / (1 - 0.999^1000)).
    expect(start - shared.data[0]!).toBeCloseTo((0.1 * 0.1) / Math.sqrt(0.001 / (1 - 0.999 ** 1000)), 4);
  });

  it.each(["global", "row"] as const)("agrees with the reference under %s correction", (correction) => {
    const [rows, cols] = [300, 65];
    const [table, expected] = [matrix(rows, cols), matrix(rows, cols)];
    const [state, expectedState] = [createRowAdamState(rows, cols), createRowAdamState(rows, cols)];
    for (let step = 1; step <= 6; step++) {
      const ids = allRows(rows).filter((id) => (id * step) % 3 !== 1);
      const gradients = wave(ids.length * cols, step);
      const options = { ...defaults, learningRate: 0.02, step, correction };
      lazyAdam(table, state, ids, gradients, options);
      lazyAdamReference(expected, expectedState, ids, gradients, options);
    }
    expectClose(table.data, expected.data, 3e-6);
    expect(state.steps).toEqual(expectedState.steps);
  });

  it("gives the same bits each time", () => {
    const run = () => {
      const table = matrix(2000, 64);
      const state = createRowAdamState(2000, 64);
      for (let step = 1; step <= 3; step++) {
        lazyAdam(table, state, allRows(2000), wave(2000 * 64, step), { learningRate: 0.01, step });
      }
      return table.data;
    };
    expectSameBits(run(), run());
  });

  it("refuses repeated ids, which would be updated twice", () => {
    const call = () =>
      lazyAdam(matrix(3, 1), createRowAdamState(3, 1), Uint32Array.of(1, 1), wave(2, 0), { learningRate: 1, step: 1 });
    expect(call).toThrow(/distinct and ascending/);
    try {
      call();
    } catch (error) {
      expect(isPrismrecError(error, "INVALID_ARGUMENT")).toBe(true);
    }
  });
});

describe("globalNorm and clipScale", () => {
  it("take the norm over all arrays together", () => {
    expect(globalNorm([Float32Array.of(3), Float32Array.of(0, 4)])).toBe(5);
    expect(globalNorm([])).toBe(0);
  });

  it("scale down to the limit and never up", () => {
    expect(clipScale(10, 5)).toBe(0.5);
    expect(clipScale(3, 5)).toBe(1);
    expect(clipScale(Number.NaN, 5)).toBe(1);
  });

  it("agree with the reference on long arrays", () => {
    const x = wave(100_003, 3);
    expect(globalNorm([x])).toBeCloseTo(globalNormReference([x]), 8);
  });
});
