import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { hashJson, PrismrecError, type RunOptions, sha256, writeJsonAtomic } from "@prismrec/core/base";
import type { Catalog, CrowdSet, Dataset } from "@prismrec/core/data";
import {
  type Clusterer,
  categoryClusterer,
  type Mean,
  meanOf,
  type Partitions,
  partitionDataset,
  RandomClusterer,
  ShuffledClusterer,
} from "@prismrec/core/interests";
import type { PairedDifference } from "@prismrec/core/metrics";
import { crowdRequests, type TrainInput } from "@prismrec/trainer";
import { z } from "zod";
import { mergeSettings, type RawSettings } from "../config/load.js";
import { type Settings, settingsSchema } from "../config/schema.js";
import { points } from "../format.js";
import { type Variant, variantsOf } from "../variants.js";
import { type Clustered, clusterStage, type OpenClusterer } from "./cluster.js";
import type { Crowded } from "./crowd.js";
import { compare, evaluateModel, metricNames, type PerUser, significance } from "./evaluate.js";
import { importStage } from "./import.js";
import { headlineMetric } from "./metrics.js";
import { type ModelCode, type ModelConfig, type ModelEntry, modelNamed, modelOf } from "./models.js";
import { readCurve } from "./networks.js";
import { readDocument } from "./read-document.js";
import type { Run } from "./run.js";
import { defineStage, type Stage, type StageContext } from "./stage.js";
import { readArrays, writeArrays } from "./tensors.js";
import { dispose } from "./train.js";

/** 2: metrics of each test user are kept. */
const VERSION = 2;
/** How the names of trials' stages begin. */
const TRIAL_STAGE = "ablate-";
const TRIAL = "trial.json";
const PER_USER = "per-user.safetensors";

const trialSchema = z.object({
  /** Also the name of a baseline. */
  variant: z.string(),
  /** Absent for a model that is fitted at once. */
  seed: z.int().optional(),
  metrics: z.record(z.string(), z.number()),
  bestEpoch: z.int().optional(),
  /** Mean pairwise cosine of a user's interests, mean assignment entropy over ln K, mean gate and the like. */
  diagnostics: z.record(z.string(), z.number()),
});
export type Trial = z.infer<typeof trialSchema>;

export interface AblationSummary {
  readonly description: string;
  readonly trials: readonly Trial[];
  /** Over seeds, of test metrics and diagnostics. */
  readonly mean: Readonly<Record<string, number>>;
  readonly standardError: Readonly<Record<string, number>>;
  /**
   * `<model>MinusThis`: the same seeds of the whole model minus these, over seeds; absent for the whole model and where
   * it was not trained.
   */
  readonly [minus: `${string}MinusThis`]: Readonly<
    Record<string, { readonly mean: number; readonly standardError: number }>
  >;
}

/** How the whole model differs from a baseline in one metric. */
export interface SeedsComparison extends PairedDifference {
  /** Wilcoxon's signed-rank test, two-sided. */
  readonly pValue: number;
  /** For all baselines together (Holm). */
  readonly adjusted: number;
}

export interface BaselineSummary {
  /** One for each seed; of a model that is fitted at once one in all. */
  readonly trials: readonly Trial[];
  /** Over seeds, of test metrics. */
  readonly mean: Readonly<Record<string, number>>;
  /** Over seeds; 0 where there is one trial. */
  readonly standardError: Readonly<Record<string, number>>;
  /**
   * `<model>MinusThis`: the whole model minus this one, paired over test users, each user's metrics averaged over the seeds;
   * absent where the whole model was not trained. The interval is over users: it knows nothing of other seeds than these.
   */
  readonly [minus: `${string}MinusThis`]: Readonly<Record<string, SeedsComparison>>;
}

export interface Ablation {
  readonly seeds: readonly number[];
  readonly variants: Readonly<Record<string, AblationSummary>>;
  /** What the run's own model is held against, trained under the same seeds. */
  readonly baselines: Readonly<Record<string, BaselineSummary>>;
}

