import { stat } from "node:fs/promises";
import { fromFileError, PrismrecError } from "@prismrec/core/base";
import { DEFAULT_MODEL, networkNamed } from "@prismrec/core/models";
import { CLUSTERERS, inspectGguf } from "@prismrec/llm";
import { crowdConfigSchema, trainingFault, trainingSchema } from "@prismrec/trainer";
import { z } from "zod";
import { type Fault, faultsOf, unusable } from "./load.js";
import { NO_MODEL, type Settings } from "./schema.js";

const crowdSchema = crowdConfigSchema.extend({ enabled: z.boolean() });

/**
 * Everything that can be said of settings without the data, before the first stage: those of the crowd and of training
 * by their own schemas, and what cannot go together.
 *
 * @throws PrismrecError CONFIG_INVALID that names every fault and a likely meaning
 */
export async function checkSettings(settings: Settings, source: string): Promise<void> {
  const faults: Fault[] = [];
  const parsed = crowdSchema.safeParse(settings.crowd);
  if (!parsed.success) faults.push(...faultsOf(parsed.error, crowdSchema, ["crowd"]));
  const definition = networkNamed(DEFAULT_MODEL);
  const wrong = trainingFault(definition, settings.train);
  if (wrong !== undefined) faults.push(...faultsOf(wrong, trainingSchema(definition), ["train"]));
  faults.push(...clustererFaults(settings));
  if (faults.length > 0) throw unusable(source, faults);
}

function clustererFaults({ clusterer, model, cluster, crowd }: Settings): Fault[] {
  const definition = CLUSTERERS.find(({ name }) => name === clusterer);
  if (definition === undefined) return [];
  const faults: Fault[] = [];
  const needsModel = definition.needs === "model" || definition.needs === "embedding-model";
  if (needsModel && model === NO_MODEL) {
    faults.push({
      text: `clusterer: ${definition.name} needs a language model, and model is ${NO_MODEL}`,
      meant: "Name a GGUF file with --model FILE, or choose --clusterer category.",
    });
  }
  const { most } = definition;
  if (most === undefined) return faults;
  if (cluster.maxClusters > most.clusters) {
    faults.push({ text: `cluster.maxClusters: ${definition.name} makes at most ${most.clusters} clusters` });
  }
  if (crowd.enabled && typeof crowd.maxItems === "number" && crowd.maxItems > most.items) {
    faults.push({ text: `crowd.maxItems: ${definition.name} reads at most ${most.items} items at once` });
  }
  return faults;
}

/** Settings that name a file to read. */
export type FileSetting = "interactions" | "items" | "splitFile" | "truth" | "model";

/**
 * Whether the files that settings name are there and are what they are taken for, as far as a first look shows.
 *
 * @throws PrismrecError FILE_NOT_FOUND, IO, DATA_FORMAT, MODEL_INVALID
 */
export async function checkFiles(settings: Settings, names: readonly FileSetting[]): Promise<void> {
  for (const name of names) {
    const path = settings[name];
    if (path === undefined || (name === "model" && path === NO_MODEL)) continue;
    const found = await stat(path).catch((error: unknown) => {
      throw fromFileError(error, path, "read");
    });
    if (found.isDirectory()) {
      throw new PrismrecError("DATA_FORMAT", `${name} is a folder: ${path}`, {
        expected: "a file",
        received: "a folder",
      });
    }
    // What comes through a pipe can be read once, and not now.
    if (!found.isFile()) continue;
    if (name === "model") await inspectGguf(path);
    // The database is loaded where there is something to read with it.
    if (name === "truth") await (await import("../pipeline/truth.js")).checkTruth(path);
  }
}
