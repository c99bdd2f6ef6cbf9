import { describe, expect, it } from "vitest";
import { createRandom } from "../../base/random.js";
import { MindNetwork, mindSchema } from "../../models/mind.js";
import type { SampledCandidates } from "../../ops/softmax-loss/types.js";
import { gradientError, randomTensor } from "../../testing/gradient-check.js";
import { everyInterest, packHistories } from "../layers/sequence-batch.js";
import type { NetworkOutput } from "../network.js";
import { useTensorBackend } from "../tensor/backend.js";
import { tf } from "../tensor/tfjs.js";
import { onlyBest } from "./best-interest.js";
import { covariancePenalty } from "./covariance-penalty.js";
import { hardNegativesTerm } from "./hard-negatives.js";
import { labelAwareTerm } from "./label-aware.js";
import { routingVarianceTerm } from "./routing-variance.js";
import type { RowGradient, TermInput } from "./term.js";

await useTensorBackend("cpu");

const [ROWS, COUNT, ITEMS, DIM] = [3, 3, 7, 4];
const network = new MindNetwork(mindSchema.parse({ dim: DIM, interests: COUNT }));
const batch = packHistories(
  [[1, 2], [3], [4, 5, 6]].map((items) => ({ items: Uint32Array.from(items) })),
  5,
  0,
);
const draw = (rows: number, seed: string) => randomTensor([rows, DIM], seed).dataSync<"float32">().slice();
const vectors = draw(ROWS * COUNT, "vectors");
const targets = Uint32Array.of(5, 0, 5);
/** One row with all its interests, one with a single one, one without its first. */
const offsets = Float32Array.of(0, 0, 0, 0, -Infinity, -Infinity, -Infinity, 0, 0);

function inputOf(items: Float32Array, power: number, sampled?: SampledCandidates): TermInput<{ power: number }> {
  return {
    settings: { power },
    weight: 1,
    network,
    batch,
    targets: { indptr: Uint32Array.of(0, 1, 2, 3), indices: targets, rows: ROWS, cols: ITEMS },
    batchWeight: 1,
    items: { data: items, rows: ITEMS, cols: DIM },
    ...(sampled === undefined ? {} : { sampled }),
    artifacts: {},
    random: createRandom(1),
  };
}

/** A gradient of some rows over the whole table. */
function spread({ ids, data }: RowGradient): Float32Array {
  if (ids === undefined) return data;
  const whole = new Float32Array(ITEMS * DIM);
  ids.forEach((row, i) => {
    whole.set(data.subarray(i * DIM, (i + 1) * DIM), row * DIM);
  });
  return whole;
}

describe("labelAwareTerm", () => {
  const items = draw(ITEMS, "items");
  const candidates = { ids: Uint32Array.of(2, 3, 6, 2), logQ: Float32Array.of(-1, -2, -1, -1) };

  it.each([
    [1, undefined],
    [2, undefined],
    [2.5, undefined],
    [1, candidates],
    [3, candidates],
  ])("has the gradient of differences in interests and items (p %d, candidates %j)", (power, sampled) => {
    const loss = (x: Float32Array, e: Float32Array) =>
      labelAwareTerm.ofVectors!(inputOf(e, power, sampled), x, offsets)!;
    const found = loss(vectors, items);
    const step = 2e-3;
    for (const [at, gradient] of [
      [vectors, found.vectors],
      [items, spread(found.items!)],
    ] as const) {
      for (const i of at.keys()) {
        const moved = (by: number) => {
          const values = at.map((value, n) => (n === i ? value + by : value));
          return at === vectors ? loss(values, items).loss : loss(vectors, values).loss;
        };
        expect(gradient[i]!).toBeCloseTo((moved(step) - moved(-step)) / (2 * step), 2);
      }
    }
  });

  it("attends by the power of the inner product with the target, its sign kept", () => {
    const e = new Float32Array(ITEMS * DIM);
    for (let i = 0; i < ITEMS; i++) e.set([1, i === 5 ? 1 : 0, 0, 0], i * DIM);
    const v = new Float32Array(ROWS * COUNT * DIM);
    // Inner products with the targets: 2, -1 and 0 in the first row.
    v.set([1, 1, 0, 0, -1, 0, 0, 0, 0, 0, 3, 0]);
    const { loss } = labelAwareTerm.ofVectors!(inputOf(e, 2), v, offsets)!;
    const exps = [4, -1, 0].map(Math.exp);
    const [a, b] = exps.map((value) => value / exps.reduce((sum, other) => sum + other)) as [number, number];
    const [along, second] = [a - b, a];
    const first = Math.log(Math.exp(along + second) + 6 * Math.exp(along)) - (along + second);
    // The other two rows are zeros: every item is as likely.
    expect(loss).toBeCloseTo((first + 2 * Math.log(7)) / 3, 5);
  });

  it("neither reads absent interests nor gives them a gradient", () => {
    const changed = vectors.map((value, i) => (offsets[Math.floor(i / DIM)] === 0 ? value : 100));
    const [plain, other] = [vectors, changed].map((x) => labelAwareTerm.ofVectors!(inputOf(items, 2), x, offsets)!);
    expect(other).toEqual(plain);
    for (const [j, offset] of offsets.entries()) {
      const own = plain!.vectors.subarray(j * DIM, (j + 1) * DIM);
      expect(own.some((value) => value !== 0)).toBe(offset === 0);
    }
  });

  it("refuses a power whose slope is unbounded at 0", () => {
    expect(labelAwareTerm.settings!.safeParse({ power: 0.5 }).success).toBe(false);
    expect(labelAwareTerm.settings!.parse(undefined)).toEqual({ power: 2 });
  });
});