/**
 * Trains and judges every variant of a run's own model under every seed, each pair a stage of its own that is kept, and
 * the baselines of the settings beside them. The stages of the run stay as they are, and so do its settings: the trials
 * go by `settings`.
 *
 * @param names some of `variantsOf` the run's model
 * @throws PrismrecError INVALID_ARGUMENT for a model that is not trained and a variant that it has not; CONFIG_INVALID for settings that do not go
 *   with one; RUN_INVALID where the run's stages are not up to date
 */
export async function runAblation(
  run: Run,
  settings: RawSettings,
  names: readonly string[],
  seeds: readonly number[],
): Promise<Ablation> {
  const { model } = run.settings;
  const variants = names.map((name): readonly [string, Variant] => {
    const variant = variantsOf(model)[name];
    if (variant !== undefined) return [name, variant];
    throw new PrismrecError("INVALID_ARGUMENT", `${model} has no variant ${name}`, {
      expected: Object.keys(variantsOf(model)).join(", "),
      received: name,
    });
  });
  const entry = modelOf(model);
  const code = await entry.code();
  if (!entry.isNetwork) {
    throw new PrismrecError("INVALID_ARGUMENT", `${model} has no parts to train it without`, {
      expected: "a run whose own model is trained by steps",
      received: model,
    });
  }
  const { dataset } = await run.open("import");
  const clustered = await run.open("cluster");
  const { partitions } = await clustered.contents();
  const data: TrialData = { dataset, clustered, partitions, crowded: await run.open("crowd"), entry, code };
  const possible = variants.filter(([name, variant]) => {
    const missing = whatIsMissing(variant, data);
    if (missing !== undefined) run.warn(`${name} is left out: ${missing}`);
    return missing === undefined;
  });
  const others = await openBaselines(run, settings, data);
  // A setting that does not go with a trial is found now and not after the trials before it.
  await using trials = await run.trial(settings, (own) => [
    ...possible.flatMap(([name, variant]) => {
      const input = once((options: Required<RunOptions>) => variantInput(data, own, variant, options));
      const { description } = variant;
      return seeds.map((seed) =>
        trialStage({ name, description, seed, data, input }, variantConfig(data, own, variant, seed)),
      );
    }),
    ...others
      .filter(({ entry: { name } }) => own.baselines.includes(name))
      .flatMap((baseline) => baselineStages(baseline, own, seeds)),
  ]);
  await trials.run();
  const found: OpenTrial[] = [];
  for (const stage of trials.stages as readonly Stage<OpenTrial>[]) found.push(await trials.open(stage));
  const { evaluate, seed } = trials.settings;
  return { ...(await ablationOf(found, model, { samples: evaluate.resamples, seed, ...run.options })), seeds };
}

/** A trial that a run directory holds, with the fingerprint of its files. */
interface FoundTrial extends OpenTrial {
  readonly stage: string;
  readonly fingerprint: string;
}

/**
 * The finished trials in a run directory that were made of the run's data as it is, judged by its metrics and, where they
 * learned from the run's own clusters, made of these. Others are left out, and so are those under seeds that the whole model
 * has no trial of.
 */
