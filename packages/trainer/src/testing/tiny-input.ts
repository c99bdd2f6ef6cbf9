import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CrowdSet, Dataset } from "@prismrec/core/data";
import { type Partitions, partitionDataset } from "@prismrec/core/interests";
import { type ConfigOverrides, parseTrainConfig, type TrainConfig } from "../config.js";
import { crowdRequests, crowdSet, synthesizeCrowd } from "../crowd/crowd.js";
import { type PlantedData, plantedData, TruthClusterer } from "../planted/planted-data.js";

/** Planted data of a size that trains in well under a second, with true partitions and a crowd. For tests only. */
export async function tinyInput(seed = 1): Promise<{
  readonly dataset: Dataset;
  readonly partitions: Partitions;
  readonly crowd: CrowdSet;
  readonly truth: PlantedData["truth"];
}> {
  const { dataset, truth } = plantedData({ users: 160, items: 60, interests: 4, medianLength: 8, seed });
  const clusterer = new TruthClusterer(truth);
  const crowd = await synthesizeCrowd(dataset, { neighbours: 16, edgesPerUser: 6, share: 0.2 });
  return {
    dataset,
    truth,
    partitions: await partitionDataset(dataset, clusterer),
    crowd: crowdSet(crowd, await clusterer.partition(crowdRequests(crowd))),
  };
}

const LDMI = {
  network: { model: "ldmi", dim: 8, interests: 2, maxHistory: 10, layers: 1 },
  batchSize: 32,
  positions: 3,
  targets: 2,
  stopping: { epochs: 2 },
  crowd: { users: 4 },
};

const CUT = { batchSize: 32, stopping: { epochs: 2 } };

/** One small configuration for each way to train. For tests only. */
export const TINY_CONFIGS = {
  mixture: LDMI,
  "mixture, sampled softmax": { ...LDMI, fullSoftmaxItems: 1, negatives: 24, semanticDropout: 0.3 },
  gate: { ...LDMI, network: { ...LDMI.network, fusion: "gate" } },
  add: { ...LDMI, network: { ...LDMI.network, fusion: "add", align: "sinkhorn", semanticSource: "states" } },
  concat: { ...LDMI, network: { ...LDMI.network, fusion: "concat", align: "hard" } },
  "comirec-sa": { ...CUT, network: { model: "comirec-sa", dim: 8, maxHistory: 10 } },
  "comirec-dr": { ...CUT, network: { model: "comirec-dr", dim: 8, maxHistory: 10 } },
} as const satisfies Record<string, ConfigOverrides>;

export type TinyConfigName = keyof typeof TINY_CONFIGS;
export const TINY_CONFIG_NAMES = [
  "mixture",
  "mixture, sampled softmax",
  "gate",
  "add",
  "concat",
  "comirec-sa",
  "comirec-dr",
] as const satisfies readonly TinyConfigName[];

export function tinyConfig(name: TinyConfigName, overrides: ConfigOverrides = {}): TrainConfig {
  return parseTrainConfig({ ...TINY_CONFIGS[name], ...overrides });
}

/** A folder that goes away with the test. */
export class TemporaryFolder implements AsyncDisposable {
  private constructor(readonly path: string) {}

  static async create(): Promise<TemporaryFolder> {
    return new TemporaryFolder(await mkdtemp(join(tmpdir(), "prismrec-trainer-")));
  }

  in(...parts: string[]): string {
    return join(this.path, ...parts);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }
}
