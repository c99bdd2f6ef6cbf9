import { beforeAll, describe, expect, it } from "vitest";
import { native } from "../../ops/native.js";
import { type TensorBackendName, useTensorBackend } from "./backend.js";
import { dropout } from "./dropout.js";
import { fallThroughs, resetFallThroughs } from "./fall-throughs.js";
import { gelu } from "./gelu.js";
import { layerNorm } from "./layer-norm.js";
import { maskedSoftmax } from "./masked-softmax.js";
import { tf } from "./tfjs.js";
import { updateVariable } from "./variables.js";

const SHAPE = { batch: 6, length: 11, dim: 8, heads: 2, items: 200, interests: 3 } as const;

function wave(shape: number[], phase: number, scale: number): tf.Tensor {
  const n = shape.reduce((product, size) => product * size, 1);
  return tf.tensor(
    Float32Array.from({ length: n }, (_, i) => scale * Math.sin(1.7 * i + phase)),
    shape,
  );
}

/** Names and shapes of the parameters of one pre-norm transformer block with pooled interests. */
function parameterShapes(): Record<string, number[]> {
  const { dim, items, interests } = SHAPE;
  return {
    table: [items, dim],
    norm1: [dim],
    shift1: [dim],
    qkv: [dim, 3 * dim],
    out: [dim, dim],
    norm2: [dim],
    shift2: [dim],
    up: [dim, 2 * dim],
    upBias: [2 * dim],
    down: [2 * dim, dim],
    pool1: [dim, 4 * dim],
    pool2: [4 * dim, interests],
    bias: [items],
  };
}

type Parameters = Record<string, tf.Tensor>;

/** History ids [batch, length], 0 = padding at the end; one row is padding only. */
function histories(): { ids: tf.Tensor2D; targets: tf.Tensor1D } {
  const { batch, length, items } = SHAPE;
  const ids = Array.from({ length: batch * length }, (_, i) => {
    const [row, position] = [Math.floor(i / length), i % length];
    return position < length - 2 * row ? 1 + ((i * 37) % (items - 1)) : 0;
  });
  return {
    ids: tf.tensor2d(ids, [batch, length], "int32"),
    targets: tf.tensor1d(
      Array.from({ length: batch }, (_, b) => 1 + ((b * 53) % (items - 1))),
      "int32",
    ),
  };
}

function loss(p: Parameters, ids: tf.Tensor2D, targets: tf.Tensor1D): tf.Scalar {
  const { batch, length, dim, heads, interests, items } = SHAPE;
  const seen = tf.greater(ids, 0);
  const flat = (x: tf.Tensor) => tf.reshape(x, [-1, x.shape.at(-1)!]);
  const x0 = dropout(tf.reshape(tf.gather(p.table!, tf.reshape(ids, [-1])), [batch, length, dim]), 0.1, 11);
  const qkv = tf.matMul(flat(layerNorm(x0, p.norm1!, p.shift1!)), p.qkv!);
  const split = tf.transpose(tf.reshape(qkv, [batch, length, 3, heads, dim / heads]), [2, 0, 3, 1, 4]);
  const [q, k, v] = tf.unstack(split, 0);
  const logits = tf.mul(tf.matMul(q!, k!, false, true), 1 / Math.sqrt(dim / heads));
  const causal = tf.cast(tf.linalg.bandPart(tf.ones([length, length]), -1, 0), "bool");
  const mask = tf.logicalAnd(tf.reshape(seen, [batch, 1, 1, length]), causal);
  const attended = tf.transpose(tf.matMul(maskedSoftmax(logits, mask), v!), [0, 2, 1, 3]);
  const x1 = tf.add(x0, tf.reshape(tf.matMul(tf.reshape(attended, [-1, dim]), p.out!), x0.shape));
  const hidden = gelu(tf.add(tf.matMul(flat(layerNorm(x1, p.norm2!, p.shift2!)), p.up!), p.upBias!));
  const x2 = tf.add(x1, tf.reshape(tf.matMul(hidden, p.down!), x1.shape));
  const pooling = tf.matMul(tf.tanh(tf.matMul(flat(x2), p.pool1!)), p.pool2!);
  const weights = tf.transpose(tf.reshape(pooling, [batch, length, interests]), [0, 2, 1]);
  const attention = maskedSoftmax(weights, tf.reshape(seen, [batch, 1, length]));
  const users = tf.matMul(attention, x2);
  const scores = tf.add(tf.matMul(flat(users), p.table!, false, true), p.bias!);
  const readout = tf.logSumExp(tf.reshape(scores, [batch, interests, items]), 1);
  const hits = tf.oneHot(targets, items);
  return tf.neg(tf.mean(tf.sum(tf.mul(tf.logSoftmax(readout), hits), -1)));
}

