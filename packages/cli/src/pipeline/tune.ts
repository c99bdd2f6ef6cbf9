import { existsSync } from "node:fs";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { createRandom, writeJsonAtomic } from "@prismrec/core/base";
import { type Alternative, networkNamed } from "@prismrec/core/models";
import {
  IN_USE,
  parseTrainConfig,
  type TrainConfig,
  type TuningCandidate,
  trainingShape,
  tune,
} from "@prismrec/trainer";
import { z } from "zod";
import { isRecord, mergeSettings, type RawSettings } from "../config/load.js";
import { type Settings, settingsSchema } from "../config/schema.js";
import { points } from "../format.js";
import { clusterStage } from "./cluster.js";
import { crowdStage } from "./crowd.js";
import { BUDGETS, budgetOfSettings } from "./effort.js";
import { importStage } from "./import.js";
import { readTuned, type TunedSettings } from "./lineage.js";
import { modelOf, priorNames } from "./models.js";
import { readDocument } from "./read-document.js";
import { defineStage, type Stage, type StageContext, type StageOutput, type StagePlan } from "./stage.js";
import { configUnder, inputsOf, trainInput } from "./train.js";

const VERSION = 1;
const RESULT = "tune.json";
/** Combinations of a space of one's own that are drawn at most. */
const MOST_COMBINATIONS = 64;

const trialSchema = z.object({
  name: z.string(),
  steps: z.int(),
  epochs: z.int(),
  value: z.number().nullable(),
  difference: z.object({ mean: z.number(), standardError: z.number(), count: z.int() }).optional(),
});
const roundSchema = z.object({ chosen: z.string().nullable(), trials: z.array(trialSchema), steps: z.int() });
const resultSchema = z.object({
  /** Names of the alternatives that took the place of what the recipe says, in the order in which they did. */
  chosen: z.array(z.string()),
  /** Their settings, over the recipe's. */
  settings: z.record(z.string(), z.unknown()),
  /** A round holds alternatives against what was in use then. */
  rounds: z.array(roundSchema),
});
export type TuneResult = z.infer<typeof resultSchema>;
type Round = z.infer<typeof roundSchema>;

export interface Tuned extends StageOutput {
  readonly result: TuneResult;
  /** Lets a training in `dir` go on from that of the chosen trial, which is the same. */
  hand(dir: string): Promise<void>;
}

const settings = settingsSchema.pick({
  model: true,
  effort: true,
  space: true,
  train: true,
  models: true,
  seed: true,
  evaluate: true,
  device: true,
  prior: true,
  preset: true,
});
type TuneSettings = z.infer<typeof settings>;

interface TunePlan extends StagePlan {
  /** What was chosen before the run's last update, which stays. */
  readonly before: TunedSettings | undefined;
  readonly alternatives: readonly Alternative[];
}

/** Of all rounds; a later one begins with the training that the one before has chosen. */
export function spentSteps({ rounds }: Pick<TuneResult, "rounds">): number {
  const own = rounds[0]?.trials[0]?.steps ?? 0;
  return rounds.reduce((sum, { steps, trials: [first] }) => sum + steps - first!.steps, own);
}

/** Whether validation chooses settings of the run's own model. */
export function isTuned({ model, effort, preset }: Pick<Settings, "model" | "effort" | "preset">): boolean {
  return effort !== "quick" && preset === undefined && modelOf(model).isNetwork;
}