export async function findTrials(
  { directory, open }: Pick<StageContext, "directory" | "open">,
  { model, evaluate }: Pick<Settings, "model" | "evaluate">,
): Promise<FoundTrial[]> {
  const names = await directory.stagesNamed(TRIAL_STAGE);
  if (names.length === 0) return [];
  const { dataset, fingerprint: data } = await open(importStage);
  const { partitions } = await (await open(clusterStage)).contents();
  const variants = variantsOf(model);
  const readsClusters = modelOf(model).reads.includes("clusters");
  const [clusters, metrics] = [partitionsInput(partitions), metricNames(evaluate, dataset)];
  const found: FoundTrial[] = [];
  for (const stage of names) {
    const manifest = await directory.manifest(stage);
    if (manifest === undefined || manifest.versions.stage !== String(VERSION)) continue;
    const { inputs, config, fingerprint } = manifest;
    const judgedBy = typeof config === "object" && config !== null && "metrics" in config ? config.metrics : undefined;
    if (inputs[importStage.name] !== data || !isDeepStrictEqual(judgedBy, metrics)) continue;
    const open = await openTrial(directory.stageDir(stage));
    const variant = variants[open.trial.variant];
    const ownClusters = variant !== undefined && variant.clusterer === undefined && variant.semantic !== false;
    if (readsClusters && ownClusters && inputs.partitions !== clusters) continue;
    found.push({ ...open, stage, fingerprint });
  }
  const seeds = new Set(found.filter(({ trial }) => trial.variant === model).map(({ trial }) => trial.seed));
  const order = Object.keys(variants);
  // Baselines, which are no variants, come last.
  const placeOf = ({ trial }: OpenTrial): number =>
    variants[trial.variant] === undefined ? order.length : order.indexOf(trial.variant);
  return found
    .filter(({ trial }) => trial.seed === undefined || seeds.size === 0 || seeds.has(trial.seed))
    .sort((a, b) => placeOf(a) - placeOf(b) || (a.trial.seed ?? 0) - (b.trial.seed ?? 0));
}

/** What trials say: variants of `model`, and all others as baselines, in their order. */
export async function ablationOf(
  trials: readonly OpenTrial[],
  model: string,
  resampling: { readonly samples: number; readonly seed: number } & RunOptions,
): Promise<Ablation> {
  const isVariant = ({ trial }: OpenTrial): boolean => variantsOf(model)[trial.variant] !== undefined;
  const variants = trials.filter(isVariant).map(({ trial }) => trial);
  return {
    seeds: [...new Set(variants.flatMap(({ seed }) => seed ?? []))],
    variants: summarize(variants, model),
    baselines: await summarizeBaselines(
      trials.filter((open) => !isVariant(open)),
      trials.filter(({ trial }) => trial.variant === model),
      model,
      resampling,
    ),
  };
}

/** The baselines of the settings that this catalog is not too large for. */
async function openBaselines(run: Run, settings: RawSettings, data: TrialData): Promise<TrialData[]> {
  const given: unknown = settings.baselines ?? run.settings.baselines;
  const names = new Set(Array.isArray(given) ? given : []);
  names.delete(run.settings.model);
  const found: TrialData[] = [];
  for (const name of names) {
    // What is no model is for the settings' own check to say.
    const entry = modelNamed(String(name));
    if (entry === undefined) continue;
    const code = await entry.code();
    if (code.maxItems === undefined || data.dataset.catalog.size <= code.maxItems) found.push({ ...data, entry, code });
    else run.warn(`${entry.name} is left out: it needs a catalog of at most ${code.maxItems} items`);
  }
  return found;
}

/** A baseline under every seed, or once where nothing is drawn by one. */
function baselineStages(data: TrialData, own: Settings, seeds: readonly number[]): Stage<OpenTrial>[] {
  const { dataset, code, entry } = data;
  const { name } = entry;
  const description = `${name}, which it is held against`;
  const input = once((options: Required<RunOptions>) => variantInput(data, own, { description }, options));
  const of = { name, description, data, input };
  if (!entry.isNetwork) return [trialStage(of, code.config(dataset, own))];
  return seeds.map((seed) => trialStage({ ...of, seed }, code.config(dataset, { ...own, train: { seed } })));
}

/** What the run gives its trials. */
interface TrialData {
  readonly dataset: Dataset;
  readonly clustered: Clustered;
  readonly partitions: Partitions | undefined;
  readonly crowded: Crowded;
  readonly entry: ModelEntry;
  readonly code: ModelCode;
}

const trialSettings = settingsSchema.pick({ evaluate: true, seed: true, device: true });

interface TrialOf {
  readonly name: string;
  readonly description: string;
  readonly seed?: number;
  readonly data: TrialData;
  readonly input: (options: Required<RunOptions>) => Promise<TrainInput>;
}

