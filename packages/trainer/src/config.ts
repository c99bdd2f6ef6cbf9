import { PrismrecError } from "@prismrec/core/base";
import type { Dataset } from "@prismrec/core/data";
import { comirecDrSchema, comirecSaSchema, ldmiSchema } from "@prismrec/core/models";
import { z } from "zod";
import { DEFAULT_CUTOFFS } from "./evaluation/cutoffs.js";

const optimizerSchema = z.strictObject({
  learningRate: z.number().positive().default(1e-3),
  weightDecay: z.number().min(0).default(0).describe("decoupled (AdamW)"),
  clipNorm: z.number().positive().default(5).describe("largest global gradient norm"),
});

const stoppingSchema = z.strictObject({
  epochs: z.int().min(1).default(200).describe("most epochs"),
  patience: z
    .int()
    .min(1)
    .default(4)
    .describe("epochs without a better validation recall + ndcg at the largest cut-off"),
  cutoffs: z
    .array(z.int().min(1))
    .min(1)
    .default([...DEFAULT_CUTOFFS])
    .describe("lengths at which validation lists are judged, below the catalog's size (half of it where none is)"),
});

const crowdSchema = z.strictObject({
  weight: z.number().min(0).default(1).describe("lambda_c of the crowd contrast; 0 switches it off"),
  temperature: z.number().positive().default(0.2).describe("tau of the crowd contrast"),
  users: z.int().min(1).default(16).describe("synthesized users per step"),
  warmup: z.int().min(0).default(0).describe("epochs without the extra losses"),
  ramp: z.int().min(1).default(2).describe("epochs over which their weights then grow to full"),
});

/** Recipe V: every position of a sequence predicts its next items under a softmax over the catalog. */
export const sequenceTrainingSchema = z.strictObject({
  network: ldmiSchema.prefault({}),
  seed: z.int().default(1),
  batchSize: z.int().min(1).default(64).describe("users per step"),
  positions: z.int().min(1).default(10).describe("P, random positions of each sequence that predict"),
  targets: z.int().min(1).default(5).describe("G, next items that each position predicts"),
  dropout: z.number().min(0).lt(1).default(0.3),
  semanticDropout: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe("share of training users whose clusters a step hides, so that serving without clusters is learned too"),
  initialItems: z.enum(["svd", "random"]).default("svd").describe("truncated SVD of PPMI co-occurrence, or noise"),
  maskPrefix: z.boolean().default(true).describe("take the visible prefix out of the softmax"),
  fullSoftmaxItems: z.int().min(1).default(20_000).describe("largest catalog under the full softmax"),
  negatives: z.int().min(1).default(2048).describe("log-uniform candidates per step beyond that"),
  optimizer: optimizerSchema.prefault({}),
  stopping: stoppingSchema.prefault({}),
  alignment: z
    .strictObject({
      weight: z.number().min(0).default(0.1).describe("lambda_a of the alignment loss (aligned fusions)"),
      temperature: z.number().positive().default(0.1),
    })
    .prefault({}),
  crowd: crowdSchema.prefault({}),
});

/** The classic recipe: one random cut per user and step, sampled softmax on the best interest. */
export const cutTrainingSchema = z.strictObject({
  network: z.union([comirecSaSchema, comirecDrSchema]),
  seed: z.int().default(1),
  batchSize: z.int().min(1).default(256),
  minHistory: z.int().min(1).default(1).describe("fewest events before a cut; the original used 4"),
  negativesPerUser: z.int().min(1).default(10).describe("shared candidates per user of the batch"),
  logQ: z.boolean().default(true).describe("take the log of a candidate's expected count off its logit"),
  optimizer: optimizerSchema.prefault({}),
  stopping: stoppingSchema.prefault({ patience: 10 }),
});

export const trainConfigSchema = z.union([sequenceTrainingSchema, cutTrainingSchema]);

export type SequenceTrainingConfig = z.infer<typeof sequenceTrainingSchema>;
export type CutTrainingConfig = z.infer<typeof cutTrainingSchema>;
export type TrainConfig = SequenceTrainingConfig | CutTrainingConfig;

export type TrainableModel = TrainConfig["network"]["model"];
export const TRAINABLE_MODELS = ["ldmi", "comirec-sa", "comirec-dr"] as const satisfies readonly TrainableModel[];

export function isSequenceTraining(config: TrainConfig): config is SequenceTrainingConfig {
  return config.network.model === "ldmi";
}

/** Named settings over the defaults. */
export const PRESETS = {
  /** Recipe V, for histories of ten events and more. */
  "recipe-v": {
    network: { model: "ldmi", maxHistory: 50, layers: 2 },
    batchSize: 64,
    positions: 10,
    targets: 5,
  },
  /** The same for sparse, short histories. */
  "sparse-short": {
    network: { model: "ldmi", maxHistory: 20, layers: 1 },
    batchSize: 128,
    positions: 4,
    targets: 3,
  },
  "comirec-sa": { network: { model: "comirec-sa" } },
  "comirec-dr": { network: { model: "comirec-dr" }, optimizer: { learningRate: 5e-3 } },
} as const;

export type PresetName = keyof typeof PRESETS;

const SHORT_MEDIAN = 10;

/** The preset for a model on that data: for `ldmi` by the median length of the training histories. */
export function presetFor(model: TrainableModel, dataset: Dataset): PresetName {
  if (model !== "ldmi") return model;
  const lengths = dataset.split.train.ends.slice().sort();
  return (lengths[lengths.length >> 1] ?? 0) < SHORT_MEDIAN ? "sparse-short" : "recipe-v";
}

/** Settings over a preset; nested objects are merged member by member. */
export interface ConfigOverrides {
  readonly [key: string]: unknown;
}

/**
 * The resolved configuration of a model on a dataset: preset, then overrides.
 *
 * @throws PrismrecError CONFIG_INVALID naming every setting that is wrong
 */
export function defaultTrainConfig(
  model: TrainableModel,
  dataset: Dataset,
  overrides: ConfigOverrides = {},
): TrainConfig {
  return parseTrainConfig(merge(PRESETS[presetFor(model, dataset)], overrides));
}

/** @throws PrismrecError CONFIG_INVALID naming every setting that is wrong */
export function parseTrainConfig(value: unknown): TrainConfig {
  const model = modelOf(value);
  const parsed = (model === "ldmi" ? sequenceTrainingSchema : cutTrainingSchema).safeParse(value);
  if (parsed.success) return parsed.data;
  throw new PrismrecError("CONFIG_INVALID", `the training configuration of ${model} is not valid`, {
    received: z.prettifyError(parsed.error),
    hint: "docs/reference/training.md lists every setting with its default.",
  });
}

function modelOf(value: unknown): TrainableModel {
  const network = isRecord(value) ? value.network : undefined;
  const model = isRecord(network) ? (network.model ?? "ldmi") : "ldmi";
  const known = TRAINABLE_MODELS.find((name) => name === model);
  if (known !== undefined) return known;
  throw new PrismrecError("CONFIG_INVALID", "there is no trainable model of that name", {
    expected: TRAINABLE_MODELS.join(", "),
    received: String(model),
  });
}

function merge(base: unknown, over: unknown): unknown {
  if (!isRecord(base) || !isRecord(over)) return over === undefined ? base : over;
  const merged: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(over)) merged[key] = merge(base[key], value);
  return merged;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
