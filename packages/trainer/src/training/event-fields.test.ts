import { createRandom } from "@prismrec/core/base";
import { createCatalog, createLog, type Dataset, textColumn } from "@prismrec/core/data";
import { type NetworkDefinition, registerModel } from "@prismrec/core/models";
import {
  bestInterestTerm,
  everyInterest,
  type InterestNetwork,
  identity,
  linear,
  linearSpecs,
  type NetworkOutput,
  type ParameterTensors,
  type SequenceBatch,
  softmaxTerm,
  tf,
} from "@prismrec/core/nn";
import { beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { defaultTrainConfig } from "../config.js";
import { evaluate } from "../evaluation/evaluate.js";
import { TemporaryFolder } from "../testing/tiny-input.js";
import { CutBatches } from "./batches/cuts.js";
import { PositionBatches } from "./batches/positions.js";
import { RunSeeds } from "./seeds.js";
import { trainingSequences } from "./sequences.js";
import { train } from "./train.js";

const ITEMS = 24;
const KINDS = ["view", "cart", "buy"];

/** Users who look at anything and buy from one of two halves of the catalog; the target is always a purchase. */
function shop(users: number): Dataset {
  const random = createRandom(3);
  const rows = Array.from({ length: users }, (_, u) => {
    const half = u % 2;
    const events = Array.from({ length: 9 }, (_, n) => {
      const buys = n % 3 === 2;
      return {
        item: buys ? 1 + 12 * half + random.integer(0, 12) : random.integer(1, ITEMS + 1),
        kind: buys ? "buy" : KINDS[random.integer(0, 2)]!,
        weight: n / 2,
      };
    });
    const old = new Set(events.map(({ item }) => item));
    let next = 1 + 12 * half + random.integer(0, 12);
    while (old.has(next)) next = 1 + 12 * half + (next % 12);
    return [...events, { item: next, kind: "buy", weight: 1 }];
  });
  const events = rows.flat();
  const popularity = new Uint32Array(ITEMS + 1);
  for (const { item } of events) popularity[item]!++;
  const items = Array.from({ length: ITEMS + 1 }, (_, id) => ({
    id: id === 0 ? "" : `i${id}`,
    title: "",
    categories: [],
  }));
  const part = (from: number, to: number) => {
    const own = Uint32Array.from({ length: to - from }, (_, i) => from + i);
    return { users: own, historyEnds: own.map(() => 9), targetEnds: own.map(() => 10) };
  };
  const training = Uint32Array.from({ length: users - 40 }, (_, u) => u);
  return {
    fingerprint: "a shop",
    catalog: createCatalog(items, popularity),
    log: createLog({
      userIds: rows.map((_, u) => `u${u}`),
      indptr: Uint32Array.from({ length: users + 1 }, (_, u) => 10 * u),
      items: Uint32Array.from(events, ({ item }) => item),
      timestamps: BigInt64Array.from(events, (_, n) => BigInt(1000 + n)),
      behaviours: textColumn(events.map(({ kind }) => kind)),
      weights: Float32Array.from(events, ({ weight }) => weight),
    }),
    split: {
      protocol: "user-disjoint",
      train: { users: training, ends: training.map(() => 10) },
      valid: part(users - 40, users - 20),
      test: part(users - 20, users),
    },
  };
}

const schema = z.strictObject({
  model: z.literal("buys-only").default("buys-only"),
  dim: z.int().default(8),
  maxHistory: z.int().default(20),
  behaviours: z.array(z.string()).default([""]),
});

/** The mean of what was bought, whatever else was looked at. */
class BuysOnly implements InterestNetwork {
  readonly name = "buys-only";
  readonly readout = "max";
  readonly hasItemBias = false;
  readonly maxClusters = 0;
  readonly eventFields = ["behaviour", "time", "weight"] as const;
  readonly dim: number;
  readonly maxHistory: number;
  readonly behaviours: readonly string[];

  constructor({ dim, maxHistory, behaviours }: z.infer<typeof schema>) {
    this.dim = dim;
    this.maxHistory = maxHistory;
    this.behaviours = behaviours;
  }

  specs() {
    return linearSpecs("map", this.dim, this.dim, { weight: identity, bias: false });
  }

  forward(tensors: ParameterTensors, embedded: tf.Tensor3D, batch: SequenceBatch): NetworkOutput {
    const { size, length, positionCount, positions, lengths, fields } = batch;
    const buy = this.behaviours.indexOf("buy");
    const weights = new Float32Array(size * positionCount * length);
    for (let p = 0; p < positions.length; p++) {
      const b = Math.floor(p / positionCount);
      for (let t = Math.max(0, positions[p]!); t < lengths[b]!; t++) {
        weights[p * length + t] = fields?.behaviours?.[b * length + t] === buy ? 1 : 1e-3;
      }
    }
    const attention = tf.tensor3d(weights, [size, positionCount, length]);
    const vectors = linear(tensors, "map", tf.matMul(attention, embedded));
    return {
      vectors: tf.reshape(vectors, [size, positionCount, 1, this.dim]),
      present: everyInterest(batch, 1),
      attention,
      collaborative: 1,
    };
  }
}

const definition = (name: string, batches: "positions" | "cuts"): NetworkDefinition<z.infer<typeof schema>> => ({
  kind: "network",
  name,
  paper: "a toy",
  config: schema.extend({ model: z.literal(name as "buys-only").default(name as "buys-only") }),
  fromData: ({ log }) => ({ behaviours: [...(log.behaviours?.dictionary ?? [""])] }),
  create: (config) => new BuysOnly(config),
  recipe: {
    batches,
    terms: [batches === "positions" ? softmaxTerm : bestInterestTerm],
    presets: [{ name, settings: { optimizer: { learningRate: 0.02 }, stopping: { epochs: 6 } } }],
  },
});

describe("fields of events", () => {
  const dataset = shop(160);
  const network = new BuysOnly(schema.parse({ behaviours: ["", "buy", "view"] }));
  beforeAll(() => {
    registerModel(definition("buys-by-position", "positions"));
    registerModel(definition("buys-by-cut", "cuts"));
  });

  it.each(["positions", "cuts"] as const)(
    "stand beside their items in batches of %s, in the network's own codes",
    (kind) => {
      const sequences = trainingSequences(dataset, undefined, network);
      const config = defaultTrainConfig(`buys-by-${kind === "cuts" ? "cut" : "position"}`, dataset);
      const source = new (kind === "cuts" ? CutBatches : PositionBatches)(
        config as never,
        network,
        sequences,
        ITEMS,
        new RunSeeds(1),
      );
      source.beginEpoch(1);
      const { batch } = source.draw(0, createRandom(2));
      const { log } = dataset;
      const { behaviours, times, weights } = batch.fields!;
      for (let b = 0; b < batch.size; b++) {
        for (let t = 0; t < batch.length; t++) {
          const at = b * batch.length + t;
          if (t >= batch.lengths[b]!) {
            expect([behaviours![at], times![at], weights![at]]).toEqual([0, Number.NaN, Number.NaN]);
            continue;
          }
          const event = times![at]! - 1000;
          expect(log.items[event]).toBe(batch.items[at]);
          expect(weights![at]).toBe(log.weights![event]);
          const kind = log.behaviours!.dictionary[log.behaviours!.codes[event]!]!;
          expect(behaviours![at]).toBe(Math.max(0, ["", "buy", "view"].indexOf(kind)));
        }
      }
    },
  );

  it.each(["buys-by-position", "buys-by-cut"])(
    "are read in training, in evaluation and when serving (%s)",
    async (name) => {
      await using folder = await TemporaryFolder.create();
      const config = defaultTrainConfig(name, dataset);
      expect(config.network).toMatchObject({ behaviours: dataset.log.behaviours!.dictionary });
      const { model } = await train({ dataset }, config, { dir: folder.path });
      const { metrics } = await evaluate(model, dataset, { part: "test", metrics: ["recall@12"] });
      const { behaviours: _, ...log } = dataset.log;
      const blind = await evaluate(model, { ...dataset, log }, { part: "test", metrics: ["recall@12"] });
      expect(metrics["recall@12"]).toBeGreaterThan(blind.metrics["recall@12"]!);

      const items = Uint32Array.of(3, 20, 7);
      const bought = model.interests([{ items, events: textColumn(["buy", "view", "cart"]) }]).vectors.data;
      // Another dictionary for the same kinds.
      const reordered = {
        kind: "text" as const,
        codes: Uint32Array.of(2, 1, 3),
        dictionary: ["", "view", "buy", "cart"],
      };
      const again = model.interests([{ items, events: reordered }]).vectors.data;
      const other = model.interests([{ items, events: textColumn(["view", "buy", "cart"]) }]).vectors.data;
      expect(again).toEqual(bought);
      expect(other).not.toEqual(bought);
    },
  );
});