/** Tries other settings of the run's own model on validation, under a budget of training steps. */
export function tuneStage({ model }: Pick<Settings, "model">): Stage<Tuned> {
  return defineStage<Tuned, typeof settings, TunePlan>({
    name: "tune",
    summary: "tries other settings of the run's own model, which validation may choose",
    version: VERSION,
    command: "tune",
    reads: inputsOf(modelOf(model)),
    settings,
    async skip(context) {
      const { dataset } = await context.open(importStage);
      return dataset.split.valid.users.length > 0 ? undefined : "nobody is there to validate on";
    },
    async plan(context) {
      const before = await readTuned(context.directory);
      if (before !== undefined) return { config: { before }, before, alternatives: [] };
      const inUse = await trainConfigOf(context, {});
      const alternatives = await alternativesOf(context, inUse);
      const tried = alternatives.map(({ name, settings }) => ({ name, settings }));
      const budget = await budgetOf(context);
      return { config: { budget, inUse, tried }, seed: inUse.seed, before, alternatives };
    },
    async run(context, dir, { before, alternatives }) {
      const result = before === undefined ? await search(context, dir, alternatives) : { ...before, rounds: [] };
      await writeJsonAtomic(join(dir, RESULT), result satisfies TuneResult);
    },
    async open(_context, finished) {
      const result = await readDocument(join(finished.dir, RESULT), resultSchema, "Run the tune stage again.");
      return {
        ...finished,
        result,
        async hand(dir) {
          const from = join(
            roundDir(finished.dir, result.rounds.length),
            keyOf(result.rounds.at(-1)?.chosen ?? IN_USE),
          );
          if (existsSync(join(dir, "checkpoints")) || !existsSync(from)) return;
          await cp(join(from, "checkpoints"), join(dir, "checkpoints"), { recursive: true });
        },
      };
    },
    async describe(_context, { result }) {
      const { rounds, chosen } = result;
      const kept = chosen.length === 0 ? "the recipe stays" : chosen.join(", ");
      if (rounds.length === 0) return { summary: `${kept}, as before the update` };
      const trials = rounds.flatMap(({ trials }) => trials.slice(1));
      if (trials.length === 0) return { summary: "nothing to try" };
      const own = rounds[0]!.trials[0]!;
      const trainings = spentSteps(result) / own.steps;
      const spent = `${trials.length} alternatives, ${trainings.toFixed(1)} trainings`;
      return {
        summary: `${kept}   (${spent})`,
        notes: trials.flatMap(({ name, difference, value }) => {
          const outcome =
            difference === undefined
              ? `dropped at ${value === null ? "no finite value" : points(value)}`
              : `${points(difference.mean)} ± ${points(difference.standardError)} points of recall + ndcg`;
          return [{ text: `${name}: ${outcome}`, when: difference === undefined ? "verbose" : "always" } as const];
        }),
      };
    },
  });
}

/** Rounds of trials, each on top of what the one before has chosen, until none is better or the budget is spent. */
async function search(
  context: StageContext<TuneSettings>,
  dir: string,
  alternatives: readonly Alternative[],
): Promise<TuneResult> {
  const { model, effort } = context.settings;
  const input = await trainInput(context, modelOf(model));
  const rounds: TuneResult["rounds"] = [];
  const chosen: Alternative[] = [];
  let left = alternatives;
  let budget = await budgetOf(context);
  for (;;) {
    const place = roundDir(dir, rounds.length + 1);
    const round = await readRound(place, async () => {
      const merged = mergeSettings(...chosen.map(({ settings }) => settings));
      const candidates: TuningCandidate[] = [];
      for (const { name, settings } of left) {
        candidates.push({ key: keyOf(name), config: await trainConfigOf(context, mergeSettings(merged, settings)) });
      }
      const nameOf = (key: string): string => left.find(({ name }) => keyOf(name) === key)?.name ?? IN_USE;
      const found = await tune(input, await trainConfigOf(context, merged), candidates, {
        dir: place,
        budget,
        signal: context.signal,
        onEvent: (key, { stopping }, event) =>
          context.training(`${model}, ${key === IN_USE ? "as it is" : nameOf(key)}`, stopping.epochs, event),
      });
      return {
        chosen: found.chosen === null ? null : nameOf(found.chosen),
        trials: found.trials.map(({ key, ...trial }) => ({ name: nameOf(key), ...trial })),
        steps: found.steps,
      };
    });
    rounds.push(round);
    const winner = left.find(({ name }) => name === round.chosen);
    if (winner !== undefined) chosen.push(winner);
    left = left.filter((one) => winner !== undefined && !overlap(one.settings, winner.settings));
    const [first, own] = [rounds[0]!.trials[0]!, round.trials[0]!];
    budget -= (round.steps - own.steps) / first.steps;
    if (winner === undefined || left.length === 0 || effort !== "thorough" || budget < 1) break;
    // Its training is done: the next round holds the others against it.
    const trained = join(place, keyOf(winner.name));
    if (existsSync(trained)) await cp(trained, join(roundDir(dir, rounds.length + 1), IN_USE), { recursive: true });
  }
  return {
    chosen: chosen.map(({ name }) => name),
    settings: mergeSettings(...chosen.map(({ settings }) => settings)),
    rounds,
  };
}

