import { useTensorBackend } from "@prismrec/core/nn";
import { type ConfigOverrides, parseTrainConfig } from "@prismrec/trainer";
import { Learner, type TrainingSequences } from "@prismrec/trainer/training-step";
import { type Arrays, type Bench, type BenchCase, type Parameters, size } from "./lib/bench.js";
import { configurations } from "./lib/configurations.js";
import { normals, randomStream } from "./lib/random-arrays.js";
import { sameLosses, steps } from "./training-step.bench.js";

const BATCHES = 32;
const ITEM_SCALE = 0.1;

function step(items: number, more: Partial<BenchCase> = {}): BenchCase {
  const recipe = { batch: 64, length: 50, positions: 10, targets: 5, d: 64, interests: 4, layers: 2, heads: 2 };
  return {
    variant: "mixture",
    shape: `64x50, ${items} items`,
    parameters: { ...recipe, items, dropout: 0.3, maxClusters: 8, batches: BATCHES },
    ...more,
  };
}

const bench: Bench = {
  op: "ldmi-step",
  title: "Training step of ldmi",
  method:
    "Recipe V: 64 users with histories as movietweetings has them (4 to 50 events read, median 9, batches of similar length), 2 transformer blocks, d=64, 4 interests and up to 8 clusters mixed with a learned prior, 10 positions predict their next 5 items under the full softmax, AdamW; no crowd contrast",
  cases: [step(2500, { quick: true }), step(10_000)],
  memoryOfPreparation: true,
  inputs: (parameters) => ({ key: JSON.stringify(parameters), make: () => sequences(parameters) }),
  ours: {
    async prepare(parameters, { indptr, items, clusters }) {
      await useTensorBackend();
      const histories: TrainingSequences = {
        count: indptr!.length - 1,
        indptr: indptr as Uint32Array,
        items: items as Uint32Array,
        clusters: Int16Array.from(clusters!),
      };
      const [rows, cols] = [size(parameters, "items"), size(parameters, "d")];
      const table = { data: normals(rows * cols, 5, ITEM_SCALE), rows, cols };
      const learner = new Learner(parseTrainConfig(ldmiSettings(parameters)), {
        sequences: histories,
        items: table,
        bias: new Float32Array(rows),
      });
      return steps(learner, BATCHES);
    },
  },
  peers: ["torch", "torch-fused"].map((impl) => ({
    impl,
    script: "ldmi_step.py",
    modules: ["numpy", "torch"],
    configurations: configurations({
      allocator: true,
      ...(impl === "torch-fused" ? { options: [{ chunk: 64 }, { chunk: 32 }, { chunk: 16 }, { chunk: 160 }] } : {}),
    }),
  })),
  agree: sameLosses,
  rate: (parameters) => ({ amount: size(parameters, "batch"), unit: "samples/s" }),
};
export default bench;

/** The recipe that a case names. */
export function ldmiSettings(parameters: Parameters): ConfigOverrides {
  return {
    network: {
      dim: size(parameters, "d"),
      interests: size(parameters, "interests"),
      maxClusters: size(parameters, "maxClusters"),
      maxHistory: size(parameters, "length"),
      layers: size(parameters, "layers"),
      heads: size(parameters, "heads"),
    },
    batchSize: size(parameters, "batch"),
    positions: size(parameters, "positions"),
    targets: size(parameters, "targets"),
    dropout: size(parameters, "dropout"),
    crowd: { weight: 0 },
  };
}

/** Sequences of distinct items, oldest first, ids from 1: 5 events and more, a half of them over 10, one in twenty over 50. */
function sequences(parameters: Parameters): Arrays {
  const [batch, catalog] = [size(parameters, "batch"), size(parameters, "items")];
  const users = BATCHES * batch;
  const spread = normals(users, 3);
  const lengths = Array.from(spread, (z) => Math.min(400, Math.round(5 + 5.5 * Math.exp(1.26 * z))));
  const indptr = new Uint32Array(users + 1);
  for (const [user, length] of lengths.entries()) indptr[user + 1] = indptr[user]! + length;
  const items = new Uint32Array(indptr[users]!);
  const clusters = new Uint32Array(items.length);
  const uniform = randomStream(1);
  for (let user = 0; user < users; user++) {
    const held = new Set<number>();
    const kinds = Math.min(size(parameters, "maxClusters"), 1 + Math.floor(lengths[user]! / 4));
    for (let at = indptr[user]!; at < indptr[user + 1]!; at++) {
      let item = 0;
      do item = 1 + Math.floor(uniform() * catalog);
      while (held.has(item));
      held.add(item);
      items[at] = item;
      clusters[at] = Math.floor(uniform() * kinds);
    }
  }
  return { indptr, items, clusters };
}
