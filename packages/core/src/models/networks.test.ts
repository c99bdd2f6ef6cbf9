import { describe, expect, it } from "vitest";
import { createRandom } from "../base/random.js";
import type { History } from "../data/history.js";
import { ParameterSet } from "../nn/layers/parameters.js";
import type { SequenceBatch } from "../nn/layers/sequence-batch.js";
import type { InterestNetwork } from "../nn/network.js";
import { useTensorBackend } from "../nn/tensor/backend.js";
import { tf } from "../nn/tensor/tfjs.js";
import { gradientError, randomTensor } from "../testing/gradient-check.js";
import { ComirecDrNetwork, comirecDrSchema } from "./comirec-dr.js";
import { ComirecSaNetwork, comirecSaSchema } from "./comirec-sa.js";
import { EsasrecNetwork, esasrecSchema } from "./esasrec.js";
import { Gru4recNetwork, gru4recSchema } from "./gru4rec.js";
import { InterestModel } from "./interest-model.js";
import { LdmiNetwork, ldmiSchema } from "./ldmi.js";
import { MindNetwork, mindSchema } from "./mind.js";
import { createNetwork, networkNamed } from "./registry.js";
import { RemiNetwork, remiSchema } from "./remi.js";
import { SasrecNetwork, sasrecSchema } from "./sasrec.js";
import { SineNetwork, sineSchema } from "./sine.js";

await useTensorBackend("cpu");

const DIM = 4;
const ITEMS = 12;
const small = { dim: DIM, maxHistory: 6, layers: 1, maxClusters: 3 };

function modelOf(network: InterestNetwork, seed = 1): InterestModel {
  const items = { data: randomTensor([ITEMS, DIM], "items").dataSync<"float32">().slice(), rows: ITEMS, cols: DIM };
  const parameters = ParameterSet.create(network.specs(), createRandom(seed));
  const bias = Float32Array.from({ length: ITEMS }, (_, i) => -i / 10);
  return network.hasItemBias
    ? new InterestModel(network, parameters, items, bias)
    : new InterestModel(network, parameters, items);
}

const history = (items: number[], clusters?: number[]): History =>
  clusters === undefined
    ? { items: Uint32Array.from(items) }
    : { items: Uint32Array.from(items), clusters: Int16Array.from(clusters) };

const networks: readonly [string, InterestNetwork][] = [
  ["ldmi mixture", new LdmiNetwork(ldmiSchema.parse(small))],
  ["ldmi gate", new LdmiNetwork(ldmiSchema.parse({ ...small, fusion: "gate" }))],
  ["ldmi add", new LdmiNetwork(ldmiSchema.parse({ ...small, fusion: "add", semanticSource: "states" }))],
  ["ldmi concat", new LdmiNetwork(ldmiSchema.parse({ ...small, fusion: "concat", align: "sinkhorn" }))],
  ["comirec-sa", new ComirecSaNetwork(comirecSaSchema.parse({ dim: DIM, maxHistory: 6 }))],
  ["comirec-dr", new ComirecDrNetwork(comirecDrSchema.parse({ dim: DIM, maxHistory: 6 }))],
  [
    "comirec-dr position",
    new ComirecDrNetwork(comirecDrSchema.parse({ dim: DIM, maxHistory: 6, bilinear: "position" })),
  ],
  ["comirec-dr, one round", new ComirecDrNetwork(comirecDrSchema.parse({ dim: DIM, maxHistory: 6, iterations: 1 }))],
  ["sasrec", new SasrecNetwork(sasrecSchema.parse({ dim: DIM, maxHistory: 6, layers: 1 }))],
  ["esasrec", new EsasrecNetwork(esasrecSchema.parse({ dim: DIM, maxHistory: 6, layers: 1 }))],
  ["remi", new RemiNetwork(remiSchema.parse({ dim: DIM, maxHistory: 6 }))],
  ["gru4rec", new Gru4recNetwork(gru4recSchema.parse({ dim: DIM, maxHistory: 6, hidden: 5 }))],
  ["gru4rec, two layers", new Gru4recNetwork(gru4recSchema.parse({ dim: DIM, maxHistory: 6, hidden: 5, layers: 2 }))],
  ["mind", new MindNetwork(mindSchema.parse({ dim: DIM, maxHistory: 6 }))],
  ["mind, one round", new MindNetwork(mindSchema.parse({ dim: DIM, maxHistory: 6, iterations: 1 }))],
  ["sine", new SineNetwork(sineSchema.parse({ dim: DIM, maxHistory: 6, interests: 2, prototypes: 5, temperature: 1 }))],
];