function createParameters(): Record<string, tf.Variable> {
  const entries = Object.entries(parameterShapes()).map(([name, shape], i) => {
    const start = tf.tidy(() => tf.add(wave(shape, i, 0.4), name.startsWith("norm") ? 1 : 0));
    const variable = tf.variable(start, true, `${name}-${tf.getBackend()}`);
    start.dispose();
    return [name, variable] as const;
  });
  return Object.fromEntries(entries);
}

async function gradientsOn(backend: TensorBackendName): Promise<{ value: number; gradients: Map<string, number[]> }> {
  await useTensorBackend(backend);
  const parameters = createParameters();
  const { ids, targets } = histories();
  const { value, grads } = tf.variableGrads(() => loss(parameters, ids, targets));
  const result = {
    value: value.dataSync()[0]!,
    gradients: new Map(
      Object.entries(parameters).map(([name, variable]) => [name, Array.from(grads[variable.name]!.dataSync())]),
    ),
  };
  tf.dispose([value, grads, ids, targets, parameters]);
  return result;
}

describe.skipIf(native() === undefined)("a training step of a transformer with pooled interests", () => {
  it("has the same loss and gradients on the prismrec backend as on tfjs's own", async () => {
    const [expected, actual] = [await gradientsOn("cpu"), await gradientsOn("prismrec")];
    expect(actual.value).toBeCloseTo(expected.value, 5);
    for (const [name, reference] of expected.gradients) {
      const gradient = actual.gradients.get(name)!;
      const scale = Math.max(...reference.map(Math.abs));
      expect(scale, name).toBeGreaterThan(0);
      const worst = Math.max(...reference.map((e, i) => Math.abs(gradient[i]! - e)));
      expect(worst, name).toBeLessThan(2e-5 * scale + 1e-7);
    }
  });

  describe("repeated", () => {
    beforeAll(async () => {
      await useTensorBackend("prismrec");
    });

    /** `count` steps of gradient descent; the losses. */
    function descend(parameters: Record<string, tf.Variable>, count: number): number[] {
      const { ids, targets } = histories();
      const losses: number[] = [];
      for (let step = 0; step < count; step++) {
        const { value, grads } = tf.variableGrads(() => loss(parameters, ids, targets));
        losses.push(value.dataSync()[0]!);
        for (const variable of Object.values(parameters)) {
          const gradient = grads[variable.name]!.dataSync();
          updateVariable(variable, (values) => {
            for (let i = 0; i < values.length; i++) values[i]! -= 0.05 * gradient[i]!;
          });
        }
        tf.dispose([value, grads]);
      }
      tf.dispose([ids, targets]);
      return losses;
    }

    it("leaves no work to JavaScript", () => {
      const parameters = createParameters();
      resetFallThroughs();
      descend(parameters, 2);
      tf.dispose(parameters);
      expect([...fallThroughs()]).toEqual([]);
    });

    it("learns, with the same bits each time, and keeps no tensor behind", () => {
      const run = () => {
        const before = tf.memory().numTensors;
        const parameters = createParameters();
        const losses = descend(parameters, 1);
        const during = tf.memory().numTensors;
        losses.push(...descend(parameters, 150));
        expect(tf.memory().numTensors).toBe(during);
        tf.dispose(parameters);
        expect(tf.memory().numTensors).toBe(before);
        return losses;
      };
      const losses = run();
      expect(losses.at(-1)!).toBeLessThan(0.5 * losses[0]!);
      expect(run()).toEqual(losses);
    });

    it("does not write into an array that was handed out", () => {
      const x = tf.add(wave([4096], 1, 1), 1);
      const read = x.dataSync<"float32">();
      const copy = read.slice();
      x.dispose();
      for (let i = 0; i < 5; i++) tf.tidy(() => tf.mul(wave([4096], i, 1), 3));
      expect(Buffer.compare(Buffer.from(read.buffer), Buffer.from(copy.buffer))).toBe(0);
    });
  });
});
