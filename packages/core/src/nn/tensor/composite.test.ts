import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isPrismrecError } from "../../base/errors.js";
import { native } from "../../ops/native.js";
import { type TensorBackendName, useTensorBackend } from "./backend.js";
import { dropout } from "./dropout.js";
import { gelu } from "./gelu.js";
import { layerNorm } from "./layer-norm.js";
import { maskedSoftmax } from "./masked-softmax.js";
import { tf } from "./tfjs.js";

function wave(shape: number[], phase: number): tf.Tensor {
  const n = shape.reduce((product, size) => product * size, 1);
  return tf.tensor(
    Float32Array.from({ length: n }, (_, i) => 1.5 * Math.sin(1.3 * i + phase)),
    shape,
  );
}

type Tensors = readonly tf.Tensor[];

/** d sum(weights * f(inputs)) / d inputs, by tfjs and by central differences in double precision of `reference`. */
function expectGradients(
  f: (...inputs: tf.Tensor[]) => tf.Tensor,
  reference: (inputs: number[][]) => number[],
  inputs: Tensors,
  tolerance = 2e-3,
): void {
  const arrays = inputs.map((tensor) => Array.from(tensor.dataSync()));
  const size = reference(arrays).length;
  const weights = Float32Array.from({ length: size }, (_, i) => Math.cos(0.7 * i));
  const loss = (values: number[][]) => reference(values).reduce((sum, y, i) => sum + y * weights[i]!, 0);
  const gradients = tf.grads((...xs: tf.Tensor[]) => {
    const y = f(...xs);
    return tf.sum(tf.mul(y, tf.tensor(weights, y.shape)));
  })([...inputs]);
  arrays.forEach((array, which) => {
    const actual = gradients[which]!.dataSync();
    array.forEach((value, i) => {
      const h = 1e-5;
      const at = (shift: number) => {
        const moved = arrays.map((a) => [...a]);
        moved[which]![i] = value + shift;
        return loss(moved);
      };
      const expected = (at(h) - at(-h)) / (2 * h);
      expect(Math.abs(actual[i]! - expected)).toBeLessThanOrEqual(tolerance * (1 + Math.abs(expected)));
    });
  });
  tf.dispose(gradients);
}

function layerNormReference(cols: number, epsilon = 1e-5) {
  return ([x, gamma, beta]: number[][]): number[] => {
    const out: number[] = [];
    for (let at = 0; at < x!.length; at += cols) {
      const row = x!.slice(at, at + cols);
      const mean = row.reduce((a, b) => a + b, 0) / cols;
      const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / cols;
      row.forEach((v, c) => {
        out.push((gamma![c]! * (v - mean)) / Math.sqrt(variance + epsilon) + beta![c]!);
      });
    }
    return out;
  };
}

