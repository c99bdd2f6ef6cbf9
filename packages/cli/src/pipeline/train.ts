import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { PrismrecError, readJson, type StageSpec, writeJsonAtomic } from "@prismrec/core/base";
import {
  EASE_MAX_ITEMS,
  Ease,
  fitEase,
  fitItemKnn,
  fitMostPopular,
  ItemKnn,
  loadModel,
  type Model,
} from "@prismrec/core/models";
import {
  cutoffsWithin,
  defaultTrainConfig,
  type EpochRecord,
  evaluate,
  type TrainConfig,
  type TrainEvent,
  type TrainInput,
  train,
} from "@prismrec/trainer";
import { z } from "zod";
import type { BaselineName, Settings } from "../config/schema.js";
import { points } from "../terminal/format.js";
import type { Clustered } from "./cluster.js";
import type { Crowded } from "./crowd.js";
import { headlineMetric } from "./evaluate.js";
import type { Imported } from "./import.js";
import { announce, type Pipeline, requireStage, runOptions, runStage, type StageOutput } from "./pipeline.js";
import { readArrays, writeArrays } from "./tensors.js";

export type ModelName = "ldmi" | BaselineName;

export interface TrainedModel extends StageOutput {
  readonly name: ModelName;
  readonly model: Model;
}

export interface Trained {
  /** `ldmi` first, then the baselines in the order of the settings. */
  readonly models: readonly TrainedModel[];
}

export const stageOf = (model: ModelName): string => `train-${model}`;
const VERSION = 1;

const curveSchema = z.object({
  bestEpoch: z.int(),
  stoppedBy: z.string(),
  steps: z.int(),
  config: z.record(z.string(), z.unknown()),
  curve: z.array(
    z.object({
      epoch: z.int(),
      loss: z.number(),
      parts: z.record(z.string(), z.number()),
      metrics: z.record(z.string(), z.number()),
      best: z.boolean(),
    }),
  ),
});
export type LearningCurve = z.infer<typeof curveSchema>;

/** Trains `ldmi`, then fits the baselines of the settings, each in a stage of its own. */
export async function runTrain(
  pipeline: Pipeline,
  imported: Imported,
  clustered: Clustered,
  crowded: Crowded,
): Promise<Trained> {
  const models: TrainedModel[] = [await trainLdmi(pipeline, imported, clustered, crowded)];
  for (const name of pipeline.settings.baselines) {
    if (isTooLarge(name, imported)) {
      pipeline.ui.warn(`ease is left out: it needs a catalog of at most ${EASE_MAX_ITEMS} items`);
      continue;
    }
    models.push(await fitBaseline(pipeline, imported, name));
  }
  return { models };
}

/** The models that a run has, as `runTrain` gave them. */
export async function openTrain(
  pipeline: Pipeline,
  imported: Imported,
  clustered: StageOutput,
  crowded: StageOutput,
): Promise<Trained> {
  const ldmi = await findLdmi(pipeline, imported, clustered, crowded);
  const models: TrainedModel[] = [{ ...ldmi, name: "ldmi", model: await openModel("ldmi", ldmi.dir, imported) }];
  for (const name of pipeline.settings.baselines) {
    // What the data has no room for was left out, and said so, when it was to be fitted.
    if (!existsSync(pipeline.run.stageDir(stageOf(name))) && isTooLarge(name, imported)) continue;
    const output = await requireStage(pipeline, stageOf(name), baselineSpec(pipeline, imported, name), "train");
    models.push({ ...output, name, model: await openModel(name, output.dir, imported) });
  }
  return { models };
}

/** The finished stage of `ldmi`, the model unread. */
export function findLdmi(
  pipeline: Pipeline,
  imported: Imported,
  clustered: StageOutput,
  crowded: StageOutput,
): Promise<StageOutput> {
  return requireStage(pipeline, stageOf("ldmi"), ldmiSpec(pipeline, imported, clustered, crowded), "train");
}

/** Finds what is wrong with the training settings under the recipe that fits the data. Throws CONFIG_INVALID. */
export function checkTraining(pipeline: Pipeline, imported: Imported): void {
  ldmiConfig(pipeline, imported);
}

function isTooLarge(name: BaselineName, { dataset }: Imported): boolean {
  return name === "ease" && dataset.catalog.size > EASE_MAX_ITEMS;
}

function ldmiConfig({ settings }: Pipeline, { dataset }: Imported): TrainConfig {
  return defaultTrainConfig("ldmi", dataset, { seed: settings.seed, ...settings.train });
}

