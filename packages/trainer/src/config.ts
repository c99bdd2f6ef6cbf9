import { PrismrecError } from "@prismrec/core/base";
import { type Dataset, minuteOf } from "@prismrec/core/data";
import {
  DEFAULT_MODEL,
  isNetwork,
  MODELS,
  type NetworkDefinition,
  type NetworkShape,
  networkNamed,
  type Preset,
  type SettingsRecord,
  type TrainingShape,
} from "@prismrec/core/models";
import { z } from "zod";
import { DEFAULT_CUTOFFS } from "./evaluation/cutoffs.js";
import { basketsNeedTimes, readsBaskets } from "./training/batches/epoch-order.js";

const optimizerSchema = z.strictObject({
  learningRate: z.number().positive().default(1e-3),
  weightDecay: z.number().min(0).default(0).describe("decoupled (AdamW)"),
  clipNorm: z.number().positive().default(5).describe("largest global gradient norm"),
});

const patience = z
  .int()
  .min(1)
  .describe(
    "epochs without a better validation recall + ndcg at the largest cut-off; where few users make an epoch short, as many " +
      "as make 100 steps unless another number is given",
  );
/** What patience comes to at least, in steps: an epoch of few users is too short to tell that training has ended. */
const LEAST_PATIENCE = 100;

const stoppingSchema = z.strictObject({
  epochs: z.int().min(1).default(200).describe("most epochs"),
  patience: patience.default(4),
  cutoffs: z
    .array(z.int().min(1))
    .min(1)
    .default([...DEFAULT_CUTOFFS])
    .describe("lengths at which validation lists are judged, below the catalog's size (half of it where none is)"),
});

/** Which item vectors the network reads and is scored against; absent: a vector of its own for every item. */
const towerSchema = z
  .enum(["id", "text", "sum"])
  .optional()
  .describe("item vectors: learned ones (id, the default), a linear map of given ones (text), or their sum");

/** In which order an epoch reads a sequence. */
const orderSchema = z
  .enum(["given", "permuted", "baskets"])
  .optional()
  .describe(
    "of a sequence's events: as they stand; permuted anew each epoch, as sets; or permuted inside baskets alone, events each " +
      "within a minute of the one before (default: permuted where the data have no order, else given)",
  );
export type SequenceOrder = NonNullable<z.infer<typeof orderSchema>>;

const deviceSchema = z
  .enum(["cpu", "cuda", "auto"])
  .optional()
  .describe(
    "where losses and the search for validation run: the processor (cpu, the default), a GPU (cuda; an error where none can be " +
      "used), or a GPU where there is one (auto)",
  );

/** Settings of a recipe that learns from positions: every position of a sequence predicts its next items. */
const positionsShape = {
  seed: z.int().default(1),
  batchSize: z.int().min(1).default(64).describe("users per step"),
  positions: z.int().min(1).default(10).describe("P, random positions of each sequence that predict"),
  targets: z.int().min(1).default(5).describe("G, next items that each position predicts"),
  order: orderSchema,
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
  tower: towerSchema,
  device: deviceSchema,
  optimizer: optimizerSchema.prefault({}),
  stopping: stoppingSchema.prefault({}),
};

/** Settings of a recipe that learns from cuts: one random cut per user and step, its next item among candidates. */
const cutsShape = {
  seed: z.int().default(1),
  batchSize: z.int().min(1).default(256),
  minHistory: z.int().min(1).default(1).describe("fewest events before a cut; the original used 4"),
  negativesPerUser: z.int().min(1).default(10).describe("shared candidates per user of the batch"),
  candidates: z
    .enum(["log-uniform", "uniform"])
    .default("log-uniform")
    .describe("how candidates are drawn: the more popular the likelier, or all alike"),
  logQ: z.boolean().default(true).describe("take the log of a candidate's expected count off its logit"),
  tower: towerSchema,
  device: deviceSchema,
  optimizer: optimizerSchema.prefault({}),
  stopping: stoppingSchema.extend({ patience: patience.default(10) }).prefault({}),
};

type Shape<T extends z.ZodRawShape> = z.infer<z.ZodObject<T>>;

/** Settings of the terms, by the name of each: what the recipe's terms declare. */
export interface TermSettings {
  readonly [term: string]: unknown;
}

export type PositionsConfig = Shape<typeof positionsShape> & { readonly network: NetworkShape } & TermSettings;
export type CutsConfig = Shape<typeof cutsShape> & { readonly network: NetworkShape } & TermSettings;
/** The whole configuration of a training, every default filled in. */
export type TrainConfig = PositionsConfig | CutsConfig;

/** Every model that is trained, by name; those that a program has registered too. */
export function trainableModels(): string[] {
  return MODELS.filter(isNetwork).map(({ name }) => name);
}

export function definitionOf(config: TrainConfig): NetworkDefinition {
  return networkNamed(config.network.model);
}

export function learnsFromPositions(config: TrainConfig): config is PositionsConfig {
  return definitionOf(config).recipe.batches === "positions";
}

const schemas = new Map<string, z.ZodType<TrainConfig>>();

/**
 * The schema of a network's training configuration: its architecture, the settings of its kind of batches, and those
 * of each term of its recipe.
 */