/** Steps of all trials, as a multiple of those of one training: less where more users than validate are to choose a prior, unless a space is the user's own. */
async function budgetOf(context: StageContext<TuneSettings>): Promise<number> {
  const { effort, space } = context.settings;
  const { dataset } = await context.open(importStage);
  const shared = space === undefined && priorNames(context.settings).length > 0;
  return shared ? budgetOfSettings(dataset, effort) : BUDGETS[effort];
}

/** What a round has found, kept beside its trials once it is done. */
async function readRound(place: string, make: () => Promise<Round>): Promise<Round> {
  const kept = `${place}.json`;
  if (!existsSync(kept)) await writeJsonAtomic(kept, await make());
  return readDocument(kept, roundSchema, "Remove it, and run the tune stage again.");
}

/** What there is to try: what the recipe names or a space of one's own, without what the user's settings decide. */
async function alternativesOf(context: StageContext<TuneSettings>, inUse: TrainConfig): Promise<Alternative[]> {
  const { model, space, train, models, seed } = context.settings;
  const { recipe } = networkNamed(model);
  const all = space === undefined ? (recipe.alternatives ?? []) : combinations(space, seed);
  const own = mergeSettings(models[model] ?? {}, train);
  const { reads } = modelOf(model);
  const has = {
    clusters: reads.includes("clusters") && (await context.open(clusterStage)).choice.clusterer !== undefined,
    crowd: reads.includes("crowd") && (await context.open(crowdStage)).crowd !== undefined,
  };
  const found: Alternative[] = [];
  const shape = trainingShape((await context.open(importStage)).dataset);
  for (const one of all) {
    if (overlap(one.settings, own) || (one.without !== undefined && !has[one.without])) continue;
    if (one.fits?.(shape) === false) continue;
    if (!isDeepStrictEqual(await trainConfigOf(context, one.settings), inUse)) found.push(one);
  }
  return found;
}

/** Every combination of the values of a space; of very many some, drawn from the seed. */
function combinations(space: NonNullable<TuneSettings["space"]>, seed: number): Alternative[] {
  let all: { readonly path: string; readonly value: unknown }[][] = [[]];
  for (const [path, values] of Object.entries(space)) {
    all = all.flatMap((before) => values.map((value) => [...before, { path, value }]));
    if (all.length > MOST_COMBINATIONS) {
      const random = createRandom(seed, path);
      all = all
        .map((one) => ({ one, at: random.uniform() }))
        .sort((a, b) => a.at - b.at)
        .slice(0, MOST_COMBINATIONS)
        .map(({ one }) => one);
    }
  }
  return all.map((settings) => ({
    name: settings.map(({ path, value }) => `${path} ${JSON.stringify(value)}`).join(", "),
    settings: mergeSettings(
      ...settings.map(
        ({ path, value }) =>
          path.split(".").reduceRight<unknown>((inner, name) => ({ [name]: inner }), value) as RawSettings,
      ),
    ),
  }));
}

/** The configuration of the run's own model with some settings under the user's own. */
async function trainConfigOf(context: StageContext<TuneSettings>, settings: RawSettings): Promise<TrainConfig> {
  const { config } = await configUnder(context, modelOf(context.settings.model), context.settings, settings);
  return parseTrainConfig(config);
}

/** Whether two say something of one setting. */
function overlap(a: RawSettings, b: RawSettings): boolean {
  return Object.entries(a).some(([name, value]) => {
    const other = b[name];
    if (other === undefined) return false;
    return !isRecord(value) || !isRecord(other) || overlap(value, other);
  });
}

const roundDir = (dir: string, round: number): string => join(dir, `round-${round}`);

const keyOf = (name: string): string => (name === IN_USE ? name : name.toLowerCase().replace(/[^a-z0-9]+/g, "-"));
