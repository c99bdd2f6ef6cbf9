import { describe, expect, it } from "vitest";
import { createRandom } from "../../base/random.js";
import { gradientError, randomTensor } from "../../testing/gradient-check.js";
import { useTensorBackend } from "../tensor/backend.js";
import { tf } from "../tensor/tfjs.js";
import { splitAssignment } from "./alignment.js";
import { dynamicRouting } from "./dynamic-routing.js";
import { mergeHeads, splitHeads } from "./heads.js";
import { linear, ParameterSet, type ParameterTensors } from "./parameters.js";
import { gatherPositions, maskedLogSoftmax, prefixAttention } from "./prefix-attention.js";
import { packHistories, type SequenceBatch } from "./sequence-batch.js";
import { encodeHistories, transformerSpecs } from "./transformer.js";

const TOLERANCE = 5e-3;

/** Two users, one shorter; positions, an unused one, clusters and events without one. */
const batch: SequenceBatch = {
  size: 2,
  length: 5,
  items: Uint32Array.of(3, 1, 4, 2, 5, 6, 7, 8, 0, 0),
  lengths: Uint32Array.of(5, 3),
  clusters: Int16Array.of(0, 1, 0, -1, 1, 1, 1, -1, -1, -1),
  clusterCount: 2,
  positionCount: 2,
  positions: Int32Array.of(0, 3, 1, -1),
};

await useTensorBackend("cpu");

describe("heads", () => {
  it("cuts the last axis into heads and puts it together again", () => {
    const x = tf.tensor([0, 1, 2, 3, 10, 11, 12, 13], [1, 2, 4]) as tf.Tensor3D;
    const split = splitHeads(x, 2);
    expect(split.shape).toEqual([1, 2, 2, 2]);
    expect(Array.from(split.dataSync())).toEqual([0, 1, 10, 11, 2, 3, 12, 13]);
    expect(Array.from(mergeHeads(split).dataSync())).toEqual(Array.from(x.dataSync()));
  });

  it("has the gradient of central differences", () => {
    const x = randomTensor([2, 3, 4], "heads");
    expect(gradientError((y) => splitHeads(y as tf.Tensor3D, 2), [x])).toBeLessThan(TOLERANCE);
  });
});

describe("prefixAttention", () => {
  it("spreads collaborative weights over the visible prefix and semantic ones inside their cluster", () => {
    const logits = tf.zeros([2, 3, 5]) as tf.Tensor3D;
    const weights = prefixAttention(logits, batch);
    expect(weights.shape).toEqual([2, 2 * 4, 5]);
    const row = (b: number, p: number, j: number) =>
      Array.from(weights.dataSync()).slice(((b * 2 + p) * 4 + j) * 5, ((b * 2 + p) * 4 + j + 1) * 5);
    const near = (values: number[]) => values.map((value) => expect.closeTo(value, 6));
    expect(row(0, 0, 0)).toEqual(near([0.2, 0.2, 0.2, 0.2, 0.2]));
    expect(row(0, 1, 1)).toEqual(near([0, 0, 0, 0.5, 0.5]));
    expect(row(0, 0, 2)).toEqual(near([0.5, 0, 0.5, 0, 0]));
    expect(row(0, 1, 2)).toEqual([0, 0, 0, 0, 0]);
    expect(row(0, 1, 3)).toEqual(near([0, 0, 0, 0, 1]));
    expect(row(1, 0, 3)).toEqual(near([0, 1, 0, 0, 0]));
    expect(row(1, 1, 0)).toEqual([0, 0, 0, 0, 0]);
  });

  it("agrees with a softmax over each prefix, also where logits differ by hundreds", () => {
    const values = Float32Array.from({ length: 30 }, (_, i) => ((i * 37) % 11) * 60 - 300);
    const weights = prefixAttention(tf.tensor(values, [2, 3, 5]) as tf.Tensor3D, batch).dataSync();
    for (let k = 0; k < 2; k++) {
      const prefix = values.subarray(k * 5 + 3, k * 5 + 5);
      const top = Math.max(...prefix);
      const sum = prefix.reduce((total, value) => total + Math.exp(value - top), 0);
      for (let t = 3; t < 5; t++) {
        expect(weights[(4 + k) * 5 + t]).toBeCloseTo(Math.exp(values[k * 5 + t]! - top) / sum, 5);
      }
    }
  });

  it("has the gradient of central differences", () => {
    const logits = randomTensor([2, 3, 5], "prefix");
    expect(gradientError((x) => prefixAttention(x as tf.Tensor3D, batch), [logits])).toBeLessThan(TOLERANCE);
  });
});