describe("hardNegativesTerm", () => {
  const items = draw(ITEMS, "items");
  // Row 5 is the target of two rows and a candidate, row 2 a candidate twice.
  const sampled = { ids: Uint32Array.of(2, 3, 5, 2, 6) };
  const lossOf = (x: Float32Array, e: Float32Array, beta: number, detach = false) => {
    const input = { ...inputOf(e, 1, sampled), settings: { beta, detach } };
    return hardNegativesTerm.ofVectors!(input, x, offsets)!;
  };

  it.each([0, 0.1, 1, 10])("has the gradient of differences in interests and items (beta %d)", (beta) => {
    const found = lossOf(vectors, items, beta);
    const step = 1e-3;
    for (const [at, gradient] of [
      [vectors, found.vectors],
      [items, spread(found.items!)],
    ] as const) {
      for (const i of at.keys()) {
        const moved = (by: number) => {
          const values = at.map((value, n) => (n === i ? value + by : value));
          return at === vectors ? lossOf(values, items, beta).loss : lossOf(vectors, values, beta).loss;
        };
        expect(gradient[i]!).toBeCloseTo((moved(step) - moved(-step)) / (2 * step), 2);
      }
    }
  });

  it("is the published sum, without the row's own target", () => {
    const beta = 0.5;
    const dot = (j: number, i: number) => {
      let sum = 0;
      for (let c = 0; c < DIM; c++) sum += vectors[j * DIM + c]! * items[i * DIM + c]!;
      return sum;
    };
    let expected = 0;
    for (const [r, target] of targets.entries()) {
      const present = [0, 1, 2].map((j) => r * COUNT + j).filter((j) => offsets[j] === 0);
      const winner = present.reduce((a, b) => (dot(b, target) > dot(a, target) ? b : a));
      const x = [...sampled.ids].filter((id) => id !== target).map((id) => dot(winner, id));
      const sum = (power: number) => x.reduce((total, value) => total + Math.exp(power * value), 0);
      const hard = (x.length * sum(1 + beta)) / sum(beta);
      expected += Math.log(Math.exp(dot(winner, target)) + hard) - dot(winner, target);
    }
    expect(lossOf(vectors, items, beta).loss).toBeCloseTo(expected / ROWS, 5);
  });

  it("draws easy negatives closer unless its weights are held fixed", () => {
    const ofNegatives = (detach: boolean) => {
      const whole = spread(lossOf(vectors, items, 10, detach).items!);
      // Of the first row, whose winner alone tells the sign.
      return [2, 3, 6].map((id) => whole.subarray(id * DIM, (id + 1) * DIM));
    };
    expect(ofNegatives(true)).not.toEqual(ofNegatives(false));
  });

  it("asks for candidates that a batch shares", () => {
    const term = () =>
      hardNegativesTerm.ofVectors!({ ...inputOf(items, 1), settings: { beta: 1, detach: false } }, vectors, offsets);
    expect(term).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
  });
});

