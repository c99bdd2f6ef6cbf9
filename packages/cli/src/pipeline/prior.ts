import { existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { PrismrecError, writeJsonAtomic } from "@prismrec/core/base";
import {
  isMultiInterest,
  type Model,
  type MultiInterestModel,
  PriorModel,
  type ScorerDefinition,
  type SettingsRecord,
  scorerNamed,
} from "@prismrec/core/models";
import {
  asPrior,
  type FoldInput,
  type FoldNetworks,
  foldsWanted,
  PriorChoice,
  PriorJudge,
  parseTrainConfig,
  trainFolds,
} from "@prismrec/trainer";
import { z } from "zod";
import { settingsSchema } from "../config/schema.js";
import { points } from "../format.js";
import { clusterStage } from "./cluster.js";
import { BUDGETS } from "./effort.js";
import { importStage } from "./import.js";
import { type KeptPrior, readPrior, writePrior } from "./lineage.js";
import { modelOf } from "./models.js";
import { readDocument } from "./read-document.js";
import type { RunDirectory } from "./run-directory/run-directory.js";
import { saveScorer } from "./scorers.js";
import { defineStage, type Stage, type StageContext, type StageOutput, type StagePlan } from "./stage.js";
import { dispose, type TrainedModel, trainedModel } from "./train.js";
import { spentSteps, type Tuned } from "./tune.js";

export const PRIOR_STAGE = "prior";
const VERSION = 2;
const CHOICE = "prior.json";
/** Folder of a prior's files beside those of the network that it is added to. */
const FOLDER = "prior";
/** Folder of the trainings without a part of the training users, until they have said what they know. */
const FOLDS = "folds";
/** Folder of all that was fitted, until one is chosen. */
const CANDIDATES = "candidates";
const AGAIN = "Run the train stage again.";

const chosenSchema = z.object({ prior: z.string(), weight: z.number() });
const choiceSchema = z.object({
  /** null: the network is best alone. */
  chosen: chosenSchema.nullable(),
  /** What the values below are, means over validation users. */
  metric: z.string(),
  /** Of the network alone, or of those without a fold; null where nobody is there to validate on. */
  alone: z.number().nullable(),
  /** How many users chose: validation users, or those of folds. */
  users: z.int(),
  /** Parts of the training users that were held out in turn, and the steps of the trainings without them. */
  folds: z.int(),
  steps: z.int(),
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

const fittedSchema = z.object({ config: z.object({ settings: z.record(z.string(), z.unknown()) }) });
const NOT_FITTED: z.infer<typeof fittedSchema> = { config: { settings: {} } };

const settings = settingsSchema.pick({ model: true, evaluate: true, models: true, effort: true, split: true });
type PriorSettings = z.infer<typeof settings>;

/** A model that may become the prior, by its settings. */
interface Candidate {
  readonly definition: ScorerDefinition;
  readonly settings: SettingsRecord;
}

interface PriorPlan extends StagePlan {
  /** Those that the catalog is not too large for. */
  readonly candidates: readonly Candidate[];
  /** What was chosen before the run's last update, which stays. */
  readonly before: KeptPrior | undefined;
  /** Parts of the training users to be held out in turn. */
  readonly folds: number;
}

interface PriorOptions {
  /** Whether the user has named the candidate, however long it takes. */
  readonly named: boolean;
  /** What has spent a part of the steps that choosing may take. */
  readonly tune: Stage<Tuned> | undefined;
}

/**
 * Chooses on validation which of the candidates is added to the run's own network, and with what weight: none where the
 * network is best alone. A candidate's own settings are chosen together with the weight, for what is best alone need not
 * be best beside the network. Where not very many users validate, training users choose in their place: parts of them are
 * held out in turn, and the network is trained without them for as long as its own training was found best.
 */
export function priorStage(
  own: Stage<TrainedModel>,
  candidates: readonly string[],
  { named, tune }: PriorOptions,
): Stage<WithPrior> {
  const most = ({ maxItems = Infinity, priorUpTo = 0 }: ScorerDefinition): number =>
    named ? maxItems : Math.min(maxItems, priorUpTo);
  return defineStage<WithPrior, typeof settings, PriorPlan>({
    name: PRIOR_STAGE,
    summary: "adds the scores of a linear model to those of the run's own, with a weight from validation",
    version: VERSION,
    command: "train",
    reads: [importStage, clusterStage, own, ...(tune === undefined ? [] : [tune])],
    settings,
    async plan(context) {
      const { dataset } = await context.open(importStage);
      const { models, evaluate, effort, split } = context.settings;
      const before = await choiceBefore(context.directory, candidates);
      const fitting = candidates
        .filter((name) => before === undefined || name === before.chosen?.prior)
        .map((name) => scorerNamed(name))
        .filter((definition) => dataset.catalog.size <= most(definition))
        .map((definition) => ({
          definition,
          settings: before?.settings ?? record(definition.settings.parse(models[definition.name] ?? {})),
        }));
      const folds = before === undefined && BUDGETS[effort] > 0 ? foldsWanted(dataset) : 0;
      const config = {
        candidates: Object.fromEntries(fitting.map(({ definition, settings }) => [definition.name, settings])),
        cutoffs: evaluate.cutoffs,
        ...(before === undefined ? {} : { before }),
        ...(folds === 0 ? {} : { folds, budget: BUDGETS[effort], historyShare: split.historyShare }),
      };
      return { config, candidates: fitting, before, folds };
    },
    async run(context, dir, plan) {
      const { dataset } = await context.open(importStage);
      const network = await context.open(own);
      const { partitions } = network.readsClusters ? await (await context.open(clusterStage)).contents() : {};
      const input: FoldInput = { dataset, ...(partitions === undefined ? {} : { partitions }) };
      const model = interesting(await network.model());
      const judge = await PriorJudge.open(model, dataset, {
        cutoffs: context.settings.evaluate.cutoffs,
        ...(partitions === undefined ? {} : { partition: partitions.valid }),
        signal: context.signal,
      });
      const folds = join(dir, FOLDS);
      const { parts, steps } =
        plan.folds === 0 ? { parts: [], steps: 0 } : await foldNetworks(context, folds, network, input, tune);
      const choice = new PriorChoice({ learn: dataset, judge }, parts);
      const fitted = join(dir, CANDIDATES);
      for (const { definition, settings } of choice.users === 0 ? [] : plan.candidates) {
        const found = await choice.try(definition, settings, context.options);
        await saveScorer(join(fitted, definition.name), definition, settings, found);
        dispose(found.model);
      }
      const chosen = plan.before === undefined || plan.candidates.length === 0 ? choice.chosen : plan.before.chosen;
      await rm(join(dir, FOLDER), { recursive: true, force: true });
      if (chosen !== null) await rename(join(fitted, chosen.prior), join(dir, FOLDER));
      await rm(fitted, { recursive: true, force: true });
      await rm(folds, { recursive: true, force: true });
      await writeJsonAtomic(join(dir, CHOICE), {
        chosen,
        metric: judge.metrics.join(" + "),
        alone: choice.alone ?? null,
        users: choice.users,
        folds: parts.length,
        steps,
        tried: choice.tried,
      } satisfies Choice);
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
      const { chosen, metric, alone, tried, users, folds } = choice;
      if (alone === null) return { summary: "none: nobody is there to validate on" };
      if (chosen === null || added === undefined)
        return { summary: `none: ${name} alone has the best validation ${metric}` };
      const { value = alone } = tried.find(({ prior, weight }) => isDeepStrictEqual(chosen, { prior, weight })) ?? {};
      const how = await (await modelOf(added.name).code()).describe?.(join(dir, FOLDER));
      const what = `${chosen.prior}, weight ${chosen.weight}${how ? `, ${how}` : ""}`;
      const by = folds === 0 ? "" : `   (by ${users} users of ${folds} folds)`;
      return { summary: `${what}: ${metric} ${points(value)} (${name} alone ${points(alone)})${by}` };
    },
  });
}

/** What was chosen before the run's last update, where the settings still leave it to be chosen. */
async function choiceBefore(directory: RunDirectory, candidates: readonly string[]): Promise<KeptPrior | undefined> {
  const before = await readPrior(directory);
  return before?.chosen == null || candidates.includes(before.chosen.prior) ? before : undefined;
}

/** Hands on what more users than validate have chosen, for the states of a run that come after. */
export async function handOnPrior(from: RunDirectory, made: WithPrior | undefined, to: RunDirectory): Promise<void> {
  const before = await readPrior(from);
  if (before !== undefined) await writePrior(to, before);
  else if (made !== undefined && made.choice.folds > 0) {
    const { choice, added } = made;
    const fitted = added === undefined ? undefined : await (await modelOf(added.name).code()).production(added.dir);
    await writePrior(to, { chosen: choice.chosen, settings: fittedSchema.parse(fitted ?? NOT_FITTED).config.settings });
  }
}

/** Networks that do not know a part of the training users, within what choosing may still take. */
async function foldNetworks(
  context: StageContext<PriorSettings>,
  dir: string,
  network: TrainedModel,
  input: FoldInput,
  tune: Stage<Tuned> | undefined,
): Promise<FoldNetworks> {
  const curve = await network.curve();
  if (curve === undefined) return { parts: [], steps: 0 };
  const { model, effort, split, evaluate } = context.settings;
  const tuned = tune === undefined ? undefined : (await context.find(tune))?.result;
  const once = tuned?.rounds[0]?.trials[0]?.steps ?? curve.steps;
  const spent = tuned === undefined ? once : Math.max(once, spentSteps(tuned));
  const own = { ...curve, config: parseTrainConfig(curve.config), epochs: curve.curve.length };
  return trainFolds(input, own, {
    dir,
    budget: (1 + BUDGETS[effort]) * once - spent,
    historyShare: split.historyShare,
    cutoffs: evaluate.cutoffs,
    signal: context.signal,
    onEvent: (fold, epochs, event) => context.training(`${model}, fold ${fold + 1}`, epochs, event),
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
  return prior === undefined ? network : new PriorModel(interesting(network), asPrior(prior), weight);
}

function interesting(model: Model): MultiInterestModel {
  if (isMultiInterest(model)) return model;
  throw new PrismrecError("MODEL_UNSUPPORTED", `${model.name} cannot be added to`, {
    expected: "a model that is served by its interests",
    received: model.name,
    hint: 'Set "prior" to "none".',
  });
}

const record = (settings: unknown): SettingsRecord => ({ ...(settings as SettingsRecord) });