function ldmiSpec(pipeline: Pipeline, imported: Imported, clustered: StageOutput, crowded: StageOutput): StageSpec {
  const config = ldmiConfig(pipeline, imported);
  return {
    inputs: { import: imported.fingerprint, cluster: clustered.fingerprint, crowd: crowded.fingerprint },
    config,
    seed: config.seed,
    version: VERSION,
  };
}

function baselineSpec({ settings }: Pipeline, imported: Imported, name: BaselineName): StageSpec {
  const inputs = { import: imported.fingerprint };
  if (name === "comirec-sa" || name === "comirec-dr") {
    const config = defaultTrainConfig(name, imported.dataset, { seed: settings.seed });
    return { inputs, config, seed: config.seed, version: VERSION };
  }
  return { inputs, config: name === "ease" ? easeChoice(settings, imported) : {}, version: VERSION };
}

/** The penalties of EASE to try, and the validation metric that chooses among them. */
function easeChoice({ ease, evaluate }: Settings, { dataset }: Imported): { lambdas: number[]; metric: string } {
  const cutoff = Math.max(...cutoffsWithin(evaluate.cutoffs, dataset.catalog.size));
  return { lambdas: [...ease.lambdas], metric: `recall@${cutoff}` };
}

export async function readCurve(dir: string): Promise<LearningCurve> {
  const path = join(dir, "curve.json");
  const parsed = curveSchema.safeParse(await readJson(path, "RUN_INVALID"));
  if (parsed.success) return parsed.data;
  throw new PrismrecError("RUN_INVALID", `${path} is damaged`, {
    received: z.prettifyError(parsed.error),
    hint: "Run the train stage again.",
  });
}

async function trainLdmi(
  pipeline: Pipeline,
  imported: Imported,
  clustered: Clustered,
  crowded: Crowded,
): Promise<TrainedModel> {
  const config = ldmiConfig(pipeline, imported);
  const input: TrainInput = {
    dataset: imported.dataset,
    ...(clustered.partitions === undefined ? {} : { partitions: clustered.partitions }),
    ...(crowded.crowd === undefined ? {} : { crowd: crowded.crowd }),
  };
  const spec = ldmiSpec(pipeline, imported, clustered, crowded);
  return trainNetwork(pipeline, imported, "ldmi", spec, input, config);
}

async function trainNetwork(
  pipeline: Pipeline,
  imported: Imported,
  name: ModelName,
  spec: StageSpec,
  input: TrainInput,
  config: TrainConfig,
): Promise<TrainedModel> {
  const stage = stageOf(name);
  const output = await runStage(pipeline, stage, spec, (dir) => trainInto(pipeline, dir, name, input, config));
  const curve = await readCurve(output.dir);
  const best = curve.curve.find(({ epoch }) => epoch === curve.bestEpoch);
  const metric = headlineMetric(best?.metrics ?? {});
  await announce(
    pipeline,
    stage,
    `best epoch ${curve.bestEpoch} of ${curve.curve.length}` +
      (metric === undefined ? "" : `, validation ${metric} ${points(best?.metrics[metric] ?? 0)} %`),
    output.reused,
  );
  return { dir: output.dir, fingerprint: output.fingerprint, name, model: await openModel(name, output.dir, imported) };
}

/** Trains a network into `dir`, going on from a checkpoint there; what is left is the best model and its curve. */
export async function trainInto(
  pipeline: Pipeline,
  dir: string,
  label: string,
  input: TrainInput,
  config: TrainConfig,
): Promise<void> {
  const { signal, ui } = pipeline;
  const result = await train(input, config, { dir, signal, onEvent: trainEvents(pipeline, label, config) });
  ui.stopProgress();
  if (result.stoppedBy === "signal") signal.throwIfAborted();
  await writeJsonAtomic(join(dir, "curve.json"), {
    bestEpoch: result.bestEpoch,
    stoppedBy: result.stoppedBy,
    steps: result.steps,
    config,
    curve: result.curve.map(({ epoch, loss, parts, metrics, best }) => ({ epoch, loss, parts, metrics, best })),
  });
  await rm(join(dir, "checkpoints"), { recursive: true, force: true });
}