/** Routing of several rounds holds its coefficients fixed, so that no difference agrees with its gradient. */
function holdsCoefficients({ config }: InterestNetwork & { readonly config?: object }): boolean {
  return config !== undefined && "iterations" in config && config.iterations !== 1;
}

/** Two predictions of one user and one of another; interests of one cut alone for the classic networks. */
function batchFor(network: InterestNetwork): SequenceBatch {
  const semantic = network.maxClusters > 0;
  const several = networkNamed(network.name).recipe.batches === "positions";
  return {
    size: 2,
    length: 4,
    items: Uint32Array.of(1, 2, 3, 4, 5, 6, 0, 0),
    lengths: Uint32Array.of(4, 2),
    clusters: semantic ? Int16Array.of(0, 1, 0, -1, 1, 1, -1, -1) : new Int16Array(8).fill(-1),
    clusterCount: semantic ? 2 : 0,
    positionCount: several ? 2 : 1,
    positions: several ? Int32Array.of(0, 2, 0, -1) : Int32Array.of(0, 0),
  };
}

describe.each(networks)("%s", (_, network) => {
  it("has the gradient of central differences in the item rows and in every parameter it uses", () => {
    const batch = batchFor(network);
    const tensors = ParameterSet.create(network.specs(), createRandom(3)).tensors();
    // A ReLU has no gradient at its kink: half of its inputs are well above it, half well below.
    const kinked = tensors["hidden/bias"];
    if (kinked !== undefined) {
      tensors["hidden/bias"] = tf.tensor(Float32Array.from({ length: kinked.size }, (_, i) => (i % 2 === 0 ? 3 : -3)));
    }
    const embedded = tf.mul(
      randomTensor([2, 4, DIM], "rows"),
      tf.tensor([1, 1, 1, 1, 1, 1, 0, 0], [2, 4, 1]),
    ) as tf.Tensor3D;
    for (const name of ["rows", ...Object.keys(tensors)]) {
      for (const what of ["vectors", "offsets"] as const) {
        const run = (x: tf.Tensor): tf.Tensor => {
          const output =
            name === "rows"
              ? network.forward(tensors, x as tf.Tensor3D, batch)
              : network.forward({ ...tensors, [name]: x }, embedded, batch);
          return (what === "vectors" ? output.vectors : output.offsets) ?? tf.zerosLike(x);
        };
        const at = name === "rows" ? embedded : tensors[name]!;
        if (!reaches(run, at)) continue;
        if (holdsCoefficients(network)) continue;
        expect(
          gradientError((x) => run(x!), [at]),
          `${name} -> ${what}`,
        ).toBeLessThan(2e-2);
      }
    }
  });

  it("gives a user the same interests alone and in any batch", () => {
    const model = modelOf(network);
    const one = history([1, 2, 3], [0, 1, 0]);
    const other = history([4, 5, 6, 7, 8], [1, 1, 2, 0, 0]);
    const alone = model.interests([one]);
    const together = model.interests([other, one]);
    for (let j = 0; j < alone.count; j++) {
      for (let c = 0; c < DIM; c++) {
        const inBatch = together.vectors.data[((together.count + j) * DIM + c) | 0];
        expect(inBatch).toBeCloseTo(alone.vectors.data[j * DIM + c]!, 5);
      }
      expect(together.offsets[together.count + j]).toBeCloseTo(alone.offsets[j]!, 5);
    }
  });

  it("serves the same lists every time, without clusters too, and nothing to a user without events", async () => {
    const model = modelOf(network);
    const histories = [history([1, 2, 3], [0, 1, 0]), history([4, 5]), history([])];
    const first = await model.rank(histories, { k: 5 });
    expect(await model.rank(histories, { k: 5 })).toEqual(first);
    expect(Array.from(first.counts)).toEqual([5, 5, 0]);
    expect(first.scores.every(Number.isFinite)).toBe(true);
    expect(Array.from(first.ids.slice(0, 5)).some((id) => id <= 3)).toBe(false);
  });

  it("reads the most recent events of a history longer than it was trained on", () => {
    const model = modelOf(network);
    const long = model.interests([history([9, 9, 9, 1, 2, 3, 4, 5, 6])]);
    const recent = model.interests([history([1, 2, 3, 4, 5, 6])]);
    expect(Array.from(long.vectors.data)).toEqual(Array.from(recent.vectors.data));
  });
});

