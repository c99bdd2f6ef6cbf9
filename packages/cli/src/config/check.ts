import { isPrismrecError, suggest } from "@prismrec/core/base";
import { type ClustererDefinition, clustererNamed, parseModelUri } from "@prismrec/llm";
import { crowdConfigSchema } from "@prismrec/trainer";
import { z } from "zod";
import { MODEL_NAMES, modelNamed, modelOf } from "../pipeline/models.js";
import { type Fault, faultsOf, unusable } from "./load.js";
import { NO_LLM, type Settings } from "./schema.js";

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
  const own = modelOf(settings.model);
  if (own.isNetwork) {
    const wrong = (await own.code()).check(settings.train);
    if (wrong !== undefined) faults.push(...faultsOf(wrong.error, wrong.schema, ["train"]));
  } else if (Object.keys(settings.train).length > 0) {
    faults.push({ text: `train: ${settings.model} has no settings of training` });
  }
  for (const [name, given] of Object.entries(settings.models)) {
    const entry = modelNamed(name);
    if (entry === undefined) {
      const near = suggest(name, MODEL_NAMES);
      faults.push({
        text: `models: there is no model called ${name}`,
        ...(near === undefined ? {} : { meant: `Did you mean ${near}?` }),
      });
      continue;
    }
    const wrong = (await entry.code()).check(given);
    if (wrong !== undefined) faults.push(...faultsOf(wrong.error, wrong.schema, ["models", name]));
  }
  // An address with a key in it is refused before it is written anywhere.
  for (const model of [settings.llm, settings.embedder]) if (model !== undefined) parseModelUri(model);
  faults.push(...clustererFaults(settings));
  if (faults.length > 0) throw unusable(source, faults);
}

function clustererFaults({ clusterer, llm, embedder, kinds, cluster, crowd }: Settings): Fault[] {
  if (clusterer === undefined) return [];
  let definition: ClustererDefinition;
  try {
    definition = clustererNamed(clusterer);
  } catch (error) {
    if (!isPrismrecError(error)) throw error;
    return [{ text: `clusterer: ${error.message}`, ...(error.hint === undefined ? {} : { meant: error.hint }) }];
  }
  const faults: Fault[] = [];
  const needsModel = definition.needs === "model" || (definition.needs === "embedding-model" && embedder === undefined);
  if (clusterer.includes("recorded-kinds") && kinds === undefined) {
    faults.push({
      text: "clusterer: recorded-kinds needs a file of kinds",
      meant: "Name a table with the columns id and kind with --kinds FILE.",
    });
  }
  if (needsModel && llm === NO_LLM) {
    faults.push({
      text: `clusterer: ${definition.name} needs a language model, and llm is ${NO_LLM}`,
      meant: "Name a model with --llm, or choose --clusterer category.",
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
