import { existsSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
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
  holdOut,
  PriorChoice,
  PriorJudge,
  type PriorPart,
  parseTrainConfig,
  train,
} from "@prismrec/trainer";
import { z } from "zod";
import { settingsSchema } from "../config/schema.js";
import { points } from "../format.js";
import { clusterStage } from "./cluster.js";
import { BUDGETS, foldsWanted } from "./effort.js";
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
const AGAIN = "Run the train stage again.";

const chosenSchema = z.object({ prior: z.string(), weight: z.number() });
const choiceSchema = z.object({
  /** null: the network is best alone. */
  chosen: chosenSchema.nullable(),
  /** What the values below are, means over validation users. */
  metric: z.string(),
  /** Of the network alone; null where nobody is there to validate on. */
  alone: z.number().nullable(),
  /** How many users chose, those of folds among them. */
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
 * be best beside the network. Where few users validate, training users choose too: parts of them are held out in turn, and
 * the network is trained without them for as long as its own training was found best.
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
      const folds = before === undefined ? foldsWanted(dataset, effort) : 0;
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
      const part = { learn: dataset, judge: await judgeOf(context, model, input) };
      const { folds, steps } = await trainFolds(context, dir, plan.folds, network, input, tune);
      const choice = new PriorChoice([part, ...folds]);
      // What an interrupted attempt took for the best so far is chosen anew.
      await rm(join(dir, FOLDER), { recursive: true, force: true });
      for (const { definition, settings } of choice.users === 0 ? [] : plan.candidates) {
        const { fitted, best } = await choice.try(definition, settings, context.options);
        if (best || plan.before !== undefined) await saveScorer(join(dir, FOLDER), definition, settings, fitted);
        dispose(fitted.model);
      }
      for (const place of folds.keys()) await rm(foldDir(dir, place), { recursive: true, force: true });
      await writeJsonAtomic(join(dir, CHOICE), {
        chosen: plan.before === undefined || plan.candidates.length === 0 ? choice.chosen : plan.before.chosen,
        metric: part.judge.metrics.join(" + "),
        alone: choice.alone ?? null,
        users: choice.users,
        folds: folds.length,
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
      const by = folds === 0 ? "" : `   (chosen by ${users} users, those of ${folds} folds among them)`;
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

function judgeOf(
  { settings: { evaluate }, signal }: StageContext<PriorSettings>,
  model: MultiInterestModel,
  { dataset, partitions }: FoldInput,
): Promise<PriorJudge> {
  const { cutoffs } = evaluate;
  const partition = partitions?.valid;
  return PriorJudge.open(model, dataset, { cutoffs, ...(partition === undefined ? {} : { partition }), signal });
}

interface TrainedFolds {
  readonly folds: readonly PriorPart[];
  /** Of their trainings together. */
  readonly steps: number;
}

/**
 * Networks like the run's own, each trained without a part of the training users, as many as are wanted and the budget
 * has steps for. They learn from no crowd: its users are made of those that are held out as well.
 */
async function trainFolds(
  context: StageContext<PriorSettings>,
  dir: string,
  wanted: number,
  network: TrainedModel,
  input: FoldInput,
  tune: Stage<Tuned> | undefined,
): Promise<TrainedFolds> {
  const curve = await network.curve();
  if (wanted === 0 || curve === undefined) return { folds: [], steps: 0 };
  const { model: name, effort, split } = context.settings;
  const tuned = tune === undefined ? undefined : (await context.find(tune))?.result;
  // A training that was not tried is the first.
  const once = tuned?.rounds[0]?.trials[0]?.steps ?? curve.steps;
  const spent = tuned === undefined ? once : Math.max(once, spentSteps(tuned));
  const left = (1 + BUDGETS[effort]) * once - spent;
  const config = parseTrainConfig(curve.config);
  const epochs = Math.max(1, curve.bestEpoch);
  const folds: PriorPart[] = [];
  let [steps, each] = [0, epochs * Math.ceil(curve.steps / Math.max(1, curve.curve.length))];
  while (folds.length < wanted && steps + each <= left) {
    const { learn, judge } = holdOut(input, folds.length, { historyShare: split.historyShare, seed: config.seed });
    const result = await train(
      learn,
      { ...config, stopping: { ...config.stopping, epochs, patience: epochs } },
      {
        dir: foldDir(dir, folds.length),
        signal: context.signal,
        onEvent: (event) => context.training(`${name}, fold ${folds.length + 1}`, epochs, event),
      },
    );
    if (result.stoppedBy === "signal") context.signal.throwIfAborted();
    each = result.steps;
    steps += each;
    folds.push({ learn: learn.dataset, judge: await judgeOf(context, result.model, judge) });
  }
  return { folds, steps };
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

const foldDir = (dir: string, fold: number): string => join(dir, `fold-${fold + 1}`);

const record = (settings: unknown): SettingsRecord => ({ ...(settings as SettingsRecord) });
