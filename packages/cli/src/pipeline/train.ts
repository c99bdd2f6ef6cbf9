import { cp } from "node:fs/promises";
import { join } from "node:path";
import { PrismrecError } from "@prismrec/core/base";
import type { Model } from "@prismrec/core/models";
import type { TrainInput } from "@prismrec/trainer";
import { z } from "zod";
import { mergeSettings, type RawSettings } from "../config/load.js";
import { settingsSchema } from "../config/schema.js";
import { clusterStage } from "./cluster.js";
import { crowdStage } from "./crowd.js";
import { importStage } from "./import.js";
import { formerFile, readFormer } from "./lineage.js";
import { type ModelConfig, type ModelEntry, type ModelSettings, modelOf } from "./models.js";
import { type LearningCurve, readCurve } from "./networks.js";
import { defineStage, type Stage, type StageContext, type StageOutput, type StagePlan } from "./stage.js";
import type { Tuned } from "./tune.js";

export interface TrainedModel extends StageOutput, AsyncDisposable {
  readonly name: string;
  /** What is added to its scores, and how much of it. */
  readonly prior?: { readonly name: string; readonly weight: number };
  /** Whether it reads the interests in a history. */
  readonly readsClusters: boolean;
  /** Opened once, and disposed of with the run. */
  model(): Promise<Model>;
  /** Its learning curve; undefined for a model that is not trained by steps. */
  curve(): Promise<LearningCurve | undefined>;
  /** Copies what serving reads of it into a folder, for `keptModel`. */
  keep(dir: string): Promise<void>;
}

const VERSION = 1;

/**
 * Trains one model. The run's own goes by the settings of training, and by what `tune` has chosen under them; what it is held
 * against goes by its own recipe.
 *
 * @throws PrismrecError INVALID_ARGUMENT where there is no such model
 */
export function trainStage(
  name: string,
  { own, tune }: { readonly own: boolean; readonly tune?: Stage<Tuned> },
): Stage<TrainedModel> {
  const entry = modelOf(name);
  const names = own ? [...entry.settings, "train" as const] : entry.settings;
  const settings = z.object(Object.fromEntries(names.map((setting) => [setting, settingsSchema.shape[setting]])));
  // The entry has named the settings that its code reads.
  const configOf = (context: StageContext, chosen: RawSettings = {}): Promise<ModelConfig> =>
    configUnder(context, entry, { train: {}, ...(context.settings as object) } as ModelSettings, chosen);
  /** Undefined where nothing was tried. */
  const tuned = async (context: StageContext): Promise<Tuned | undefined> =>
    tune === undefined ? undefined : await context.find(tune);
  const stageName = trainStageName(name);
  return defineStage({
    name: stageName,
    summary: own ? "trains the run's own model" : `fits ${name}, which the run's own model is held against`,
    version: VERSION,
    command: "train",
    reads: [...inputsOf(entry), ...(tune === undefined ? [] : [tune])],
    settings,
    // Settings that do not go with the recipe that fits the data are found before the histories are read.
    foresee: { after: importStage, check: async (context) => void (await configOf(context)) },
    async skip(context) {
      const { maxItems } = await entry.code();
      if (maxItems === undefined || (await context.open(importStage)).dataset.catalog.size <= maxItems)
        return undefined;
      const why = `it needs a catalog of at most ${maxItems} items`;
      if (!own) return `${name} is left out: ${why}`;
      throw new PrismrecError("CONFIG_INVALID", `${name} cannot be this run's own model: ${why}`, {
        hint: "Choose another one with --model NAME.",
      });
    },
    async plan(context, made) {
      const { dataset } = await context.open(importStage);
      const config = await configOf(context, (await tuned(context))?.result.settings);
      return { ...config, files: await formerFile(context.directory, stageName, dataset, made) };
    },
    async run(context, dir, plan) {
      const code = await entry.code();
      const found = await tuned(context);
      const config = await configOf(context, found?.result.settings);
      const warm = await warmStartFrom(plan);
      if (warm.warmStart === undefined) await found?.hand(dir);
      const input = { ...(await trainInput(context, entry)), ...warm };
      await code.fit(context, dir, name, input, config);
    },
    open: async (context, finished) => trainedModel(context, entry, finished),
    describe: async (_context, { dir }) => ({ summary: (await (await entry.code()).describe?.(dir)) ?? "" }),
  });
}

export const trainStageName = (model: string): string => `train-${model}`;

/** The configuration of a model by settings of the user's own, over what has been chosen for it. */
export async function configUnder(
  context: StageContext,
  entry: ModelEntry,
  own: ModelSettings,
  chosen: RawSettings,
): Promise<ModelConfig> {
  const { dataset } = await context.open(importStage);
  return (await entry.code()).config(dataset, { ...own, train: { ...mergeSettings(chosen, own.train) } });
}

/** The stages that a model learns from. */
export function inputsOf({ reads }: Pick<ModelEntry, "reads">): Stage[] {
  return [
    importStage,
    ...(reads.includes("clusters") ? [clusterStage] : []),
    ...(reads.includes("crowd") ? [crowdStage] : []),
  ];
}

/** A finished training, its model opened at the first call. */
export function trainedModel(context: StageContext, entry: ModelEntry, finished: StageOutput): TrainedModel {
  let opened: Promise<Model> | undefined;
  return {
    ...finished,
    name: entry.name,
    readsClusters: entry.reads.includes("clusters"),
    model: () => {
      opened ??= openModel(context, entry, finished.dir);
      return opened;
    },
    curve: async () => (entry.isNetwork ? readCurve(finished.dir) : undefined),
    keep: async (dir) => {
      for (const file of (await entry.code()).files) {
        await cp(join(finished.dir, file), join(dir, file), { recursive: true });
      }
    },
    [Symbol.asyncDispose]: async () => dispose(await opened?.catch(() => undefined)),
  };
}

/** What a training goes on from, where its plan names it. */
export async function warmStartFrom({ files }: StagePlan): Promise<Pick<TrainInput, "warmStart">> {
  return files?.former === undefined ? {} : { warmStart: await readFormer(files.former) };
}

/** What a model learns from, as far as the run has it. */
export async function trainInput(context: StageContext, { reads }: ModelEntry): Promise<TrainInput> {
  const { dataset } = await context.open(importStage);
  const partitions = reads.includes("clusters")
    ? (await (await context.open(clusterStage)).contents()).partitions
    : undefined;
  const crowd = reads.includes("crowd") ? (await context.open(crowdStage)).crowd : undefined;
  return {
    dataset,
    ...(partitions === undefined ? {} : { partitions }),
    ...(crowd === undefined ? {} : { crowd }),
  };
}

async function openModel(context: StageContext, entry: ModelEntry, dir: string): Promise<Model> {
  const { dataset } = await context.open(importStage);
  return (await entry.code()).open(dir, dataset);
}

/** Gives back what a model holds outside JavaScript's memory. */
export function dispose(model: Model | undefined): void {
  if (model !== undefined && Symbol.dispose in model) (model as Model & Disposable)[Symbol.dispose]();
}