describe("gatherPositions", () => {
  it("takes the state at each position, nothing for an unused one, and differentiates", () => {
    const x = randomTensor([2, 5, 3], "gather") as tf.Tensor3D;
    const rows = gatherPositions(x, batch).dataSync();
    expect(Array.from(rows.slice(3, 6))).toEqual(Array.from(x.dataSync().slice(9, 12)));
    expect(Array.from(rows.slice(9, 12))).toEqual([0, 0, 0]);
    expect(gradientError((y) => gatherPositions(y as tf.Tensor3D, batch), [x])).toBeLessThan(TOLERANCE);
  });
});

describe("maskedLogSoftmax", () => {
  it("normalises over what is present alone and differentiates", () => {
    const present = Uint8Array.of(1, 1, 0, 0, 0, 0);
    const x = randomTensor([2, 3], "log-softmax");
    const y = maskedLogSoftmax(x, present).dataSync();
    expect(Math.exp(y[0]!) + Math.exp(y[1]!)).toBeCloseTo(1, 6);
    expect(Array.from(y.slice(2))).toEqual([-Infinity, -Infinity, -Infinity, -Infinity]);
    expect(gradientError((z) => maskedLogSoftmax(z, present), [x])).toBeLessThan(TOLERANCE);
  });
});

describe("splitAssignment", () => {
  const assignment = tf.softmax(randomTensor([2, 2, 2, 3], "assignment")) as tf.Tensor4D;
  const routing = tf.softmax(randomTensor([2, 3, 5], "routing"), -1) as tf.Tensor3D;

  it("gives every visible event of a cluster one unit of mass, shared over the interests", () => {
    const shares = splitAssignment(assignment, routing, batch, 1).dataSync();
    const mass = (b: number, p: number, t: number) =>
      [0, 1, 2].reduce((sum, k) => sum + shares[((b * 2 + p) * 3 + k) * 5 + t]!, 0);
    expect([0, 1, 2, 3, 4].map((t) => Math.round(mass(0, 0, t) * 1e5) / 1e5)).toEqual([1, 1, 1, 0, 1]);
    expect([0, 1, 2, 3, 4].map((t) => Math.round(mass(0, 1, t) * 1e5) / 1e5)).toEqual([0, 0, 0, 0, 1]);
  });

  it("has the gradient of central differences in assignment and routing", () => {
    for (const gamma of [0, 1, 0.5]) {
      const error = gradientError(
        (a, c) => splitAssignment(tf.sigmoid(a) as tf.Tensor4D, tf.sigmoid(c) as tf.Tensor3D, batch, gamma),
        [randomTensor([2, 2, 2, 3], "a"), randomTensor([2, 3, 5], "c")],
      );
      expect(error).toBeLessThan(TOLERANCE);
    }
  });
});

describe("dynamic routing", () => {
  const embedded = randomTensor([2, 5, 4], "events") as tf.Tensor3D;
  const settings = { interests: 3, iterations: 1, initial: new Float32Array(15) };

  // With one round the coefficients come from the initial logits alone, so that the gradient is the whole one.
  it.each([
    ["one map per interest", [4, 12]],
    ["one map for all", [4, 4]],
    ["one map per interest and position", [6, 4, 12]],
  ] as const)("has the gradient of central differences in events and maps: %s", (_, shape) => {
    const error = gradientError(
      (x, w) => dynamicRouting(x as tf.Tensor3D, w!, batch, settings).interests,
      [embedded, randomTensor(shape, "maps")],
    );
    expect(error).toBeLessThan(TOLERANCE);
  });

  it("reads the map of each position", () => {
    const maps = randomTensor([5, 4, 12], "maps");
    const initial = randomTensor([3, 5], "initial").dataSync<"float32">();
    const { interests, coefficients } = dynamicRouting(embedded, maps, batch, { interests: 3, iterations: 3, initial });
    const moved = dynamicRouting(embedded, tf.reverse(maps, 0), batch, { interests: 3, iterations: 3, initial });
    expect(coefficients.shape).toEqual([2, 3, 5]);
    expect(Array.from(moved.interests.dataSync())).not.toEqual(Array.from(interests.dataSync()));
  });
});