function reaches(run: (x: tf.Tensor) => tf.Tensor, at: tf.Tensor): boolean {
  const { grads } = tf.engine().gradients(() => tf.sum(finite(run(at))) as tf.Scalar, [at], undefined, true);
  return grads[0] != null;
}

/** Zero weight on entries that are not finite. */
function finite(x: tf.Tensor): tf.Tensor {
  const keep = x.dataSync().map((value) => (Number.isFinite(value) ? 1 : 0));
  const op = tf.customGrad((y) => ({
    value: tf.tensor(
      (y as tf.Tensor).dataSync<"float32">().map((value, i) => (keep[i] === 1 ? value : 0)),
      x.shape,
    ),
    gradFunc: (dy: tf.Tensor) => tf.mul(dy, tf.tensor(Float32Array.from(keep), x.shape)),
  }));
  return op(x);
}

describe("ldmi mixture", () => {
  const network = new LdmiNetwork(ldmiSchema.parse(small));

  it("adds one interest for each cluster of the history, with a prior that sums to one", () => {
    const { count, offsets, clusters } = modelOf(network).interests([
      history([1, 2, 3, 4], [0, 1, 0, 2]),
      history([5, 6, 7], [0, 0, 0]),
    ]);
    expect(count).toBe(4 + 3);
    expect(Array.from(clusters.slice(0, 7))).toEqual([-1, -1, -1, -1, 0, 1, 2]);
    const prior = Array.from(offsets, Math.exp);
    for (const user of [0, 1]) {
      expect(prior.slice(user * 7, user * 7 + 7).reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 5);
    }
    expect(Array.from(offsets.slice(12))).toEqual([-Infinity, -Infinity]);
  });

  it("reads no more clusters than it has room for", () => {
    expect(modelOf(network).interests([history([1, 2], [0, 7])]).count).toBe(4 + 1);
  });

  it("tells, oldest event first, which events an interest attends to", () => {
    const { attention } = modelOf(network).interests([history([1, 2, 3], [0, 1, 0])]);
    const cluster1 = Array.from(attention!).slice(5 * 3, 6 * 3);
    expect(cluster1).toEqual([0, expect.closeTo(1, 6), 0]);
  });
});

describe("attention heads that do not divide the dimension", () => {
  it("are refused by the schema, by the network and by whoever opens a stored one", () => {
    const parsed = ldmiSchema.safeParse({ model: "ldmi", dim: 64, heads: 3 });
    expect(parsed.error?.issues).toMatchObject([{ path: ["heads"], message: expect.stringContaining("divide dim") }]);
    expect(ldmiSchema.safeParse({ model: "ldmi", dim: 63, heads: 3 }).success).toBe(true);
    const config = { ...ldmiSchema.parse({ dim: 8, heads: 4 }), heads: 3 };
    expect(() => createNetwork(config)).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
  });
});

describe("comirec-dr", () => {
  it("refuses one shared map with zero logits, which leaves all interests equal", () => {
    expect(comirecDrSchema.safeParse({ bilinear: "shared" }).success).toBe(false);
    expect(comirecDrSchema.safeParse({ bilinear: "shared", initialLogits: "noise" }).success).toBe(true);
    const zeros = new ComirecDrNetwork({ ...comirecDrSchema.parse({ dim: DIM }), bilinear: "shared" });
    const { vectors } = modelOf(zeros).interests([history([1, 2, 3])]);
    expect(Array.from(vectors.data.slice(0, DIM))).toEqual(Array.from(vectors.data.slice(DIM, 2 * DIM)));
  });

  it("tells interests apart from a shared map by noise that is the same in every process", () => {
    const config = comirecDrSchema.parse({ dim: DIM, bilinear: "shared", initialLogits: "noise" });
    const first = modelOf(new ComirecDrNetwork(config)).interests([history([1, 2, 3])]).vectors.data;
    const second = modelOf(new ComirecDrNetwork(config)).interests([history([1, 2, 3])]).vectors.data;
    expect(second).toEqual(first);
    expect(Array.from(first.slice(0, DIM))).not.toEqual(Array.from(first.slice(DIM, 2 * DIM)));
  });
});

