import { rm } from "node:fs/promises";
import { join } from "node:path";
import { writeJsonAtomic } from "@prismrec/core/base";
import { loadModel, networkNamed } from "@prismrec/core/models";
import {
  defaultTrainConfig,
  mergeSettings,
  parseTrainConfig,
  type TrainConfig,
  train,
  trainingFault,
  trainingSchema,
} from "@prismrec/trainer";
import { z } from "zod";
import { points } from "../format.js";
import { headlineMetric } from "./metrics.js";
import type { ModelCode } from "./models.js";
import { readDocument } from "./read-document.js";

const curveSchema = z.object({
  bestEpoch: z.int(),
  stoppedBy: z.string(),
  steps: z.int(),
  /** Where losses and validation ran. */
  device: z.enum(["cpu", "cuda"]).default("cpu"),
  /** Validation metrics of a warm start before its first step. */
  start: z.record(z.string(), z.number()).optional(),
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

const CURVE = "curve.json";

/** Reads what training has left of its course. Throws FILE_NOT_FOUND, RUN_INVALID. */
export async function readCurve(dir: string): Promise<LearningCurve> {
  return readDocument(join(dir, CURVE), curveSchema, "Run the train stage again.");
}

/** A model that the trainer trains: a checkpoint to go on from while it does, then the best model and its curve. */
export function network(name: string): ModelCode {
  const definition = networkNamed(name);
  return {
    files: ["model"],
    check(overrides) {
      const error = trainingFault(definition, overrides);
      return error === undefined ? undefined : { error, schema: trainingSchema(definition) };
    },
    config(dataset, { seed, device, train: own, models }) {
      const common = { seed, ...(device === undefined ? {} : { device }) };
      const config = defaultTrainConfig(name, dataset, mergeSettings(mergeSettings(common, models[name] ?? {}), own));
      return { config, seed: config.seed };
    },
    async fit({ signal, training, warn }, dir, label, given, { config: resolved }) {
      const config: TrainConfig = parseTrainConfig(resolved);
      const { warmStart, ...others } = given;
      const fits = warmStart === undefined || warmStart.items.cols === config.network.dim;
      if (!fits) warn(`${label} has another width than the former model: it is trained anew`);
      const input = fits ? given : others;
      const onEvent = training.bind(undefined, label, config.stopping.epochs);
      const result = await train(input, config, { dir, signal, onEvent });
      if (result.stoppedBy === "signal") signal.throwIfAborted();
      await writeJsonAtomic(join(dir, CURVE), {
        bestEpoch: result.bestEpoch,
        stoppedBy: result.stoppedBy,
        steps: result.steps,
        device: result.device,
        config,
        ...(result.start === undefined ? {} : { start: { ...result.start } }),
        curve: result.curve.map(({ epoch, loss, parts, metrics, best }) => ({ epoch, loss, parts, metrics, best })),
      } satisfies LearningCurve);
      await rm(join(dir, "checkpoints"), { recursive: true, force: true });
    },
    async production(dir) {
      const { config: resolved, bestEpoch } = await readCurve(dir);
      const config = parseTrainConfig(resolved);
      const stopping = { ...config.stopping, epochs: Math.max(1, bestEpoch) };
      return { config: { ...config, stopping }, seed: config.seed };
    },
    open: (dir, dataset) => loadModel(join(dir, "model"), dataset.catalog),
    async describe(dir) {
      const { curve, bestEpoch, start } = await readCurve(dir);
      const best = curve.find(({ epoch }) => epoch === bestEpoch)?.metrics ?? start ?? {};
      const metric = headlineMetric(best);
      const found = metric === undefined ? "" : `, validation ${metric} ${points(best[metric] ?? 0)} %`;
      return `${start === undefined ? "" : "warm start, "}best epoch ${bestEpoch} of ${curve.length}${found}`;
    },
  };
}
