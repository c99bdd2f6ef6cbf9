import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { PrismrecError, readJson, writeJsonAtomic } from "@prismrec/core/base";
import { isMultiInterest, isScoring, type Model, PriorModel, type ScoringModel } from "@prismrec/core/models";
import { choosePrior } from "@prismrec/trainer";
import { z } from "zod";
import { settingsSchema } from "../config/schema.js";
import { points } from "../format.js";
import { clusterStage } from "./cluster.js";
import { importStage } from "./import.js";
import { modelOf } from "./models.js";
import { defineStage, type Stage, type StageContext, type StageOutput } from "./stage.js";
import { dispose, type TrainedModel, trainedModel } from "./train.js";

const VERSION = 1;
const CHOICE = "prior.json";
/** Folder of a prior's files beside those of the network that it is added to. */
const FOLDER = "prior";

const chosenSchema = z.object({ prior: z.string(), weight: z.number() });
const choiceSchema = z.object({
  chosen: chosenSchema.nullable(),
  metric: z.string(),
  alone: z.number(),
  tried: z.array(chosenSchema.extend({ value: z.number(), standardError: z.number() })),
});

/** The run's own network with the prior that it is served with. */
export interface WithPrior extends TrainedModel {
  readonly choice: z.infer<typeof choiceSchema>;
  /** What the prior's own stage has made; undefined where the network is best alone. */
  readonly added: TrainedModel | undefined;
}

const settings = settingsSchema.pick({ evaluate: true });

/**
 * Chooses on validation which of the candidates is added to the run's own network, and with what weight: none where the
 * network is best alone.
 */
export function priorStage(own: Stage<TrainedModel>, candidates: readonly Stage<TrainedModel>[]): Stage<WithPrior> {
  return defineStage<WithPrior, typeof settings>({
    name: "prior",
    summary: "adds the scores of a linear model to those of the run's own, with a weight from validation",
    version: VERSION,
    command: "train",
    reads: [importStage, clusterStage, own, ...candidates],
    settings,
    async run(context, dir) {
      const { dataset } = await context.open(importStage);
      const network = await context.open(own);
      const { partitions } = network.readsClusters ? await (await context.open(clusterStage)).contents() : {};
      const model = await network.model();
      if (!isMultiInterest(model)) throw unsupported(model, "added to", "a model that is served by its interests");
      const priors: ScoringModel[] = [];
      for (const candidate of candidates) {
        const found = await context.find(candidate);
        if (found !== undefined) priors.push(scoring(await found.model()));
      }
      const choice = await choosePrior(model, priors, dataset, {
        cutoffs: context.settings.evaluate.cutoffs,
        ...(partitions === undefined ? {} : { partition: partitions.valid }),
        ...context.options,
      });
      await writeJsonAtomic(join(dir, CHOICE), choice);
    },
    async open(context, finished) {
      const choice = await readChoice(join(finished.dir, CHOICE), choiceSchema);
      const network = await context.open(own);
      const stage = candidates.find(({ name }) => name === `train-${choice.chosen?.prior}`);
      const added = stage === undefined ? undefined : await context.open(stage);
      return { ...withPrior(network, added, choice.chosen?.weight ?? 0), ...finished, choice, added };
    },
    async describe(_context, { choice, name }) {
      const { chosen, metric, alone, tried } = choice;
      if (tried.length === 0) return { summary: "none" };
      if (chosen === null) return { summary: `none: ${name} alone has the best validation ${metric}` };
      const { prior, weight } = chosen;
      const value = tried.find((one) => one.prior === prior && one.weight === weight)?.value ?? 0;
      const gain = `validation ${metric} ${points(value)} (${name} alone ${points(alone)})`;
      return { summary: `${prior}, weight ${weight}: ${gain}` };
    },
  });
}

/** A network and what is added to it as one model. Both stay those of their stages. */
export function withPrior(
  network: TrainedModel,
  prior: TrainedModel | undefined,
  weight: number,
): Omit<TrainedModel, "dir" | "fingerprint"> {
  let opened: Promise<Model> | undefined;
  return {
    name: network.name,
    readsClusters: network.readsClusters,
    ...(prior === undefined ? {} : { prior: { name: prior.name, weight } }),
    model() {
      opened ??= (async () => combined(await network.model(), await prior?.model(), weight))();
      return opened;
    },
    curve: () => network.curve(),
    async keep(dir) {
      await network.keep(dir);
      if (prior !== undefined) await keepPrior(dir, { prior: prior.name, weight }, (into) => prior.keep(into));
    },
    async [Symbol.asyncDispose]() {
      if (prior !== undefined) dispose(await opened?.catch(() => undefined));
    },
  };
}

/** What `keep` has copied into a folder, or `keepPrior` has completed. */
export async function keptModel(context: StageContext, name: string, kept: StageOutput): Promise<TrainedModel> {
  const network = trainedModel(context, modelOf(name), kept);
  if (!existsSync(join(kept.dir, CHOICE))) return network;
  const { prior: other, weight } = await readChoice(join(kept.dir, CHOICE), chosenSchema);
  const prior = trainedModel(context, modelOf(other), { ...kept, dir: join(kept.dir, FOLDER) });
  const both = withPrior(network, prior, weight);
  return {
    ...both,
    ...kept,
    async [Symbol.asyncDispose]() {
      for (const held of [both, network, prior]) await held[Symbol.asyncDispose]();
    },
  };
}

/** Puts a prior that `fit` makes in a folder of its own beside a network's files. */
export async function keepPrior(
  dir: string,
  { prior, weight }: z.infer<typeof chosenSchema>,
  fit: (dir: string) => Promise<void>,
): Promise<void> {
  await mkdir(join(dir, FOLDER), { recursive: true });
  await fit(join(dir, FOLDER));
  await writeJsonAtomic(join(dir, CHOICE), { prior, weight });
}

function combined(network: Model, prior: Model | undefined, weight: number): Model {
  if (prior === undefined) return network;
  if (!isMultiInterest(network)) throw unsupported(network, "added to", "a model that is served by its interests");
  return new PriorModel(network, scoring(prior), weight);
}

function scoring(model: Model): ScoringModel {
  if (isScoring(model)) return model;
  throw unsupported(model, "a prior", "a model that tells the score of every item");
}

function unsupported({ name }: Model, what: string, expected: string): PrismrecError {
  return new PrismrecError("MODEL_UNSUPPORTED", `${name} cannot be ${what}`, {
    expected,
    received: name,
    hint: 'Set "prior" to "none", or to another model.',
  });
}

async function readChoice<T>(path: string, schema: z.ZodType<T>): Promise<T> {
  const parsed = schema.safeParse(await readJson(path, "RUN_INVALID"));
  if (parsed.success) return parsed.data;
  throw new PrismrecError("RUN_INVALID", `${path} is damaged`, {
    received: z.prettifyError(parsed.error),
    hint: "Run the train stage again.",
  });
}