export function trainingSchema({ name, config, recipe }: NetworkDefinition): z.ZodType<TrainConfig> {
  let schema = schemas.get(name);
  if (schema === undefined) {
    const own = recipe.batches === "positions" ? positionsShape : cutsShape;
    const terms = recipe.terms.flatMap((term) => (term.settings === undefined ? [] : [[term.name, term.settings]]));
    // Which terms there are is only known at run time. The schema of the network fills in what an empty object lacks.
    const shape = { network: config.prefault({} as never), ...own, ...Object.fromEntries(terms) };
    schema = z.strictObject(shape) as unknown as z.ZodType<TrainConfig>;
    schemas.set(name, schema);
  }
  return schema;
}

/** What presets are chosen by, of a dataset's training part. */
export function trainingShape({ log, split: { train } }: Dataset): TrainingShape {
  const lengths = train.ends.slice().sort();
  return {
    medianLength: lengths[lengths.length >> 1] ?? 0,
    // Read by few, and a pass over all events.
    get withinMinute() {
      return withinMinute(log, train);
    },
  };
}

function withinMinute({ indptr, timestamps }: Dataset["log"], { users, ends }: Dataset["split"]["train"]): number {
  if (timestamps === undefined) return 0;
  const minute = minuteOf(timestamps);
  let [near, all] = [0, 0];
  users.forEach((user, r) => {
    const first = indptr[user]!;
    for (let at = first + 1; at < first + ends[r]!; at++) {
      all++;
      if (timestamps[at]! - timestamps[at - 1]! <= minute) near++;
    }
  });
  return all === 0 ? 0 : near / all;
}

/** The preset of a network for data of that shape. */
export function presetFor({ recipe }: NetworkDefinition, data: TrainingShape): Preset | undefined {
  return recipe.presets.find(({ fits }) => fits?.(data) ?? true);
}

/** Settings over a preset; nested objects are merged member by member. */
export interface ConfigOverrides {
  readonly [key: string]: unknown;
}

/**
 * The resolved configuration of a model on a dataset: preset, then what the data decide, then overrides.
 *
 * @throws PrismrecError CONFIG_INVALID naming every setting that is wrong, or for a model that is not trained; for
 *   baskets in data without times
 */
export function defaultTrainConfig(model: string, dataset: Dataset, overrides: ConfigOverrides = {}): TrainConfig {
  const definition = networkNamed(model);
  const preset = presetFor(definition, trainingShape(dataset));
  const network = definition.fromData?.(dataset);
  const permuted = dataset.log.unordered === true && definition.recipe.batches === "positions";
  const ofData = { ...(network === undefined ? {} : { network }), ...(permuted ? { order: "permuted" } : {}) };
  const settings = mergeSettings(mergeSettings(presetSettings(definition, preset), ofData), overrides);
  const config = parseTrainConfig(settings);
  if (readsBaskets(config) && dataset.log.timestamps === undefined) throw basketsNeedTimes();
  const { stopping } = settings;
  if (isRecord(stopping) && stopping.patience !== undefined) return config;
  return { ...config, stopping: { ...config.stopping, patience: patienceFor(config, dataset) } };
}

function patienceFor({ batchSize, stopping }: TrainConfig, { split }: Dataset): number {
  const users = split.train.ends.filter((end) => end >= 2).length;
  return Math.max(stopping.patience, Math.ceil(LEAST_PATIENCE / Math.max(1, Math.ceil(users / batchSize))));
}

/** A preset with the model that it is of. */
export function presetSettings({ name }: NetworkDefinition, preset: Preset | undefined): SettingsRecord {
  return mergeSettings({ network: { model: name } }, preset?.settings ?? {});
}

/** @throws PrismrecError CONFIG_INVALID naming every setting that is wrong */
export function parseTrainConfig(value: unknown): TrainConfig {
  const network = isRecord(value) ? value.network : undefined;
  const model = isRecord(network) ? (network.model ?? DEFAULT_MODEL) : DEFAULT_MODEL;
  const definition = networkNamed(String(model));
  const parsed = trainingSchema(definition).safeParse(value);
  if (parsed.success) return parsed.data;
  throw new PrismrecError("CONFIG_INVALID", `the training configuration of ${definition.name} is not valid`, {
    received: z.prettifyError(parsed.error),
    hint: "docs/reference/training.md lists every setting with its default.",
  });
}

/**
 * What is wrong with settings of a model whatever the data: undefined where one of its presets goes with them, since
 * which one fits is known once the data are.
 */
export function trainingFault(definition: NetworkDefinition, overrides: ConfigOverrides): z.ZodError | undefined {
  const schema = trainingSchema(definition);
  const parsed = definition.recipe.presets.map((preset) =>
    schema.safeParse(mergeSettings(presetSettings(definition, preset), overrides)),
  );
  return parsed.some(({ success }) => success) ? undefined : parsed[0]?.error;
}

/** Settings over others, nested objects member by member. */
export function mergeSettings(base: SettingsRecord, over: SettingsRecord): SettingsRecord {
  const merged: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const former = merged[key];
    if (value === undefined && former !== undefined) continue;
    merged[key] = isRecord(former) && isRecord(value) ? mergeSettings(former, value) : value;
  }
  return merged;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
