import { beforeAll, describe, expect, it } from "vitest";
import { native } from "../../ops/native.js";
import { useTensorBackend } from "./backend.js";
import { fallThroughs, resetFallThroughs } from "./fall-throughs.js";
import { sizeOf } from "./geometry.js";
import { tf } from "./tfjs.js";

const hasNative = native() !== undefined;

type Range = "any" | "positive" | "unit" | "integer" | "bool";

/** Reproducible values; `salt` tells operands apart. */
function fill(shape: readonly number[], range: Range, salt: number): tf.Tensor {
  const n = sizeOf(shape);
  const raw = Array.from({ length: n }, (_, i) => Math.sin(i * 12.9898 + salt * 78.233) * 43758.5453);
  const unit = raw.map((v) => v - Math.floor(v));
  switch (range) {
    case "any":
      return tf.tensor(
        Float32Array.from(unit, (u) => 6 * u - 3),
        [...shape],
      );
    case "positive":
      return tf.tensor(
        Float32Array.from(unit, (u) => 0.05 + 3 * u),
        [...shape],
      );
    case "unit":
      return tf.tensor(
        Float32Array.from(unit, (u) => 2 * u - 1),
        [...shape],
      );
    case "integer":
      return tf.tensor(
        Int32Array.from(unit, (u) => Math.floor(7 * u) - 3),
        [...shape],
        "int32",
      );
    case "bool":
      return tf.tensor(
        unit.map((u) => u < 0.5),
        [...shape],
        "bool",
      );
  }
}

interface Outcome {
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly values: ArrayLike<number>;
}

async function outcome(backend: "cpu" | "prismrec", run: () => tf.Tensor): Promise<Outcome> {
  await useTensorBackend(backend);
  const result = tf.tidy(run);
  const { shape, dtype } = result;
  const values = Array.from(result.dataSync());
  result.dispose();
  return { shape, dtype, values };
}

/** The same on both backends, to within rounding; NaN and infinities in the same places. */
async function expectSame(run: () => tf.Tensor, tolerance = 2e-6): Promise<void> {
  const expected = await outcome("cpu", run);
  const actual = await outcome("prismrec", run);
  expect(actual.shape).toEqual(expected.shape);
  expect(actual.dtype).toBe(expected.dtype);
  expect(actual.values.length).toBe(expected.values.length);
  for (let i = 0; i < expected.values.length; i++) {
    const [a, e] = [actual.values[i]!, expected.values[i]!];
    if (Object.is(a, e) || a === e) continue;
    const limit = tolerance * (1 + Math.abs(e));
    if (!(Math.abs(a - e) <= limit)) expect.fail(`element ${i}: ${a}, tfjs has ${e}`);
  }
}

const BROADCASTS: readonly [readonly number[], readonly number[]][] = [
  [[7], [7]],
  [
    [3, 5],
    [3, 5],
  ],
  [[3, 5], [5]],
  [
    [3, 5],
    [3, 1],
  ],
  [[3, 5], []],
  [[], []],
  [[1, 1], [1]],
  [
    [4, 1, 17],
    [1, 6, 1],
  ],
  [
    [2, 3, 4, 5],
    [3, 1, 5],
  ],
  [
    [2, 1, 4, 1],
    [1, 3, 1, 5],
  ],
  [
    [0, 4],
    [1, 4],
  ],
];

/** Enough elements for more than one thread. */
const LARGE: [readonly number[], readonly number[]] = [[130, 3, 97], [97]];