/** A finished trial with the metrics of each test user. */
interface OpenTrial {
  readonly trial: Trial;
  /** Arrays over `split.test.users`, by metric. */
  readonly perUser: Readonly<Record<string, Float64Array>>;
}

function trialStage({ name, description, seed, data, input }: TrialOf, config: ModelConfig): Stage<OpenTrial> {
  const { dataset, code, entry } = data;
  const drawn = seed === undefined ? {} : { seed };
  return defineStage<OpenTrial, typeof trialSettings>({
    name: seed === undefined ? `${TRIAL_STAGE}${name}` : `${TRIAL_STAGE}${name}-s${seed}`,
    summary: `trains and judges the model: ${description}`,
    version: VERSION,
    command: "ablate",
    reads: [importStage],
    settings: trialSettings,
    async plan(context) {
      const { partitions, crowd } = await input(context.options);
      return {
        config: { train: config.config, metrics: metricNames(context.settings.evaluate, dataset) },
        ...drawn,
        inputs: {
          partitions: partitionsInput(partitions),
          crowd: crowd?.fingerprint ?? "none",
        },
      };
    },
    async run(context, dir) {
      const { options } = context;
      const given = await input(options);
      await code.fit(context, dir, seed === undefined ? name : `${name} seed ${seed}`, given, config);
      const model = await code.open(dir, dataset);
      const read = entry.reads.includes("clusters") ? given.partitions : undefined;
      const evaluation = await evaluateModel(model, dataset, read, context.settings, options);
      dispose(model);
      const diagnostics: [string, unknown][] = Object.entries(evaluation.diagnostics ?? {});
      await writeArrays(join(dir, PER_USER), evaluation.perUser);
      await writeJsonAtomic(join(dir, TRIAL), {
        variant: name,
        ...drawn,
        metrics: { ...evaluation.metrics },
        ...(entry.isNetwork ? { bestEpoch: (await readCurve(dir)).bestEpoch } : {}),
        diagnostics: Object.fromEntries(
          diagnostics.filter((entry): entry is [string, number] => typeof entry[1] === "number"),
        ),
      } satisfies Trial);
    },
    open: async (_context, { dir }) => openTrial(dir),
    async describe(_context, { trial: { metrics } }) {
      const metric = headlineMetric(metrics) ?? "";
      return { summary: `${metric} ${points(metrics[metric] ?? 0)} %` };
    },
  });
}

async function openTrial(dir: string): Promise<OpenTrial> {
  const trial = await readDocument(join(dir, TRIAL), trialSchema, "Run the ablation again.");
  const arrays = await readArrays(join(dir, PER_USER));
  const metrics = Object.keys(trial.metrics);
  return { trial, perUser: Object.fromEntries(metrics.map((metric) => [metric, arrays.get(metric, Float64Array)])) };
}

function variantConfig({ dataset, code }: TrialData, settings: Settings, variant: Variant, seed: number): ModelConfig {
  const semantic = variant.semantic === false ? { network: { maxClusters: 0 } } : {};
  const train = mergeSettings(settings.train, variant.train ?? {}, semantic, { seed });
  return code.config(dataset, { ...settings, train });
}

/** Why this run cannot provide what a variant learns from; undefined where it can. */
function whatIsMissing({ clusterer, semantic, crowd }: Variant, data: TrialData): string | undefined {
  const { name, reads } = data.entry;
  if (!reads.includes("clusters") && (semantic === false || clusterer !== undefined)) {
    return `${name} reads no interests of users`;
  }
  if (!reads.includes("crowd") && crowd === false) return `${name} reads no crowd`;
  if (clusterer === "category" && !hasCategories(data.dataset.catalog)) return "the items have no categories";
  if (clusterer === "shuffled" && data.partitions === undefined) return "the run has no clusters to shuffle";
  return undefined;
}

