import { existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { PrismrecError, writeJsonAtomic } from "@prismrec/core/base";
import {
  isMultiInterest,
  isScoring,
  type Model,
  type MultiInterestModel,
  PriorModel,
  type ScoringModel,
} from "@prismrec/core/models";
import { PriorJudge } from "@prismrec/trainer";
import { z } from "zod";
import { settingsSchema } from "../config/schema.js";
import { points } from "../format.js";
import { clusterStage } from "./cluster.js";
import { importStage } from "./import.js";
import { type ModelCode, type ModelConfig, modelOf } from "./models.js";
import { readDocument } from "./read-document.js";
import { defineStage, type Stage, type StageContext, type StageOutput, type StagePlan } from "./stage.js";
import { dispose, type TrainedModel, trainedModel } from "./train.js";

export const PRIOR_STAGE = "prior";
const VERSION = 1;
const CHOICE = "prior.json";
/** Folder of a prior's files beside those of the network that it is added to. */
const FOLDER = "prior";
const AGAIN = "Run the train stage again.";

const chosenSchema = z.object({ prior: z.string(), weight: z.number() });
const choiceSchema = z.object({
  /** null: the network is best alone. */
  chosen: chosenSchema.nullable(),
  /** What the values below are, means over validation users. */
  metric: z.string(),
  /** Of the network alone; null where nobody is there to validate on. */
  alone: z.number().nullable(),
  tried: z.array(
    chosenSchema.extend({
      value: z.number(),
      /** Of the paired difference from the network alone. */
      standardError: z.number(),
    }),
  ),
});
type Choice = z.infer<typeof choiceSchema>;

/** The run's own network with the prior that it is served with. */
export interface WithPrior extends TrainedModel {
  readonly choice: Choice;
  /** What was fitted for it; undefined where the network is best alone. */
  readonly added: TrainedModel | undefined;
}

const settings = settingsSchema.pick({ evaluate: true, models: true });

/** A model that may become the prior, by its settings. */
interface Candidate {
  readonly name: string;
  readonly code: ModelCode;
  readonly config: ModelConfig;
}

interface PriorPlan extends StagePlan {
  /** Those that the catalog is not too large for. */
  readonly candidates: readonly Candidate[];
}

/**
 * Chooses on validation which of the candidates is added to the run's own network, and with what weight: none where the
 * network is best alone. A candidate's own settings are chosen together with the weight, for what is best alone need not
 * be best beside the network.
 *
 * @param named whether the user has named the candidate, however long it takes
 */
export function priorStage(
  own: Stage<TrainedModel>,
  candidates: readonly string[],
  { named }: { readonly named: boolean },
): Stage<WithPrior> {
  const most = ({ maxItems = Infinity, priorUpTo = Infinity }: ModelCode): number =>
    named ? maxItems : Math.min(maxItems, priorUpTo);
  return defineStage<WithPrior, typeof settings, PriorPlan>({
    name: PRIOR_STAGE,
    summary: "adds the scores of a linear model to those of the run's own, with a weight from validation",
    version: VERSION,
    command: "train",
    reads: [importStage, clusterStage, own],
    settings,
    async plan(context) {
      const { dataset } = await context.open(importStage);
      const { models, evaluate } = context.settings;
      const fitting: Candidate[] = [];
      for (const name of candidates) {
        const code = await modelOf(name).code();
        if (dataset.catalog.size > most(code)) continue;
        fitting.push({ name, code, config: code.config(dataset, { models, evaluate, seed: 0, train: {} }) });
      }
      const configs = Object.fromEntries(fitting.map(({ name, config }) => [name, config.config]));
      return { config: { candidates: configs, cutoffs: evaluate.cutoffs }, candidates: fitting };
    },
    async run(context, dir, plan) {
      const { dataset } = await context.open(importStage);
      const network = await context.open(own);
      const { partitions } = network.readsClusters ? await (await context.open(clusterStage)).contents() : {};
      const judge = await PriorJudge.open(interesting(await network.model()), dataset, {
        cutoffs: context.settings.evaluate.cutoffs,
        ...(partitions === undefined ? {} : { partition: partitions.valid }),
        signal: context.signal,
      });
      const trials = new Trials(judge);
      // What an interrupted attempt took for the best so far is chosen anew.
      await rm(join(dir, FOLDER), { recursive: true, force: true });
      for (const { name, code, config } of judge.alone === undefined ? [] : plan.candidates) {
        const folder = join(dir, `candidate-${name}`);
        await code.fit(context, folder, name, { dataset }, config, (model) => trials.value(model));
        const model = await code.open(folder, dataset);
        if (await trials.take(model)) await replace(join(dir, FOLDER), folder);
        else await rm(folder, { recursive: true });
        dispose(model);
      }
      await writeJsonAtomic(join(dir, CHOICE), trials.choice satisfies Choice);
    },
    async open(context, finished) {
      const choice = await readDocument(join(finished.dir, CHOICE), choiceSchema, AGAIN);
      const network = await context.open(own);
      const { prior, weight = 0 } = choice.chosen ?? {};
      const folder = { ...finished, dir: join(finished.dir, FOLDER) };
      const added = prior === undefined ? undefined : trainedModel(context, modelOf(prior), folder);
      const both = withPrior(network, added, weight);
      return {
        ...both,
        ...finished,
        choice,
        added,
        async [Symbol.asyncDispose]() {
          await both[Symbol.asyncDispose]();
          await added?.[Symbol.asyncDispose]();
        },
      };
    },
    async describe(_context, { dir, choice, name, added }) {
      const { chosen, metric, alone, tried } = choice;
      if (alone === null) return { summary: "none: nobody is there to validate on" };
      if (chosen === null || added === undefined)
        return { summary: `none: ${name} alone has the best validation ${metric}` };
      const value = Math.max(...tried.map((one) => one.value));
      const how = await (await modelOf(added.name).code()).describe?.(join(dir, FOLDER));
      const what = `${chosen.prior}, weight ${chosen.weight}${how ? `, ${how}` : ""}`;
      return { summary: `${what}: ${metric} ${points(value)} (${name} alone ${points(alone)})` };
    },
  });
}

/** What has been tried beside a network, and the best of it. */
class Trials {
  readonly #tried: Choice["tried"] = [];
  #best: Choice["tried"][number] | undefined;

  constructor(private readonly judge: PriorJudge) {}

  /** The best value that the network has with the model under any weight. */
  async value(model: Model): Promise<number> {
    const trials = await this.judge.try(scoring(model));
    return Math.max(...trials.map(({ value }) => value));
  }

  /** Notes a fitted candidate; whether the network is better with it than alone, and than with those before. */
  async take(model: Model): Promise<boolean> {
    const trials = (await this.judge.try(scoring(model))).map((trial) => ({ prior: model.name, ...trial }));
    this.#tried.push(...trials);
    const former = this.#best;
    for (const trial of trials) {
      if (trial.value > (this.#best?.value ?? this.judge.alone ?? Infinity)) this.#best = trial;
    }
    return this.#best !== former;
  }

  get choice(): Choice {
    const best = this.#best;
    return {
      chosen: best === undefined ? null : { prior: best.prior, weight: best.weight },
      metric: this.judge.metrics.join(" + "),
      alone: this.judge.alone ?? null,
      tried: this.#tried,
    };
  }
}

async function replace(target: string, source: string): Promise<void> {
  await rm(target, { recursive: true, force: true });
  await rename(source, target);
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
  const { prior: other, weight } = await readDocument(join(kept.dir, CHOICE), chosenSchema, AGAIN);
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
  return prior === undefined ? network : new PriorModel(interesting(network), scoring(prior), weight);
}

function interesting(model: Model): MultiInterestModel {
  if (isMultiInterest(model)) return model;
  throw unsupported(model, "added to", "a model that is served by its interests");
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
