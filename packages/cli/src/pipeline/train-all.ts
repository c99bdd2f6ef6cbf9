import { productionDataset } from "@prismrec/core/data";
import { partitionDataset } from "@prismrec/core/interests";
import type { TrainInput } from "@prismrec/trainer";
import { settingsSchema } from "../config/schema.js";
import { clusterStage } from "./cluster.js";
import { crowdStage } from "./crowd.js";
import { importStage } from "./import.js";
import { formerFile } from "./lineage.js";
import { modelOf } from "./models.js";
import { keepPrior, keptModel, type WithPrior } from "./prior.js";
import { defineStage, type Stage } from "./stage.js";
import { inputsOf, type TrainedModel, warmStartFrom } from "./train.js";

const NAME = "train-all";
const VERSION = 1;

/**
 * Trains the run's own model once more, on every event of every user and with nobody held out, as its first training
 * was found best on validation, and with it the prior that it goes with: the model that is served where the settings say `trainAll`.
 */
export function trainAllStage(
  name: string,
  own: Stage<TrainedModel>,
  prior: Stage<WithPrior> | undefined,
): Stage<TrainedModel> {
  const entry = modelOf(name);
  return defineStage({
    name: NAME,
    summary: "trains the model that is served on every event of every user, as validation has found best",
    version: VERSION,
    command: "train",
    reads: [...inputsOf(entry), own, ...(prior === undefined ? [] : [prior])],
    settings: settingsSchema.pick({}),
    async plan(context, made) {
      const { dataset } = await context.open(importStage);
      return { config: {}, files: await formerFile(context.directory, NAME, dataset, made) };
    },
    async run(context, dir, plan) {
      const code = await entry.code();
      const dataset = productionDataset((await context.open(importStage)).dataset);
      const clustered = entry.reads.includes("clusters") ? await context.open(clusterStage) : undefined;
      const crowd = entry.reads.includes("crowd") ? (await context.open(crowdStage)).crowd : undefined;
      let partitions: TrainInput["partitions"];
      if (clustered?.choice.clusterer !== undefined) {
        await using source = await clustered.openClusterer();
        partitions = await partitionDataset(dataset, source.clusterer, { ...clustered.limits, ...context.options });
      }
      const input: TrainInput = {
        dataset,
        ...(await warmStartFrom(plan)),
        ...(partitions === undefined ? {} : { partitions }),
        ...(crowd === undefined ? {} : { crowd }),
      };
      const { dir: validated } = await context.open(own);
      await code.fit(context, dir, `${name}, everybody`, input, await code.production(validated));
      const { choice, added } = prior === undefined ? {} : await context.open(prior);
      if (added === undefined || !choice?.chosen) return;
      const other = await modelOf(added.name).code();
      const config = await other.production(added.dir);
      await keepPrior(dir, choice.chosen, (into) => other.fit(context, into, added.name, { dataset }, config));
    },
    open: (context, finished) => keptModel(context, name, finished),
    describe: async () => ({ summary: "on every event of every user" }),
  });
}