/** What a variant learns from. */
async function variantInput(
  { dataset, clustered, crowded, entry, ...data }: TrialData,
  { seed }: Settings,
  variant: Variant,
  options: Required<RunOptions>,
): Promise<TrainInput> {
  let partitions = entry.reads.includes("clusters") ? data.partitions : undefined;
  let crowd = entry.reads.includes("crowd") ? crowded.crowd : undefined;
  if (variant.clusterer !== undefined) {
    const open = data.partitions && (() => clustered.openClusterer());
    await using control = await openControl(variant.clusterer, { catalog: dataset.catalog, seed, open });
    if (control === undefined) throw new PrismrecError("INTERNAL", "a control is tried that cannot be made");
    const { clusterer } = control;
    const { controlLimits } = await clustered.contents();
    partitions = await partitionDataset(dataset, clusterer, { ...controlLimits, ...options });
    if (crowd !== undefined) crowd = await recluster(crowd, clusterer, options);
  }
  return {
    dataset,
    ...(variant.semantic === false || partitions === undefined ? {} : { partitions }),
    ...(variant.crowd === false || crowd === undefined ? {} : { crowd }),
  };
}

/** The seeds of one variant learn from the same. */
function once<A, R>(make: (argument: A) => Promise<R>): (argument: A) => Promise<R> {
  let made: Promise<R> | undefined;
  return (argument) => {
    made ??= make(argument);
    return made;
  };
}

/**
 * A control, to be disposed of when its last partition is made; undefined where there is nothing to make it from.
 * `open` gives the run's own clusterer, which the shuffled control shuffles; undefined where the run has none.
 */
export async function openControl(
  name: NonNullable<Variant["clusterer"]>,
  from: {
    readonly catalog: Catalog;
    readonly seed: number;
    readonly open: (() => Promise<OpenClusterer>) | undefined;
  },
): Promise<OpenClusterer | undefined> {
  const { catalog, seed, open } = from;
  const alone = (clusterer: Clusterer): OpenClusterer => ({
    clusterer,
    [Symbol.asyncDispose]: async () => undefined,
  });
  switch (name) {
    case "random":
      return alone(new RandomClusterer(seed));
    case "category":
      return hasCategories(catalog) ? alone(categoryClusterer(catalog)) : undefined;
    case "shuffled": {
      const source = await open?.();
      if (source === undefined) return undefined;
      return {
        clusterer: new ShuffledClusterer(source.clusterer, seed),
        [Symbol.asyncDispose]: () => source[Symbol.asyncDispose]().then(() => undefined),
      };
    }
  }
}

function hasCategories({ items }: Catalog): boolean {
  return items.some(({ categories }) => categories.length > 0);
}

/** The same synthesized users, split by somebody else. */
async function recluster(crowd: CrowdSet, clusterer: Clusterer, options: RunOptions): Promise<CrowdSet> {
  const partitions = await clusterer.partition(crowdRequests(crowd), options);
  const clusters = Int16Array.from(partitions.flatMap(({ assign }) => [...assign]));
  return {
    ...crowd,
    clusters,
    labels: partitions.map(({ labels }) => labels),
    fingerprint: hashJson({
      crowd: crowd.fingerprint,
      clusterer: clusterer.fingerprint,
      clusters: hashArray(clusters),
    }),
  };
}

/** What a trial's manifest says of the clusters that it learned from. */
function partitionsInput(partitions: Partitions | undefined): string {
  if (partitions === undefined) return "none";
  return hashJson(
    Object.fromEntries(
      Object.entries(partitions).map(([part, { assign, fingerprint }]) => [part, [fingerprint, hashArray(assign)]]),
    ),
  );
}

