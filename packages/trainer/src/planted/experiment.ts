import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PrismrecError, type RunOptions } from "@prismrec/core/base";
import type { CrowdSet, Dataset } from "@prismrec/core/data";
import { type Clusterer, type Partitions, partitionDataset, ShuffledClusterer } from "@prismrec/core/interests";
import { DEFAULT_MODEL } from "@prismrec/core/models";
import { type ConfigOverrides, defaultTrainConfig } from "../config.js";
import type { CrowdConfigInput } from "../crowd/config.js";
import { crowdRequests, crowdSet, type SynthesizedCrowd, synthesizeCrowd } from "../crowd/crowd.js";
import type { ModelDiagnostics } from "../evaluation/diagnostics.js";
import { evaluate } from "../evaluation/evaluate.js";
import { train } from "../training/train.js";
import { type PlantedConfig, plantedData, TruthClusterer } from "./planted-data.js";

/** What each arm is given; everything else is the same. `none`: the part stays out. */
const ARMS = {
  base: { partitions: "none", crowd: "none" },
  mixture: { partitions: "true", crowd: "none" },
  "mixture-shuffled": { partitions: "shuffled", crowd: "none" },
  contrast: { partitions: "none", crowd: "true" },
  "contrast-shuffled": { partitions: "none", crowd: "shuffled" },
  "mixture+contrast": { partitions: "true", crowd: "true" },
} as const satisfies Record<string, { readonly partitions: Labels; readonly crowd: Labels }>;

type Labels = "none" | "true" | "shuffled";

export type PlantedArm = keyof typeof ARMS;
export const PLANTED_ARMS = [
  "base",
  "mixture",
  "mixture-shuffled",
  "contrast",
  "contrast-shuffled",
  "mixture+contrast",
] as const satisfies readonly PlantedArm[];

/** Which arms are compared, where both of them run. */
const PAIRS: readonly (readonly [PlantedArm, PlantedArm])[] = [
  ["mixture", "mixture-shuffled"],
  ["contrast", "contrast-shuffled"],
  ["mixture", "base"],
  ["contrast", "base"],
  ["mixture+contrast", "mixture"],
];

export const PLANTED_METRICS = ["recall@20", "ndcg@20", "recall@50", "ndcg@50"] as const;
export type PlantedMetric = (typeof PLANTED_METRICS)[number];

export interface PlantedExperimentOptions extends RunOptions {
  /** Default: all of them. */
  readonly arms?: readonly PlantedArm[];
  /** Seeds of training and of the shuffling; default 1. The data set's own seed is `data.seed`. */
  readonly seeds?: readonly number[];
  readonly data?: Partial<PlantedConfig>;
  /** Training settings over the preset that fits the data. */
  readonly config?: ConfigOverrides;
  readonly crowd?: CrowdConfigInput;
}

/** One trained model, judged on the test part. */
export interface PlantedRun {
  readonly arm: PlantedArm;
  readonly seed: number;
  /** Means over test users, fractions. */
  readonly metrics: Readonly<Record<PlantedMetric, number>>;
  readonly diagnostics: ModelDiagnostics;
  readonly epochs: number;
  readonly bestEpoch: number;
  readonly steps: number;
  /** Wall time of training, validation included. */
  readonly seconds: number;
}

/** How much better one arm is than another on the same users. */
export interface PairedGain {
  /** Mean over test users of the difference, averaged over seeds. */
  readonly mean: number;
  /** Standard error over users of that mean. */
  readonly userError: number;
  /** Standard error over seeds; absent with one seed. */
  readonly seedError?: number;
  /** The difference of each seed, in the order of `seeds`. */
  readonly bySeed: readonly number[];
}

export interface PlantedPair {
  readonly better: PlantedArm;
  readonly than: PlantedArm;
  readonly gains: Readonly<Record<PlantedMetric, PairedGain>>;
}

export interface PlantedResult {
  readonly data: {
    readonly users: number;
    readonly items: number;
    readonly interests: number;
    readonly testUsers: number;
    readonly synthesizedUsers: number;
  };
  readonly seeds: readonly number[];
  readonly runs: readonly PlantedRun[];
  readonly pairs: readonly PlantedPair[];
}

type PerUser = Readonly<Record<PlantedMetric, Float64Array>>;

/**
 * Trains `ldmi` on data whose interests are known, with and without true partitions, and measures whether each
 * semantic part beats its shuffled twin: the same cluster sizes, members permuted inside each (synthesized) user.
 *
 * @throws PrismrecError INVALID_ARGUMENT for no arms or seeds, and what `train` throws; an abort rejects with its reason
 */