describe.skipIf(!hasNative)("the kernels of the prismrec backend against tfjs's own", () => {
  beforeAll(async () => {
    await useTensorBackend("prismrec");
    resetFallThroughs();
    // tfjs then checks after each kernel that it left no memory behind.
    tf.env().set("IS_TEST", true);
    return () => {
      expect([...fallThroughs().keys()]).toEqual([]);
    };
  });

  describe("of two operands", () => {
    const arithmetic = {
      add: tf.add,
      sub: tf.sub,
      mul: tf.mul,
      div: tf.div,
      maximum: tf.maximum,
      minimum: tf.minimum,
      squaredDifference: tf.squaredDifference,
    };
    for (const [name, op] of Object.entries(arithmetic)) {
      it.each([...BROADCASTS, LARGE])(`${name} broadcasts %j with %j`, async (a, b) => {
        await expectSame(() => op(fill(a, "any", 1), fill(b, "positive", 2)));
        await expectSame(() => op(fill(b, "any", 3), fill(a, "positive", 4)));
      });
    }

    it("pow takes broadcast exponents", async () => {
      await expectSame(() => tf.pow(fill([5, 9], "positive", 1), fill([9], "any", 2)), 1e-5);
    });

    const comparisons = {
      equal: tf.equal,
      notEqual: tf.notEqual,
      less: tf.less,
      lessEqual: tf.lessEqual,
      greater: tf.greater,
      greaterEqual: tf.greaterEqual,
    };
    for (const [name, op] of Object.entries(comparisons)) {
      it.each(["any", "integer"] as const)(`${name} compares %s values`, async (range) => {
        for (const [a, b] of BROADCASTS) await expectSame(() => op(fill(a, range, 1), fill(b, range, 2)));
      });
    }

    it("integers add, subtract, multiply and compare as integers", async () => {
      for (const [a, b] of BROADCASTS) {
        const operands = () => [fill(a, "integer", 1), fill(b, "integer", 2)] as const;
        await expectSame(() => tf.add(...operands()));
        await expectSame(() => tf.sub(...operands()));
        await expectSame(() => tf.mul(...operands()));
        await expectSame(() => tf.maximum(...operands()));
      }
    });

    it("logical operations broadcast", async () => {
      for (const [a, b] of BROADCASTS) {
        await expectSame(() => tf.logicalAnd(fill(a, "bool", 1), fill(b, "bool", 2)));
        await expectSame(() => tf.logicalOr(fill(a, "bool", 1), fill(b, "bool", 2)));
      }
      await expectSame(() => tf.logicalNot(fill([9, 5], "bool", 1)));
    });

    it("where chooses element by element", async () => {
      const condition = () => fill([6, 11], "bool", 3);
      await expectSame(() => tf.where(condition(), fill([6, 11], "any", 1), fill([6, 11], "any", 2)));
      await expectSame(() => tf.where(condition(), fill([6, 11], "integer", 1), fill([6, 11], "integer", 2)));
      await expectSame(() => tf.where(condition(), fill([6, 11], "any", 1), tf.scalar(0)));
    });

    it("NaN passes through maximum, minimum and relu, and equals nothing", async () => {
      const odd = () => tf.tensor1d([Number.NaN, 1, Number.POSITIVE_INFINITY, -0, Number.NEGATIVE_INFINITY]);
      const other = () => tf.tensor1d([1, Number.NaN, 2, 0, 3]);
      await expectSame(() => tf.maximum(odd(), other()));
      await expectSame(() => tf.minimum(odd(), other()));
      await expectSame(() => tf.relu(odd()));
      await expectSame(() => tf.equal(odd(), odd()));
      await expectSame(() => tf.max(odd()));
    });
  });

  describe("of one operand", () => {
    const functions: readonly [string, (x: tf.Tensor) => tf.Tensor, Range][] = [
      ["exp", tf.exp, "any"],
      ["expm1", tf.expm1, "any"],
      ["log", tf.log, "positive"],
      ["log1p", tf.log1p, "positive"],
      ["sqrt", tf.sqrt, "positive"],
      ["rsqrt", tf.rsqrt, "positive"],
      ["square", tf.square, "any"],
      ["neg", tf.neg, "any"],
      ["abs", tf.abs, "any"],
      ["relu", tf.relu, "any"],
      ["tanh", tf.tanh, "any"],
      ["sigmoid", tf.sigmoid, "any"],
      ["erf", tf.erf, "any"],
      ["softplus", tf.softplus, "any"],
      ["elu", tf.elu, "any"],
      ["leakyRelu", (x) => tf.leakyRelu(x, 0.1), "any"],
      ["step", (x) => tf.step(x, 0.5), "any"],
      ["clip", (x) => tf.clipByValue(x, -1, 0.5), "any"],
      ["reciprocal", tf.reciprocal, "positive"],
    ];
    it.each(functions)("%s", async (_, f, range) => {
      for (const shape of [[], [1], [3], [7], [8], [9], [16], [66], [3, 0], [5, 7, 13]]) {
        await expectSame(() => f(fill(shape, range, 1)), 3e-6);
      }
    });

    it("log1p and expm1 keep the digits of a small argument", async () => {
      const small = () => tf.tensor1d([1e-7, -1e-7, 3e-5, -3e-4, 1e-10, 0]);
      for (const f of [tf.log1p, tf.expm1]) {
        const run = () => tf.div(f(small()), tf.tensor1d([1e-7, 1e-7, 3e-5, 3e-4, 1e-10, 1]));
        await expectSame(run, 1e-6);
      }
    });

    it("infinities and NaN come out as in JavaScript", async () => {
      const odd = () => tf.tensor1d([Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, 0, 100, -100]);
      for (const f of [tf.exp, tf.tanh, tf.sigmoid, tf.erf, tf.softplus, tf.elu, tf.abs, tf.log]) {
        await expectSame(() => f(odd()));
      }
    });

    it("cast converts between all three types", async () => {
      for (const range of ["any", "integer", "bool"] as const) {
        for (const dtype of ["float32", "int32", "bool"] as const) {
          await expectSame(() => tf.cast(fill([5, 9], range, 1), dtype));
        }
      }
    });
  });

  describe("of matrices", () => {
    const products: readonly [string, readonly number[], readonly number[], boolean, boolean][] = [
      ["plain", [3, 5], [5, 4], false, false],
      ["transposed left", [5, 3], [5, 4], true, false],
      ["transposed right", [3, 5], [4, 5], false, true],
      ["transposed both", [5, 3], [4, 5], true, true],
      ["of one element", [1, 1], [1, 1], false, false],
      ["in a batch", [6, 9, 17], [6, 17, 5], false, false],
      ["in a batch, transposed right", [2, 3, 9, 17], [2, 3, 5, 17], false, true],
      ["in a batch, transposed left", [6, 17, 9], [6, 17, 5], true, false],
      ["with one right-hand side", [6, 9, 17], [1, 17, 5], false, false],
      ["with one left-hand side", [1, 9, 17], [6, 17, 5], false, false],
      ["of larger matrices", [130, 70], [70, 90], false, false],
      ["without inner extent", [3, 0], [0, 4], false, false],
      ["without rows", [0, 5], [5, 4], false, false],
    ];
    it.each(products)("matMul %s", async (_, a, b, transposeA, transposeB) => {
      await expectSame(() => tf.matMul(fill(a, "unit", 1), fill(b, "unit", 2), transposeA, transposeB), 1e-5);
    });

    it("matMul broadcasts both batches, which tfjs's own does not", async () => {
      const [a, b] = [() => fill([2, 1, 3, 4], "unit", 1), () => fill([1, 5, 4, 2], "unit", 2)];
      const spread = await outcome("cpu", () =>
        tf.matMul(tf.broadcastTo(a(), [2, 5, 3, 4]), tf.broadcastTo(b(), [2, 5, 4, 2])),
      );
      const actual = await outcome("prismrec", () => tf.matMul(a(), b()));
      expect(actual.shape).toEqual([2, 5, 3, 2]);
      for (let i = 0; i < 60; i++) expect(actual.values[i]).toBeCloseTo(spread.values[i]!, 5);
    });

    it.each(["linear", "relu", "elu", "relu6", "sigmoid", "leakyrelu"] as const)(
      "a fused product with bias and %s",
      async (activation) => {
        const a = () => fill([7, 33], "unit", 1);
        const run = () =>
          tf.fused.matMul({ a: a(), b: fill([33, 5], "unit", 2), bias: fill([5], "unit", 3), activation });
        await expectSame(run, 1e-5);
        await expectSame(() => tf.fused.matMul({ a: a(), b: fill([33, 5], "unit", 2), activation }), 1e-5);
      },
    );
  });

  describe("that reduce", () => {
    const shapes: readonly [readonly number[], number | number[] | undefined][] = [
      [[7], undefined],
      [[3, 5], 0],
      [[3, 5], 1],
      [[3, 5], -1],
      [[4, 5, 6], 1],
      [
        [4, 5, 6],
        [0, 2],
      ],
      [
        [4, 5, 6],
        [0, 1],
      ],
      [
        [2, 3, 4, 5],
        [1, 3],
      ],
      [[2, 1, 4], 1],
      [[], undefined],
      [[1000, 70], 0],
      [[3, 20_000], 1],
      [[40_000], undefined],
    ];
    for (const [name, op] of Object.entries({ sum: tf.sum, mean: tf.mean, max: tf.max, min: tf.min })) {
      it.each(shapes)(`${name} of %j over %j`, async (shape, axis) => {
        for (const keepDims of [false, true]) {
          await expectSame(() => op(fill(shape, "unit", 1), axis, keepDims), 2e-5);
        }
      });
    }

    it("prod multiplies", async () => {
      await expectSame(() => tf.prod(fill([6, 5], "positive", 1), 0), 1e-5);
      await expectSame(() => tf.prod(fill([6, 5], "positive", 1)), 1e-5);
    });

    it("integers and truth values are counted as integers", async () => {
      await expectSame(() => tf.sum(fill([9, 13], "integer", 1), 1));
      await expectSame(() => tf.max(fill([9, 13], "integer", 1), 0));
      await expectSame(() => tf.sum(fill([9, 13], "bool", 1), 0));
      await expectSame(() => tf.mean(fill([9, 13], "integer", 1), 0));
    });

    it("an empty extent gives the neutral element", async () => {
      await expectSame(() => tf.sum(fill([3, 0], "any", 1), 1));
      await expectSame(() => tf.prod(fill([3, 0], "any", 1), 1));
    });

    it("argMax takes the first of equal values", async () => {
      for (const axis of [0, 1, 2]) await expectSame(() => tf.argMax(fill([4, 5, 6], "any", 1), axis));
      await expectSame(() => tf.argMax(tf.tensor2d([1, 3, 3, 2, 2, 2], [2, 3]), 1));
    });

    it("softmax and logSoftmax normalise the last axis, also for large logits", async () => {
      for (const shape of [[5], [3, 7], [2, 3, 50], [9, 1]]) {
        await expectSame(() => tf.softmax(tf.mul(fill(shape, "any", 1), 30)));
        await expectSame(() => tf.logSoftmax(tf.mul(fill(shape, "any", 1), 30)), 1e-5);
      }
    });

    it("logSumExp agrees", async () => {
      await expectSame(() => tf.logSumExp(fill([4, 9, 5], "any", 1), 1), 1e-5);
    });
  });

  describe("that move elements", () => {
    it.each([[[0, 1, 2]], [[0, 2, 1]], [[1, 0, 2]], [[2, 1, 0]], [[1, 2, 0]], [[2, 0, 1]]])(
      "transpose by %j",
      async (perm) => {
        await expectSame(() => tf.transpose(fill([19, 33, 5], "any", 1), perm));
        await expectSame(() => tf.transpose(fill([4, 1, 5], "integer", 1), perm));
      },
    );

    it("transpose of heads", async () => {
      await expectSame(() => tf.transpose(fill([3, 10, 2, 8], "any", 1), [0, 2, 1, 3]));
      await expectSame(() => tf.transpose(fill([3, 10, 2, 8], "any", 1), [3, 2, 1, 0]));
    });

    it("slice, split, stack and unstack", async () => {
      const x = () => fill([5, 6, 7], "any", 1);
      await expectSame(() => tf.slice(x(), [1, 2, 3], [2, 3, -1]));
      await expectSame(() => tf.slice(x(), [2], [3]));
      await expectSame(() => tf.slice(x(), [0, 0, 0], [5, 0, 7]));
      await expectSame(() => tf.split(x(), 3, 1)[1]!);
      await expectSame(() => tf.split(x(), [1, 4, 2], 2)[2]!);
      await expectSame(() => tf.stack([x(), fill([5, 6, 7], "any", 2)], 1));
      await expectSame(() => tf.stack([x(), fill([5, 6, 7], "any", 2)], -1));
      await expectSame(() => tf.unstack(x(), 1)[4]!);
    });

    it("concat joins along any axis, empty parts included", async () => {
      for (const axis of [0, 1, 2]) {
        const parts = () =>
          [2, 3, 0, 4].map((n, i) => {
            const shape = [4, 5, 6];
            shape[axis] = n;
            return fill(shape, "any", i);
          });
        await expectSame(() => tf.concat(parts(), axis));
      }
      await expectSame(() => tf.concat([fill([3], "integer", 1), fill([4], "integer", 2)]));
    });

    it("tile and broadcastTo repeat", async () => {
      await expectSame(() => tf.tile(fill([2, 3], "any", 1), [2, 3]));
      await expectSame(() => tf.tile(fill([4], "bool", 1), [5]));
      await expectSame(() => tf.broadcastTo(fill([3, 1, 5], "any", 1), [2, 3, 4, 5]));
    });

    it("pad puts a constant around", async () => {
      await expectSame(() =>
        tf.pad(
          fill([3, 4], "any", 1),
          [
            [1, 2],
            [0, 3],
          ],
          7,
        ),
      );
      await expectSame(() => tf.pad(fill([0], "any", 1), [[2, 1]]));
      await expectSame(() => tf.pad(fill([3], "integer", 1), [[2, 1]], -1));
    });

    it("gather takes rows, columns and rows of a batch", async () => {
      const ids = () => tf.tensor2d([3, 0, 2, 2, 1, 3], [2, 3], "int32");
      await expectSame(() => tf.gather(fill([4, 5], "any", 1), ids()));
      await expectSame(() => tf.gather(fill([5, 4, 3], "any", 1), ids(), 1));
      await expectSame(() => tf.gather(fill([2, 4, 3], "any", 1), ids(), 1, 1));
      await expectSame(() => tf.gather(fill([4, 5], "integer", 1), ids()));
    });

    it("gather refuses an index beyond the table", async () => {
      await useTensorBackend("prismrec");
      expect(() => tf.gather(fill([4, 5], "any", 1), tf.tensor1d([4], "int32"))).toThrow(/out of range/);
    });

    it("unsortedSegmentSum adds up repeats and leaves out strangers", async () => {
      const ids = () => tf.tensor1d([2, 0, 2, 7, 0, 2], "int32");
      await expectSame(() => tf.unsortedSegmentSum(fill([6, 5], "any", 1), ids(), 4));
      await expectSame(() => tf.unsortedSegmentSum(fill([6], "any", 1), ids(), 8));
    });

    it("oneHot marks one place per row, none for an index outside", async () => {
      await expectSame(() => tf.oneHot(tf.tensor1d([0, 3, 9, 1], "int32"), 4));
    });
  });
});
