import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { CrowdSet, Dataset } from "@prismrec/core/data";
import type { Partitions } from "@prismrec/core/interests";
import { InterestModel } from "@prismrec/core/models";
import { fallThroughs, resetFallThroughs, tf, useTensorBackend } from "@prismrec/core/nn";
import { native } from "@prismrec/core/ops";
import { beforeAll, describe, expect, it } from "vitest";
import { type ConfigOverrides, parseTrainConfig } from "../config.js";
import { TINY_CONFIGS, tinyInput } from "../testing/tiny-input.js";
import { popularityBias, randomItems } from "./initial-items.js";
import { Learner } from "./learner.js";
import { trainingSequences } from "./sequences.js";

let input: { readonly dataset: Dataset; readonly partitions: Partitions; readonly crowd: CrowdSet };

beforeAll(async () => {
  await useTensorBackend();
  input = await tinyInput();
});

function learner(config: ConfigOverrides): Learner {
  const { dataset, partitions, crowd } = input;
  const parsed = parseTrainConfig(config);
  return new Learner(parsed, {
    sequences: trainingSequences(dataset, partitions.train),
    items: randomItems(dataset.catalog.size, parsed.network.dim, parsed.seed),
    bias: popularityBias(dataset.catalog.popularity),
    crowd,
  });
}

/** Steps over epochs as often as it takes. */
function run(of: Learner, steps: number, onStep: (step: number) => void = () => undefined): void {
  let epoch = 0;
  for (let step = 0; step < steps; ) {
    const { steps: perEpoch } = of.beginEpoch(++epoch);
    for (let index = 0; index < perEpoch && step < steps; index++) {
      of.step(index, step);
      onStep(++step);
    }
  }
}

const dr = (network: object) => ({
  network: { model: "comirec-dr", dim: 8, maxHistory: 10, ...network },
  batchSize: 32,
});
const ldmi = (network: object) => ({
  ...TINY_CONFIGS.mixture,
  network: { ...TINY_CONFIGS.mixture.network, ...network },
});

/** Every model and objective that can be trained, and every choice that brings other kernels. */
const configs: Record<string, ConfigOverrides> = {
  ...TINY_CONFIGS,
  "comirec-dr, map per position": dr({ bilinear: "position" }),
  "comirec-dr, one map": dr({ bilinear: "shared", initialLogits: "noise" }),
  "no semantic side": ldmi({ maxClusters: 0 }),
  "gate, no alignment": ldmi({ fusion: "gate", align: "none" }),
  "gate, split by half": ldmi({ fusion: "gate", alignSplit: 0.5 }),
  "gate, sinkhorn": ldmi({ fusion: "gate", align: "sinkhorn" }),
  "concat, states": ldmi({ fusion: "concat", semanticSource: "states" }),
};

describe.each(Object.entries(configs))("a training step of %s", (name, config) => {
  // As many users and positions as it takes for one number each to be more than a trivial tensor.
  const wide = { ...config, batchSize: 128, ...(name.startsWith("comirec") ? {} : { positions: 10 }) };

  it.skipIf(native() === undefined)("leaves no kernel of any size to JavaScript, nor does serving", () => {
    const of = learner(wide);
    resetFallThroughs();
    run(of, 3);
    const { items, parameters, bias } = of.trainable;
    const model = new InterestModel(of.network, parameters, items, bias);
    const { log } = input.dataset;
    model.interests(
      Array.from({ length: 128 }, (_, user) => ({
        items: log.items.subarray(log.indptr[user]!, log.indptr[user + 1]!),
      })),
    );
    expect([...fallThroughs()]).toEqual([]);
  });

  it("keeps no tensor behind", () => {
    const of = learner(config);
    const before = tf.memory();
    run(of, 10);
    const { numTensors, numDataBuffers } = tf.memory();
    expect([numTensors, numDataBuffers]).toEqual([before.numTensors, before.numDataBuffers]);
  });
});

describe("ten thousand training steps", () => {
  it("hold no more memory than five thousand", () => {
    setFlagsFromString("--expose-gc");
    const collect: () => void = runInNewContext("gc");
    const held = () => {
      collect();
      const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
      return { rss, heapUsed, arrayBuffers, tensors: tf.memory().numTensors };
    };
    const of = learner({ network: { model: "comirec-dr", dim: 4, interests: 2, maxHistory: 4 }, batchSize: 4 });
    let early = held();
    run(of, 10_000, (step) => {
      if (step === 5000) early = held();
    });
    const late = held();
    expect(late.tensors).toBe(early.tensors);
    // What compiles late and pools that fill come to this; two kilobytes kept for each step would come to more.
    expect(late.heapUsed - early.heapUsed).toBeLessThan(8 * 2 ** 20);
    expect(late.arrayBuffers - early.arrayBuffers).toBeLessThan(8 * 2 ** 20);
    expect(late.rss - early.rss).toBeLessThan(64 * 2 ** 20);
  });
});