describe("mind", () => {
  const network = new MindNetwork(mindSchema.parse({ dim: DIM, interests: 3, maxHistory: 20 }));

  it.each([
    [1, 1],
    [2, 1],
    [3, 1],
    [4, 2],
    [7, 2],
    [8, 3],
    [16, 3],
  ])("finds in %d events %d interests, the others absent", (events, expected) => {
    const { count, offsets, attention } = modelOf(network).interests([
      history(Array.from({ length: events }, (_, i) => 1 + (i % ITEMS))),
    ]);
    expect(count).toBe(3);
    expect(Array.from(offsets)).toEqual([0, 1, 2].map((k) => (k < expected ? 0 : -Infinity)));
    // Each event is shared out over the interests that there are.
    for (let t = 0; t < events; t++) {
      const shares = [0, 1, 2].map((k) => attention![k * events + t]!);
      expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 5);
      expect(shares.slice(expected)).toEqual(Array.from({ length: 3 - expected }, () => 0));
    }
  });

  it("ranks by the interests that are there alone", async () => {
    const model = modelOf(network);
    const read = [history([1, 2, 3, 4, 5])];
    const { interests } = await model.rank(read, { k: 5 });
    expect(Array.from(interests!).every((k) => k < 2)).toBe(true);
  });

  it("starts routing from the same logits in training and serving, and from others with another seed", () => {
    const read = [history([1, 2, 3, 4, 5, 6, 7, 8])];
    const vectorsOf = (logitsSeed: number) =>
      modelOf(new MindNetwork({ ...network.config, logitsSeed })).interests(read).vectors.data;
    expect(vectorsOf(1)).toEqual(modelOf(network).interests(read).vectors.data);
    expect(vectorsOf(2)).not.toEqual(vectorsOf(1));
  });
});

describe("gru4rec", () => {
  it("reads the order of events, and its state after an event nothing that came later", () => {
    const model = modelOf(new Gru4recNetwork(gru4recSchema.parse({ dim: DIM, maxHistory: 6, hidden: 5 })));
    const vector = (...items: number[]) => Array.from(model.interests([history(items)]).vectors.data);
    expect(vector(1, 2, 3)).not.toEqual(vector(2, 1, 3));
    const network = model.network;
    const embedded = randomTensor([1, 4, DIM], "events") as tf.Tensor3D;
    const states = (x: tf.Tensor3D, newest: number) => {
      const read = { ...batchFor(network), size: 1, positionCount: 1, positions: Int32Array.of(newest) };
      const lengths = Uint32Array.of(4);
      return network.forward(model.parameters.tensors(), x, { ...read, lengths }).vectors.dataSync();
    };
    const later = tf.concat([tf.zeros([1, 1, DIM]), tf.slice(embedded, [0, 1, 0])], 1) as tf.Tensor3D;
    expect(states(later, 1)).toEqual(states(embedded, 1));
    expect(states(later, 0)).not.toEqual(states(embedded, 0));
  });
});

describe("sine", () => {
  it("activates the prototypes closest to the summary, whatever their order in the table", () => {
    const network = new SineNetwork(sineSchema.parse({ dim: DIM, maxHistory: 6, interests: 2, prototypes: 5 }));
    const model = modelOf(network);
    const before = model.interests([history([1, 2, 3])]).vectors.data;
    const prototypes = model.parameters.get("prototypes")!.values;
    const rows = Array.from({ length: 5 }, (_, l) => prototypes.slice(l * DIM, (l + 1) * DIM)).reverse();
    rows.forEach((row, l) => {
      prototypes.set(row, l * DIM);
    });
    expect(Array.from(model.interests([history([1, 2, 3])]).vectors.data)).toEqual(Array.from(before));
  });

  it("refuses more interests than prototypes", () => {
    const parsed = sineSchema.safeParse({ interests: 6, prototypes: 5 });
    expect(parsed.error?.issues).toMatchObject([{ path: ["interests"] }]);
  });
});