function hashArray(values: Int16Array): string {
  return sha256(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
}

/** Means over seeds by variant, each beside what the whole `model` does under the same seeds. */
export function summarize(trials: readonly Trial[], model: string): Record<string, AblationSummary> {
  const reference = new Map(trials.filter(({ variant }) => variant === model).map((trial) => [trial.seed, trial]));
  const variants: Record<string, AblationSummary> = {};
  for (const name of new Set(trials.map(({ variant }) => variant))) {
    const own = trials.filter(({ variant }) => variant === name);
    const names = [...new Set(own.flatMap((trial) => Object.keys(values(trial))))];
    const over = (of: (trial: Trial, key: string) => number | undefined): Record<string, Mean> =>
      Object.fromEntries(
        names.flatMap((key) => {
          const found = own.map((trial) => of(trial, key)).filter((value) => value !== undefined);
          return found.length === 0 ? [] : [[key, meanOf(found)]];
        }),
      );
    const means = over((trial, key) => values(trial)[key]);
    const differences = over((trial, key) => {
      const [above, below] = [reference.get(trial.seed)?.metrics[key], trial.metrics[key]];
      return above === undefined || below === undefined ? undefined : above - below;
    });
    variants[name] = {
      description: variantsOf(model)[name]?.description ?? name,
      trials: own,
      mean: pick(means, ({ mean }) => mean),
      standardError: pick(means, ({ standardError }) => standardError),
      ...(name === model || reference.size === 0
        ? {}
        : { [minusThis(model)]: pick(differences, ({ mean, standardError }) => ({ mean, standardError })) }),
    };
  }
  return variants;
}

/**
 * Baselines over seeds, each with what the `whole` model has above it: paired over users, whose metrics are averaged over
 * the seeds first.
 */
async function summarizeBaselines(
  baselines: readonly OpenTrial[],
  whole: readonly OpenTrial[],
  model: string,
  resampling: { readonly samples: number; readonly seed: number } & RunOptions,
): Promise<Record<string, BaselineSummary>> {
  const byName = new Map<string, OpenTrial[]>(whole.length === 0 ? [] : [[model, [...whole]]]);
  for (const open of baselines) {
    const { variant } = open.trial;
    byName.set(variant, [...(byName.get(variant) ?? []), open]);
  }
  const perUser: PerUser = new Map(
    [...byName].map(([name, trials]) => [name, { perUser: averageOverSeeds(trials.map((open) => open.perUser)) }]),
  );
  const differences = await compare(model, perUser, resampling);
  const tests = significance(model, perUser);
  byName.delete(model);
  return Object.fromEntries(
    [...byName].map(([name, open]): [string, BaselineSummary] => {
      const trials = open.map(({ trial }) => trial);
      const metrics = Object.keys(trials[0]?.metrics ?? {});
      const means = Object.fromEntries(
        metrics.map((key) => [key, meanOf(trials.map((trial) => trial.metrics[key] ?? 0))]),
      );
      const summary = {
        trials,
        mean: pick(means, ({ mean }) => mean),
        standardError: pick(means, ({ standardError }) => standardError),
      };
      const against = Object.entries(differences[name] ?? {}).flatMap(([metric, difference]) => {
        const tested = tests[name]?.[metric];
        return tested === undefined ? [] : [[metric, { ...difference, ...tested }] as const];
      });
      return [name, whole.length === 0 ? summary : { ...summary, [minusThis(model)]: Object.fromEntries(against) }];
    }),
  );
}

/** [users] means of the same users' metrics over trials, by metric. */
export function averageOverSeeds(
  trials: readonly Readonly<Record<string, Float64Array>>[],
): Record<string, Float64Array> {
  const [first = {}] = trials;
  return pick(first, (values, metric) =>
    values.map((_, user) => trials.reduce((sum, trial) => sum + trial[metric]![user]!, 0) / trials.length),
  );
}

/** The member of a summary that holds the whole model minus the variant. */
export function minusThis(model: string): `${string}MinusThis` {
  return `${model}MinusThis`;
}

function values({ metrics, diagnostics }: Trial): Record<string, number> {
  return { ...metrics, ...diagnostics };
}

function pick<T, R>(record: Readonly<Record<string, T>>, of: (value: T, key: string) => R): Record<string, R> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, of(value, key)]));
}