describe("routingVarianceTerm", () => {
  const outputOf = (attention: tf.Tensor) => ({
    vectors: tf.zeros([ROWS, 1, 2, DIM]) as tf.Tensor4D,
    present: everyInterest(batch, 2),
    attention: attention as tf.Tensor3D,
    collaborative: 2,
  });
  const value = (attention: tf.Tensor) =>
    routingVarianceTerm.ofOutput!(
      { ...inputOf(new Float32Array(ITEMS * DIM), 1), settings: { weight: 1 } },
      outputOf(attention),
      {},
    )!.value;

  it("is the mean squared variance over the events that there are, and has its gradient", () => {
    // Histories of 2, 1 and 3 events.
    const weights = [
      [
        [0.5, 0.5, 0],
        [1, 0, 0],
      ],
      [
        [1, 0, 0],
        [1, 0, 0],
      ],
      [
        [1 / 3, 1 / 3, 1 / 3],
        [0, 1, 0],
      ],
    ];
    const [second, sixth] = [0.5, 2 / 3];
    expect(value(tf.tensor3d(weights)).dataSync()[0]).toBeCloseTo((second ** 2 + sixth ** 2) / 6, 6);
    expect(gradientError((x) => value(x!), [randomTensor([ROWS, 2, 3], "attention")])).toBeLessThan(2e-2);
  });

  it("asks for a network that weighs events", () => {
    const { attention: _none, ...output } = outputOf(tf.zeros([ROWS, 2, 3]));
    const term = () =>
      routingVarianceTerm.ofOutput!(
        { ...inputOf(new Float32Array(ITEMS * DIM), 1), settings: { weight: 1 } },
        output,
        {},
      );
    expect(term).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
  });
});

describe("onlyBest", () => {
  it("leaves out interests that are absent, however close", () => {
    const interests = { data: Float32Array.of(1, 0, 3, 0, 2, 0), rows: 3, cols: 2 };
    const items = { data: Float32Array.of(1, 1), rows: 1, cols: 2 };
    const best = (...given: number[]) => [...onlyBest(interests, items, Uint32Array.of(0), Float32Array.from(given))];
    expect(best(0, 0, 0)).toEqual([-Infinity, 0, -Infinity]);
    expect(best(0, -Infinity, 0)).toEqual([-Infinity, -Infinity, 0]);
    expect(best(-Infinity, -Infinity, -Infinity)).toEqual([-Infinity, -Infinity, -Infinity]);
  });
});

describe("covariancePenalty", () => {
  const term = covariancePenalty("prototypes");
  const output: NetworkOutput = {
    vectors: tf.zeros([ROWS, 1, 1, DIM]) as tf.Tensor4D,
    present: everyInterest(batch, 1),
    collaborative: 1,
  };
  const value = (prototypes: tf.Tensor) =>
    term.ofOutput!({ ...inputOf(new Float32Array(ITEMS * DIM), 1), settings: { weight: 1 } }, output, { prototypes })!
      .value;

  it("is half the squared covariances of different rows, and has their gradient", () => {
    const rows = [
      [1, -1, 2, 2],
      [0, 4, 0, 0],
      [3, 3, 3, 3],
    ];
    const centred = rows.map((row) => row.map((x) => x - row.reduce((sum, y) => sum + y) / DIM));
    let expected = 0;
    for (const [i, a] of centred.entries()) {
      for (const [j, b] of centred.entries()) {
        if (i !== j) expected += (a.reduce((sum, x, c) => sum + x * b[c]!, 0) / DIM) ** 2 / 2;
      }
    }
    expect(value(tf.tensor2d(rows)).dataSync()[0]).toBeCloseTo(expected, 5);
    expect(gradientError((x) => value(x!), [randomTensor([5, DIM], "prototypes")])).toBeLessThan(2e-2);
  });

  it("is switched off by a weight of 0", () => {
    expect(term.weight!(term.settings!.parse({ weight: 0 }), 3, {})).toBe(0);
    expect(term.weight!(term.settings!.parse(undefined), 3, {})).toBe(0.1);
  });
});