describe("linear", () => {
  it("maps the last axis and differentiates in input, weight and bias", () => {
    const inputs = [randomTensor([2, 3, 4], "x"), randomTensor([4, 5], "w"), randomTensor([5], "b")];
    const error = gradientError((x, w, b) => linear({ "map/weight": w!, "map/bias": b! }, "map", x!), inputs);
    expect(error).toBeLessThan(TOLERANCE);
  });
});

describe("encodeHistories", () => {
  const shape = { dim: 4, layers: 2, heads: 2, maxHistory: 6 };
  const parameters = ParameterSet.create(transformerSpecs(shape), createRandom(1));
  const embedded = randomTensor([2, 5, 4], "embedded") as tf.Tensor3D;

  it("lets a state see its own event and older ones only", () => {
    const before = encodeHistories(parameters.tensors(), embedded, batch, shape).dataSync();
    const changed = embedded.dataSync<"float32">().slice();
    changed.fill(9, 4, 8);
    const after = encodeHistories(parameters.tensors(), tf.tensor(changed, [2, 5, 4]) as tf.Tensor3D, batch, shape);
    const moved = Array.from({ length: 5 }, (_, t) =>
      after
        .dataSync()
        .subarray(t * 4, t * 4 + 4)
        .some((value, i) => value !== before[t * 4 + i]),
    );
    expect(moved).toEqual([true, true, false, false, false]);
  });

  it("gives a short history the same states whatever it is padded to, and no NaN in value or gradient", () => {
    const packed = (histories: number[][]) =>
      packHistories(
        histories.map((items) => ({ items: Uint32Array.from(items) })),
        6,
        0,
      );
    const rows = (own: SequenceBatch) =>
      tf.tensor(
        Float32Array.from({ length: own.items.length * 4 }, (_, i) =>
          Math.sin(own.items[Math.floor(i / 4)]! * (1 + (i % 4))),
        ),
        [own.size, own.length, 4],
      ) as tf.Tensor3D;
    const alone = packed([[1, 2]]);
    const padded = packed([[1, 2], [3, 4, 5, 6, 7], []]);
    const short = encodeHistories(parameters.tensors(), rows(alone), alone, shape).dataSync();
    const long = encodeHistories(parameters.tensors(), rows(padded), padded, shape).dataSync();
    for (let i = 0; i < short.length; i++) expect(long[i]).toBeCloseTo(short[i]!, 5);
    const input = rows(padded);
    const { grads } = tf
      .engine()
      .gradients(
        () => tf.sum(tf.square(encodeHistories(parameters.tensors(), input, padded, shape))) as tf.Scalar,
        [input],
      );
    expect(grads[0]!.dataSync().every(Number.isFinite)).toBe(true);
    expect(long.every(Number.isFinite)).toBe(true);
  });

  it("has the gradient of central differences in the input and in every parameter", () => {
    const names = Array.from(parameters, ({ name }) => name);
    const tensors = parameters.tensors();
    for (const name of ["input", ...names]) {
      const at = name === "input" ? embedded : tensors[name]!;
      const error = gradientError(
        (x) => {
          const own: ParameterTensors = name === "input" ? tensors : { ...tensors, [name]: x! };
          return encodeHistories(own, name === "input" ? (x as tf.Tensor3D) : embedded, batch, shape);
        },
        [at],
      );
      expect(error, name).toBeLessThan(2e-2);
    }
  });
});