/** The error function by its series, in double precision; for |x| < 4. */
function erf(x: number): number {
  let term = x;
  let sum = x;
  for (let n = 1; n < 80; n++) {
    term *= -(x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

function maskedSoftmaxReference(mask: readonly number[], cols: number) {
  return ([x]: number[][]): number[] => {
    const out: number[] = [];
    for (let at = 0; at < x!.length; at += cols) {
      const e = x!.slice(at, at + cols).map((v, c) => (mask[at + c] ? Math.exp(v) : 0));
      const total = e.reduce((a, b) => a + b, 0);
      out.push(...e.map((v) => (total === 0 ? 0 : v / total)));
    }
    return out;
  };
}

function expectValues(actual: tf.Tensor, expected: readonly number[]): void {
  const values = actual.dataSync();
  expect(values.length).toBe(expected.length);
  expected.forEach((e, i) => {
    expect(Math.abs(values[i]! - e)).toBeLessThanOrEqual(3e-6 * (1 + Math.abs(e)));
  });
}

const backends: TensorBackendName[] = native() === undefined ? ["cpu"] : ["cpu", "prismrec"];

describe.each(backends)("composite operations on the %s backend", (backend) => {
  beforeAll(async () => {
    await useTensorBackend(backend);
    tf.engine().startScope();
  });
  afterAll(() => tf.engine().endScope());

  describe("layerNorm", () => {
    it.each([1, 3, 8, 17])("normalises rows of %i and scales and shifts them", (cols) => {
      const inputs = [wave([4, cols], 1), wave([cols], 2), wave([cols], 3)] as const;
      const expected = layerNormReference(cols)(inputs.map((tensor) => Array.from(tensor.dataSync())));
      expectValues(layerNorm(...inputs), expected);
    });

    it("has the gradient of its definition in all three arguments", () => {
      const inputs = [wave([2, 3, 9], 1), wave([9], 2), wave([9], 3)];
      expectGradients((x, gamma, beta) => layerNorm(x!, gamma!, beta!), layerNormReference(9), inputs);
    });

    it("sums the parameters' gradients over more rows than one block holds", () => {
      const [x, gamma, beta] = [wave([200, 5], 1), wave([5], 2), wave([5], 3)];
      const [dgamma, dbeta] = tf.grads((g: tf.Tensor, b: tf.Tensor) => tf.sum(layerNorm(x, g, b)))([gamma, beta]);
      const normalised = layerNorm(x, tf.ones([5]), tf.zeros([5]));
      expectValues(dbeta!, [200, 200, 200, 200, 200]);
      const columns = tf.sum(normalised, 0).dataSync();
      dgamma!.dataSync().forEach((value, c) => {
        expect(value).toBeCloseTo(columns[c]!, 3);
      });
    });
  });

  describe("gelu", () => {
    const reference = ([x]: number[][]) => x!.map((v) => (v * (1 + erf(v / Math.SQRT2))) / 2);

    it("is x times the normal distribution function", () => {
      const x = tf.linspace(-4, 4, 83);
      expectValues(gelu(x), reference([Array.from(x.dataSync())]));
    });

    it("has the gradient of its definition", () => {
      expectGradients((x) => gelu(x!), reference, [tf.linspace(-3.5, 3.5, 37)]);
    });
  });

  describe("maskedSoftmax", () => {
    const mask = [1, 0, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1];

    it("gives masked entries exactly nothing, and a row with nothing to see zeros", () => {
      const y = maskedSoftmax(wave([3, 4], 1), tf.tensor2d(mask, [3, 4], "bool"));
      const expected = maskedSoftmaxReference(mask, 4)([Array.from(wave([3, 4], 1).dataSync())]);
      expectValues(y, expected);
      expect([...y.dataSync()].filter((_, i) => mask[i] === 0)).toEqual([0, 0, 0, 0, 0]);
    });

    it("broadcasts masks of keys over heads and queries, of any type", () => {
      const x = wave([2, 3, 2, 5], 1);
      const keys = [1, 1, 0, 0, 1, 0, 1, 1, 1, 0];
      const spread = Array.from({ length: 60 }, (_, i) => keys[Math.floor(i / 30) * 5 + (i % 5)]!);
      const expected = maskedSoftmaxReference(spread, 5)([Array.from(x.dataSync())]);
      for (const dtype of ["bool", "int32", "float32"] as const) {
        expectValues(maskedSoftmax(x, tf.tensor4d(keys, [2, 1, 1, 5], dtype)), expected);
      }
      const whole = maskedSoftmax(x, tf.tensor4d([1, 0], [2, 1, 1, 1], "bool"));
      expectValues(tf.sum(whole, -1), [1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0]);
    });

    it("has the gradient of its definition, zero where nothing is seen", () => {
      const f = (x?: tf.Tensor) => maskedSoftmax(x!, tf.tensor2d(mask, [3, 4], "bool"));
      expectGradients(f, maskedSoftmaxReference(mask, 4), [wave([3, 4], 2)]);
    });

    it("stays finite for huge logits, also behind the mask", () => {
      const y = maskedSoftmax(tf.tensor1d([1e30, 3e38, 0]), tf.tensor1d([1, 0, 1], "bool"));
      expect([...y.dataSync()]).toEqual([1, 0, 0]);
    });
  });

  describe("dropout", () => {
    it("keeps the share asked for and scales it up", () => {
      const y = dropout(tf.ones([40_000]), 0.3, 7).dataSync();
      const kept = y.filter((v) => v !== 0);
      // Binomial: standard deviation 92.
      expect(Math.abs(kept.length - 28_000)).toBeLessThan(400);
      expect(kept.every((v) => v === Math.fround(1 / 0.7))).toBe(true);
    });

    it("drops the same entries for the same seed, others for another, independently", () => {
      const [a, again, b] = [5, 5, 6].map((seed) =>
        dropout(tf.ones([10_000]), 0.5, seed)
          .dataSync()
          .slice(),
      );
      expect(a).toEqual(again);
      const both = a!.filter((v, i) => v !== 0 && b![i] !== 0).length;
      expect(Math.abs(both - 2500)).toBeLessThan(200);
    });

    it("passes the gradient of the entries it kept", () => {
      const x = wave([50], 1);
      const y = dropout(tf.ones([50]), 0.4, 3);
      expectValues(tf.grad((v: tf.Tensor) => tf.sum(dropout(v, 0.4, 3)))(x), Array.from(y.dataSync()));
    });

    it("is the identity at rate 0", () => {
      expect(dropout(wave([9], 1), 0, 1).dataSync()).toEqual(wave([9], 1).dataSync());
    });

    it("refuses a rate of 1 and a seed that is no 32-bit number", () => {
      for (const call of [() => dropout(tf.ones([2]), 1, 0), () => dropout(tf.ones([2]), 0.5, -1)]) {
        try {
          call();
          expect.fail("nothing was thrown");
        } catch (error) {
          expect(isPrismrecError(error, "INVALID_ARGUMENT")).toBe(true);
        }
      }
    });
  });
});

describe.skipIf(native() === undefined)("composite operations on both backends", () => {
  it("drop the same entries, so that a run does not depend on the backend", async () => {
    const masks: Uint8Array[] = [];
    for (const backend of ["cpu", "prismrec"] as const) {
      await useTensorBackend(backend);
      const y = tf.tidy(() => dropout(tf.ones([70_001]), 0.35, 4_000_000_000));
      masks.push(Uint8Array.from(y.dataSync(), (v) => (v === 0 ? 0 : 1)));
      y.dispose();
    }
    expect(Buffer.compare(masks[0]!, masks[1]!)).toBe(0);
  });
});