export async function plantedExperiment(options: PlantedExperimentOptions = {}): Promise<PlantedResult> {
  const { arms = PLANTED_ARMS, seeds = [1], signal, onProgress } = options;
  if (arms.length === 0 || seeds.length === 0) {
    throw new PrismrecError("INVALID_ARGUMENT", "an experiment needs arms and seeds", {
      expected: "at least one of each",
      received: `${arms.length} arms, ${seeds.length} seeds`,
    });
  }
  const { dataset, truth } = plantedData(options.data);
  const stop = signal === undefined ? {} : { signal };
  const crowd = await synthesizeCrowd(dataset, options.crowd, stop);
  const folder = await mkdtemp(join(tmpdir(), "prismrec-planted-"));
  const runs: PlantedRun[] = [];
  const values = new Map<string, PerUser>();
  try {
    for (const seed of seeds) {
      for (const arm of arms) {
        const note = (text: string) =>
          onProgress?.({
            stage: "planted",
            done: runs.length,
            total: arms.length * seeds.length,
            unit: "runs",
            note: `${arm}, seed ${seed}${text}`,
          });
        note("");
        const input = await inputOf(arm, dataset, crowd, new TruthClusterer(truth), seed);
        const { run, perUser } = await trainArm(arm, seed, input, options, join(folder, `${arm}-${seed}`), note);
        note(`, test recall@50 ${percent(run.metrics["recall@50"])}`);
        runs.push(run);
        values.set(`${arm}/${seed}`, perUser);
      }
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  const { catalog, log, split } = dataset;
  return {
    data: {
      users: log.userCount,
      items: catalog.size,
      interests: new Set(truth.subarray(1)).size,
      testUsers: split.test.users.length,
      synthesizedUsers: crowd.members.length,
    },
    seeds,
    runs,
    pairs: PAIRS.filter((pair) => pair.every((arm) => arms.includes(arm))).map(([better, than]) => ({
      better,
      than,
      gains: byMetric((metric) =>
        pairedGain(
          seeds.map((seed) => values.get(`${better}/${seed}`)![metric]),
          seeds.map((seed) => values.get(`${than}/${seed}`)![metric]),
        ),
      ),
    })),
  };
}

interface ArmInput {
  readonly dataset: Dataset;
  readonly partitions?: Partitions;
  readonly crowd?: CrowdSet;
}

async function inputOf(
  arm: PlantedArm,
  dataset: Dataset,
  crowd: SynthesizedCrowd,
  truth: TruthClusterer,
  seed: number,
): Promise<ArmInput> {
  const clusterer = (labels: Labels): Clusterer => (labels === "true" ? truth : new ShuffledClusterer(truth, seed));
  const given = ARMS[arm];
  return {
    dataset,
    ...(given.partitions === "none"
      ? {}
      : { partitions: await partitionDataset(dataset, clusterer(given.partitions)) }),
    ...(given.crowd === "none"
      ? {}
      : { crowd: crowdSet(crowd, await clusterer(given.crowd).partition(crowdRequests(crowd))) }),
  };
}

async function trainArm(
  arm: PlantedArm,
  seed: number,
  input: ArmInput,
  { signal, config: overrides }: PlantedExperimentOptions,
  dir: string,
  note: (text: string) => void,
): Promise<{ readonly run: PlantedRun; readonly perUser: PerUser }> {
  const started = performance.now();
  const config = defaultTrainConfig(DEFAULT_MODEL, input.dataset, { ...overrides, seed });
  const stop = signal === undefined ? {} : { signal };
  const trained = await train(input, config, {
    dir,
    ...stop,
    onEvent: (event) => {
      if (event.type !== "epoch") return;
      note(`, epoch ${event.epoch}, validation recall@50 ${percent(event.metrics["recall@50"] ?? 0)}`);
    },
  });
  signal?.throwIfAborted();
  const seconds = (performance.now() - started) / 1000;
  using model = trained.model;
  const partition = input.partitions?.test;
  const evaluation = await evaluate(model, input.dataset, {
    part: "test",
    metrics: PLANTED_METRICS,
    ...(partition === undefined ? {} : { partition }),
    ...stop,
  });
  return {
    run: {
      arm,
      seed,
      metrics: byMetric((metric) => evaluation.metrics[metric]!),
      diagnostics: evaluation.diagnostics!,
      epochs: trained.curve.length,
      bestEpoch: trained.bestEpoch,
      steps: trained.steps,
      seconds,
    },
    perUser: byMetric((metric) => evaluation.perUser[metric]!),
  };
}

/**
 * Gain of `better` over `than`, user by user.
 *
 * @param better [seeds][users] a metric of each user, in the same order as in `than`
 */
export function pairedGain(better: readonly Float64Array[], than: readonly Float64Array[]): PairedGain {
  const users = better[0]!.length;
  const difference = new Float64Array(users);
  const bySeed = better.map((values, s) => {
    let sum = 0;
    values.forEach((value, u) => {
      sum += value - than[s]![u]!;
      difference[u]! += (value - than[s]![u]!) / better.length;
    });
    return sum / users;
  });
  return {
    mean: meanOf(bySeed),
    userError: standardError(difference),
    ...(bySeed.length > 1 ? { seedError: standardError(bySeed) } : {}),
    bySeed,
  };
}

function percent(fraction: number): string {
  return (100 * fraction).toFixed(2);
}

function meanOf(values: ArrayLike<number>): number {
  return Array.from(values).reduce((sum, value) => sum + value, 0) / values.length;
}

/** Of the mean, from the sample deviation. */
function standardError(values: ArrayLike<number>): number {
  const mean = meanOf(values);
  const squares = Array.from(values).reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return Math.sqrt(squares / (values.length - 1) / values.length);
}

function byMetric<T>(of: (metric: PlantedMetric) => T): Record<PlantedMetric, T> {
  return {
    "recall@20": of("recall@20"),
    "ndcg@20": of("ndcg@20"),
    "recall@50": of("recall@50"),
    "ndcg@50": of("ndcg@50"),
  };
}