function trainEvents({ ui }: Pipeline, label: string, config: TrainConfig): (event: TrainEvent) => void {
  return (event) => {
    switch (event.type) {
      case "start":
        if (event.resumed) ui.info(`  ${label} goes on from step ${event.step} of epoch ${event.epoch}`);
        break;
      case "step":
        ui.progress({
          stage: `${label} epoch ${event.epoch}`,
          done: event.done,
          total: event.total,
          unit: "steps",
          note: `loss ${event.loss.toFixed(3)}`,
        });
        break;
      case "epoch":
        ui.stopProgress();
        ui.info(epochLine(event, event.seconds, config.stopping.epochs));
        break;
      case "checkpoint":
        ui.detail(`  saved ${event.path}`);
        break;
    }
  };
}

function epochLine({ epoch, loss, metrics, best }: EpochRecord, seconds: number, most: number): string {
  const shown = Object.entries(metrics).map(([name, value]) => `${name} ${points(value)}`);
  const of = most >= 200 ? "" : `/${most}`;
  return `  epoch ${epoch}${of}  loss ${loss.toFixed(4)}  ${shown.join("  ")}  ${seconds.toFixed(1)} s${best ? "  ★" : ""}`;
}

const easeSchema = z.object({ lambda: z.number(), validation: z.record(z.string(), z.number()) });

async function fitBaseline(pipeline: Pipeline, imported: Imported, name: BaselineName): Promise<TrainedModel> {
  const { settings } = pipeline;
  const { dataset } = imported;
  const spec = baselineSpec(pipeline, imported, name);
  if (name === "comirec-sa" || name === "comirec-dr") {
    const config = defaultTrainConfig(name, dataset, { seed: settings.seed });
    return trainNetwork(pipeline, imported, name, spec, { dataset }, config);
  }
  const stage = stageOf(name);
  let found = "";
  const output = await runStage(pipeline, stage, spec, async (dir) => {
    switch (name) {
      case "most-popular":
        await writeJsonAtomic(join(dir, "model.json"), { model: name });
        break;
      case "item-knn": {
        const { indptr, indices, values } = (await fitItemKnn(dataset, runOptions(pipeline))).votes;
        await writeArrays(join(dir, "model.safetensors"), { indptr, indices, values: values ?? new Float32Array() });
        break;
      }
      case "ease": {
        const { model, ...choice } = await chooseEase(pipeline, imported);
        await writeArrays(join(dir, "model.safetensors"), { weights: model.weights.data });
        await writeJsonAtomic(join(dir, "model.json"), choice);
        break;
      }
    }
  });
  if (name === "ease") {
    const { lambda } = easeSchema.parse(await readJson(join(output.dir, "model.json"), "RUN_INVALID"));
    found = `lambda ${lambda} by validation`;
  }
  await announce(pipeline, stage, found, output.reused);
  return { dir: output.dir, fingerprint: output.fingerprint, name, model: await openModel(name, output.dir, imported) };
}

/** The penalty that is best on validation. */
async function chooseEase(
  pipeline: Pipeline,
  imported: Imported,
): Promise<z.infer<typeof easeSchema> & { model: Ease }> {
  const { dataset } = imported;
  const { lambdas, metric } = easeChoice(pipeline.settings, imported);
  const validation: Record<string, number> = {};
  let best: { model: Ease; lambda: number; value: number } | undefined;
  for (const lambda of lambdas) {
    const model = await fitEase(dataset, { lambda, ...runOptions(pipeline) });
    const options = { part: "valid" as const, metrics: [metric], signal: pipeline.signal };
    const value = (await evaluate(model, dataset, options)).metrics[metric] ?? 0;
    validation[String(lambda)] = value;
    if (best === undefined || value > best.value) best = { model, lambda, value };
  }
  if (best === undefined) throw new PrismrecError("CONFIG_INVALID", "ease needs at least one penalty");
  return { lambda: best.lambda, validation, model: best.model };
}

async function openModel(name: ModelName, dir: string, { dataset }: Imported): Promise<Model> {
  const n = dataset.catalog.size;
  switch (name) {
    case "most-popular":
      return fitMostPopular(dataset);
    case "item-knn": {
      const arrays = await readArrays(join(dir, "model.safetensors"));
      return new ItemKnn({
        indptr: arrays.get("indptr", Uint32Array),
        indices: arrays.get("indices", Uint32Array),
        values: arrays.get("values", Float32Array),
        rows: n,
        cols: n,
      });
    }
    case "ease": {
      const arrays = await readArrays(join(dir, "model.safetensors"));
      return new Ease({ data: arrays.get("weights", Float32Array), rows: n, cols: n });
    }
    default:
      return loadModel(join(dir, "model"), dataset.catalog);
  }
}
