import { join } from "node:path";
import { hashJson, PrismrecError, readJson, sha256, writeJsonAtomic } from "@prismrec/core/base";
import type { Catalog, CrowdSet } from "@prismrec/core/data";
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
import { loadModel } from "@prismrec/core/models";
import { crowdRequests, defaultTrainConfig, type TrainConfig, type TrainInput } from "@prismrec/trainer";
import { z } from "zod";
import { mergeSettings } from "../config/load.js";
import { points } from "../terminal/format.js";
import { formatTable } from "../terminal/table.js";
import { VARIANTS, type Variant, type VariantName } from "../variants.js";
import { type Clustered, historyLimits, openRunClusterer } from "./cluster.js";
import type { Crowded } from "./crowd.js";
import { evaluateOne, metricNames } from "./evaluate.js";
import type { Imported } from "./import.js";
import { announce, type Pipeline, runOptions, runStage } from "./pipeline.js";
import { trainInto } from "./train.js";

const VERSION = 1;

const trialSchema = z.object({
  variant: z.string(),
  seed: z.int(),
  metrics: z.record(z.string(), z.number()),
  bestEpoch: z.int(),
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
  /** The same seeds of `ldmi` minus these, over seeds; absent for `ldmi` and where it was not trained. */
  readonly ldmiMinusThis?: Readonly<Record<string, { readonly mean: number; readonly standardError: number }>>;
}

export interface Ablation {
  readonly seeds: readonly number[];
  readonly variants: Readonly<Record<string, AblationSummary>>;
}

/** Trains and judges every variant under every seed, each pair a stage of its own that is kept. */
export async function runAblation(
  pipeline: Pipeline,
  { imported, clustered, crowded }: { imported: Imported; clustered: Clustered; crowded: Crowded },
  names: readonly VariantName[],
  seeds: readonly number[],
): Promise<Ablation> {
  // A setting that does not go with a variant is found now and not after the trials before it.
  for (const name of names) for (const seed of seeds) variantConfig(pipeline, imported, VARIANTS[name], seed);
  const trials: Trial[] = [];
  for (const name of names) {
    const variant: Variant = VARIANTS[name];
    const input = await variantInput(pipeline, imported, clustered, crowded, variant);
    if (input === undefined) {
      pipeline.ui.warn(`${name} is left out: ${missing(variant)}`);
      continue;
    }
    for (const seed of seeds) trials.push(await runTrial(pipeline, imported, input, name, seed));
  }
  return { seeds, variants: summarize(trials) };
}

async function runTrial(
  pipeline: Pipeline,
  imported: Imported,
  input: TrainInput,
  name: VariantName,
  seed: number,
): Promise<Trial> {
  const { dataset } = imported;
  const variant: Variant = VARIANTS[name];
  const config = variantConfig(pipeline, imported, variant, seed);
  const stage = `ablate-${name}-s${seed}`;
  const spec = {
    inputs: {
      import: imported.fingerprint,
      partitions: input.partitions === undefined ? "none" : hashJson(describePartitions(input.partitions)),
      crowd: input.crowd?.fingerprint ?? "none",
    },
    config: { train: config, metrics: metricNames(pipeline, dataset) },
    seed,
    version: VERSION,
  };
  const output = await runStage(pipeline, stage, spec, async (dir) => {
    await trainInto(pipeline, dir, `${name} seed ${seed}`, input, config);
    using model = await loadModel(join(dir, "model"), dataset.catalog);
    const { partitions } = input;
    const evaluation = await evaluateOne(
      pipeline,
      imported,
      { partitions },
      { name: "ldmi", model },
      metricNames(pipeline, dataset),
    );
    const curve = z.object({ bestEpoch: z.int() }).parse(await readJson(join(dir, "curve.json"), "RUN_INVALID"));
    const diagnostics: [string, unknown][] = Object.entries(evaluation.diagnostics ?? {});
    await writeJsonAtomic(join(dir, "trial.json"), {
      variant: name,
      seed,
      metrics: { ...evaluation.metrics },
      bestEpoch: curve.bestEpoch,
      diagnostics: Object.fromEntries(
        diagnostics.filter((entry): entry is [string, number] => typeof entry[1] === "number"),
      ),
    } satisfies Trial);
  });
  const path = join(output.dir, "trial.json");
  const parsed = trialSchema.safeParse(await readJson(path, "RUN_INVALID"));
  if (!parsed.success) {
    throw new PrismrecError("RUN_INVALID", `${path} is damaged`, { received: z.prettifyError(parsed.error) });
  }
  const [metric = "", value = 0] = headline(parsed.data.metrics);
  await announce(pipeline, stage, `${metric} ${points(value)} %`, output.reused);
  return parsed.data;
}

function variantConfig(pipeline: Pipeline, { dataset }: Imported, variant: Variant, seed: number): TrainConfig {
  const semantic = variant.semantic === false ? { network: { maxClusters: 0 } } : {};
  const overrides = mergeSettings(pipeline.settings.train, variant.train ?? {}, semantic, { seed });
  return defaultTrainConfig("ldmi", dataset, overrides);
}

/** What a variant learns from; undefined where this run cannot provide it. */
async function variantInput(
  pipeline: Pipeline,
  imported: Imported,
  clustered: Clustered,
  crowded: Crowded,
  variant: Variant,
): Promise<TrainInput | undefined> {
  const { dataset } = imported;
  let { partitions } = clustered;
  let { crowd } = crowded;
  if (variant.clusterer !== undefined) {
    const { seed } = pipeline.settings;
    const open = clustered.partitions && (() => openRunClusterer(pipeline, imported, clustered));
    await using control = await openControl(variant.clusterer, { catalog: dataset.catalog, seed, open });
    if (control === undefined) return undefined;
    const { clusterer } = control;
    partitions = await partitionDataset(dataset, clusterer, {
      ...historyLimits(pipeline.settings, clustered),
      ...runOptions(pipeline),
    });
    if (crowd !== undefined) crowd = await recluster(pipeline, crowd, clusterer);
  }
  return {
    dataset,
    ...(variant.semantic === false || partitions === undefined ? {} : { partitions }),
    ...(variant.crowd === false || crowd === undefined ? {} : { crowd }),
  };
}

/** A clusterer with whatever it holds open (a language model), until it is disposed of. */
export interface OpenClusterer extends AsyncDisposable {
  readonly clusterer: Clusterer;
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
      return catalog.items.some(({ categories }) => categories.length > 0)
        ? alone(categoryClusterer(catalog))
        : undefined;
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

/** The same synthesized users, split by somebody else. */
async function recluster(pipeline: Pipeline, crowd: CrowdSet, clusterer: Clusterer): Promise<CrowdSet> {
  const partitions = await clusterer.partition(crowdRequests(crowd), runOptions(pipeline));
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

function describePartitions(partitions: Partitions): unknown {
  return Object.fromEntries(
    Object.entries(partitions).map(([part, { assign, fingerprint }]) => [part, [fingerprint, hashArray(assign)]]),
  );
}

function hashArray(values: Int16Array): string {
  return sha256(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
}

function missing({ clusterer }: Variant): string {
  return clusterer === "category" ? "the items have no categories" : "the run has no clusters to shuffle";
}

export function summarize(trials: readonly Trial[]): Record<string, AblationSummary> {
  const reference = new Map(trials.filter(({ variant }) => variant === "ldmi").map((trial) => [trial.seed, trial]));
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
      description: name in VARIANTS ? VARIANTS[name as VariantName].description : name,
      trials: own,
      mean: pick(means, ({ mean }) => mean),
      standardError: pick(means, ({ standardError }) => standardError),
      ...(name === "ldmi" || reference.size === 0
        ? {}
        : { ldmiMinusThis: pick(differences, ({ mean, standardError }) => ({ mean, standardError })) }),
    };
  }
  return variants;
}

export function ablationTable({ variants }: Ablation, width?: number): string {
  const all = Object.values(variants);
  const cut = Object.keys(all[0]?.trials[0]?.metrics ?? {}).filter((name) => /^(recall|ndcg)@/.test(name));
  const shown = [
    ["interestCosine", "cosine"],
    ["assignmentEntropy", "H/ln K"],
    ["semanticMass", "semantic"],
    ["gate", "gate"],
  ].filter(([key = ""]) => all.some(({ mean }) => mean[key] !== undefined));
  const error = (summary: AblationSummary, key: string): string =>
    summary.trials.length < 2 ? "" : ` ±${points(summary.standardError[key] ?? 0)}`;
  const [headlineMetric = ""] = headline(all[0]?.mean ?? {});
  return formatTable(
    [
      { title: `% (${all[0]?.trials.length ?? 0} seeds)` },
      ...cut.map((title) => ({ title, align: "right" as const })),
      { title: `ldmi − this (${headlineMetric})`, align: "right" },
      ...shown.map(([, title = ""]) => ({ title, align: "right" as const })),
    ],
    Object.entries(variants).map(([name, summary]) => {
      const difference = summary.ldmiMinusThis?.[headlineMetric];
      return [
        name,
        ...cut.map((key) => `${points(summary.mean[key] ?? 0)}${error(summary, key)}`),
        difference === undefined ? "" : `${points(difference.mean)} ±${points(difference.standardError)}`,
        ...shown.map(([key = ""]) => summary.mean[key]?.toFixed(3) ?? "–"),
      ];
    }),
    width,
  );
}

function values({ metrics, diagnostics }: Trial): Record<string, number> {
  return { ...metrics, ...diagnostics };
}

/** The metric a line of text shows: recall at the largest cut-off. */
function headline(metrics: Readonly<Record<string, number>>): [string, number] | [] {
  return Object.entries(metrics).findLast(([name]) => name.startsWith("recall@")) ?? [];
}

function pick<T, R>(record: Readonly<Record<string, T>>, of: (value: T) => R): Record<string, R> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, of(value)]));
}
