import { join } from "node:path";
import { type RunOptions, writeJsonAtomic } from "@prismrec/core/base";
import type { Catalog, Dataset } from "@prismrec/core/data";
import type { Partitions } from "@prismrec/core/interests";
import { holm, type PairedDifference, pairedBootstraps, wilcoxonSignedRank } from "@prismrec/core/metrics";
import type { Model } from "@prismrec/core/models";
import {
  checkNoLeakage,
  cutoffsWithin,
  type EvaluateOptions,
  type Evaluation,
  evaluate,
  metricsAt,
} from "@prismrec/trainer";
import { z } from "zod";
import { type Settings, settingsSchema } from "../config/schema.js";
import { count, signedPoints } from "../format.js";
import { clusterStage, readsCategories } from "./cluster.js";
import { crowdStage } from "./crowd.js";
import { type Imported, importStage } from "./import.js";
import { headlineMetric } from "./metrics.js";
import { readDocument } from "./read-document.js";
import { defineStage, type Stage, type StageOutput } from "./stage.js";
import { type ArrayReader, readArrays, writeArrays } from "./tensors.js";
import type { TrainedModel } from "./train.js";
import { checkTruth, measureRecovery, readTruth } from "./truth.js";

/** 5: a prior is added to the own model's scores. */
const VERSION = 5;
const REPORT = "evaluation.json";
const PER_USER = "per-user.safetensors";

const metricValues = z.record(z.string(), z.number());
const interval = z.object({ mean: z.number(), low: z.number(), high: z.number(), standardError: z.number() });

const exposure = z.object({
  /** Length of the lists. */
  n: z.int(),
  coverage: z.number(),
  gini: z.number(),
  novelty: z.number(),
  averagePopularity: z.number(),
  popularityLift: z.number(),
});
const fidelity = z.object({
  /** What says where an item belongs: its categories, or the known interests of `truth`. */
  by: z.enum(["categories", "known interests"]),
  right: z.number(),
  random: z.number(),
  standardError: z.number(),
  users: z.int(),
  answers: z.int(),
});

const evaluationSchema = z.object({
  /** Name of the run's own model. */
  own: z.string(),
  /** What is added to its scores; its network by itself is judged as `<own>-alone` then. */
  prior: z.object({ name: z.string(), weight: z.number() }).nullable(),
  models: z.record(z.string(), metricValues),
  protocol: z.object({
    dataset: z.string(),
    split: z.string(),
    splitFile: z.boolean(),
    users: z.object({ train: z.int(), valid: z.int(), test: z.int(), leftOut: z.int() }),
    items: z.int(),
    ranking: z.literal("full"),
    history: z.literal("excluded"),
    ndcg: z.literal("standard"),
    seed: z.int(),
  }),
  intervals: z.record(z.string(), z.record(z.string(), interval)),
  /** The own model minus the other one, paired over test users. */
  comparisons: z.record(z.string(), z.record(z.string(), interval.extend({ notBetter: z.number() }))),
  /** Of these differences: Wilcoxon's signed-rank test, two-sided; `adjusted` for all other models together (Holm). */
  significance: z.record(z.string(), z.record(z.string(), z.object({ pValue: z.number(), adjusted: z.number() }))),
  /** Of each model, by popularity of what was taken and by length of the history. */
  groups: z.record(z.string(), z.record(z.string(), z.object({ users: z.int(), metrics: metricValues }))),
  /** Of each model: what its lists do to the catalog, whatever they hit. */
  exposure: z.record(z.string(), exposure),
  /** Of each model with interests: whether those that are named behind its items fit them. */
  explanations: z.record(z.string(), fidelity),
  diagnostics: z.record(z.string(), metricValues),
  leakage: z.array(z.string()),
  recovery: z
    .array(
      z.object({
        clusterer: z.string(),
        control: z.boolean(),
        ari: z.number(),
        standardError: z.number(),
        users: z.int(),
      }),
    )
    .optional(),
});
export type EvaluationReport = z.infer<typeof evaluationSchema>;

/** What the run's own network is called where it is judged without its prior. */
export const aloneName = (own: string): string => `${own}-alone`;

export interface Evaluated extends StageOutput {
  readonly report: EvaluationReport;
  /** Metrics of each test user, `model/metric` each an array over `split.test.users`. */
  perUser(): Promise<ArrayReader>;
}

const settings = settingsSchema.pick({ evaluate: true, truth: true, splitFile: true, seed: true, device: true });
type EvaluateSettings = z.infer<typeof settings>;

/**
 * Judges every model of the run on the test users, with intervals and paired comparisons.
 *
 * @param own the run's own model, with which the `others` are compared
 */
export function evaluateStage(own: Stage<TrainedModel>, others: readonly Stage<TrainedModel>[]): Stage<Evaluated> {
  return defineStage<Evaluated, typeof settings>({
    name: "evaluate",
    summary: "ranks the whole catalog for every test user and judges the models",
    version: VERSION,
    command: "evaluate",
    reads: [importStage, clusterStage, crowdStage, own, ...others],
    settings,
    files: [{ setting: "truth", check: checkTruth }],
    async plan(context) {
      const { seed, evaluate, device } = context.settings;
      const { dataset } = await context.open(importStage);
      const config = {
        metrics: metricNames(evaluate, dataset),
        ...evaluate,
        ...(device === undefined ? {} : { device }),
      };
      return { config, seed };
    },
    async run(context, dir) {
      const { truth, evaluate, seed } = context.settings;
      const imported = await context.open(importStage);
      const { dataset } = imported;
      const clustered = await context.open(clusterStage);
      const { partitions } = await clustered.contents();
      const leakage = checkNoLeakage(dataset, partitions, (await context.open(crowdStage)).crowd);
      const { catalog } = dataset;
      const known = truth === undefined ? undefined : await readTruth(truth, catalog, context.signal);
      const judged = await context.open(own);
      const { name } = judged;
      const models = new Map([[name, judged]]);
      for (const stage of others) {
        const found = await context.find(stage);
        if (found === undefined) continue;
        // The own network by itself: the same as the judged model where no prior is added.
        if (found.name !== name) models.set(found.name, found);
        else if (judged.prior !== undefined) models.set(aloneName(name), found);
      }
      const evaluations = new Map<string, Evaluation>();
      for (const [key, trained] of models) {
        const model = await trained.model();
        const read = trained.readsClusters ? partitions : undefined;
        // Categories judge what is named only where they have not decided it.
        const silent = known === undefined && read !== undefined && readsCategories(clustered.choice);
        const judges = silent ? {} : { explanations: judgedBy(catalog, known) };
        evaluations.set(
          key,
          await evaluateModel(model, dataset, read, context.settings, { ...context.options, ...judges }),
        );
      }
      const recovery =
        known === undefined
          ? undefined
          : await measureRecovery({ dataset, clustered, seed, options: context.options }, known);
      const report: EvaluationReport = {
        own: name,
        prior: judged.prior ?? null,
        models: mapValues(evaluations, (evaluation) => ({ ...evaluation.metrics })),
        protocol: protocolOf(context.settings, imported),
        intervals: mapValues(evaluations, (evaluation) => ({ ...(evaluation.intervals ?? {}) })),
        comparisons: await compare(name, evaluations, { samples: evaluate.resamples, seed, ...context.options }),
        significance: significance(name, evaluations),
        groups: mapValues(evaluations, ({ groups = {} }) =>
          Object.fromEntries(
            Object.entries(groups).map(([name, { users, metrics }]) => [name, { users, metrics: { ...metrics } }]),
          ),
        ),
        exposure: presentValues(evaluations, ({ exposure }) => exposure && { ...exposure }),
        explanations: presentValues(
          evaluations,
          ({ explanations }) =>
            explanations && { by: known === undefined ? "categories" : "known interests", ...explanations },
        ),
        diagnostics: mapValues(evaluations, (evaluation) => numbersOf(evaluation.diagnostics ?? {})),
        leakage: [...leakage.checked],
        ...(recovery === undefined ? {} : { recovery }),
      };
      const perUser = [...evaluations].flatMap(([model, { perUser }]) =>
        Object.entries(perUser).map(([metric, values]) => [`${model}/${metric}`, values] as const),
      );
      await writeArrays(join(dir, PER_USER), Object.fromEntries(perUser));
      await writeJsonAtomic(join(dir, REPORT), report);
    },
    open: (_context, finished) => load(finished),
    async describe(context, { report }) {
      const { users, items } = report.protocol;
      const { cutoffs } = context.settings.evaluate;
      const judged = cutoffsWithin(cutoffs, items);
      const asked = judged.length === cutoffs.length && judged.every((cutoff) => cutoffs.includes(cutoff));
      const text = `lists are judged at ${judged.join(", ")} (asked: ${cutoffs.join(", ")}; ${count(items)} items)`;
      return {
        summary: `${Object.keys(report.models).length} models on ${count(users.test)} test users`,
        notes: asked ? [] : [{ text, when: "always" }],
      };
    },
  });
}

/** The items with what their interests are judged by: the known ones where there are any, else the categories. */
function judgedBy({ items }: Catalog, known: Int32Array | undefined): Catalog["items"] {
  if (known === undefined) return items;
  return items.map((item, id) => ({ ...item, categories: known[id]! < 0 ? [] : [String(known[id])] }));
}

/** Test metrics of one model; `partitions` for one that reads the clusters of the test histories. */
export function evaluateModel(
  model: Model,
  dataset: Dataset,
  partitions: Partitions | undefined,
  { seed, evaluate: judged, device }: Pick<Settings, "seed" | "evaluate" | "device">,
  options: Required<RunOptions> & Pick<EvaluateOptions, "explanations">,
): Promise<Evaluation> {
  return evaluate(model, dataset, {
    part: "test",
    metrics: metricNames(judged, dataset),
    ...(partitions === undefined ? {} : { partition: partitions.test }),
    bootstrap: { samples: judged.resamples, seed },
    groups: true,
    exposure: true,
    ...(device === undefined ? {} : { device }),
    ...options,
  });
}

/** Recall, NDCG and hit rate at those cut-offs of the settings that say something about the catalog. */
export function metricNames({ cutoffs }: Settings["evaluate"], { catalog }: Dataset): string[] {
  return metricsAt(cutoffs, catalog.size);
}

/** What `evaluate --json` prints. */
export function evaluationDocument(report: EvaluationReport): unknown {
  const { models, prior, groups, significance, exposure, explanations, protocol, recovery } = report;
  const known = recovery === undefined ? {} : { recovery };
  return { models, prior, groups, significance, exposure, explanations, protocol, ...known };
}

/** One sentence per baseline: does the run's own model differ from it, by the paired bootstrap over test users? */
export function verdicts({
  own,
  comparisons,
  significance,
}: Pick<EvaluationReport, "own" | "comparisons" | "significance">): string[] {
  return Object.entries(comparisons).map(([other, metrics]) => {
    const metric = headlineMetric(metrics);
    const difference = metric === undefined ? undefined : metrics[metric];
    if (metric === undefined || difference === undefined) return `${own} and ${other} cannot be compared`;
    return differenceSentence(own, other, metric, difference, significance[other]?.[metric]);
  });
}

/** What a paired difference of `own` minus `other` in one metric says, with no more certainty than its interval allows. */
export function differenceSentence(
  own: string,
  other: string,
  metric: string,
  { mean, low, high }: Pick<PairedDifference, "mean" | "low" | "high">,
  tested: { readonly adjusted: number } | undefined,
): string {
  const beside = tested === undefined ? "" : `; Wilcoxon, Holm: ${probability(tested.adjusted)}`;
  const range = `${signedPoints(mean)} points of ${metric}, 95 % interval ${signedPoints(low)} to ${signedPoints(high)}${beside}`;
  if (low > 0) return `▲ ${own} is above ${other}: ${range}`;
  if (high < 0) return `▼ ${own} is below ${other}: ${range}`;
  return `· ${own} and ${other} cannot be told apart: ${range}`;
}

/** A p-value as it is printed. */
export function probability(p: number): string {
  if (p < 0.001) return "p < .001";
  return p > 0.9995 ? "p 1" : `p ${p.toFixed(3).replace(/^0/, "")}`;
}

/** Metrics of each test user by model: `perUser[metric]` over the same users for all of them. */
export type PerUser = ReadonlyMap<string, Pick<Evaluation, "perUser">>;

/** One model against each other in every metric: the signed-rank test, and what the number of models makes of it. */
export function significance(name: string, evaluations: PerUser): EvaluationReport["significance"] {
  const own = evaluations.get(name);
  const others = [...evaluations].filter(([other]) => other !== name);
  const found: Record<string, Record<string, { pValue: number; adjusted: number }>> = {};
  for (const [other] of others) found[other] = {};
  for (const [metric, values] of Object.entries(own?.perUser ?? {})) {
    const pValues = Object.fromEntries(
      others.map(([other, { perUser }]) => [other, wilcoxonSignedRank(values, perUser[metric]!).pValue]),
    );
    for (const [other, adjusted] of Object.entries(holm(pValues))) {
      found[other]![metric] = { pValue: pValues[other]!, adjusted };
    }
  }
  return found;
}

/** One model minus each other in every metric, under the same resamples. */
export async function compare(
  name: string,
  evaluations: PerUser,
  resampling: Resampling,
): Promise<EvaluationReport["comparisons"]> {
  const own = evaluations.get(name);
  if (own === undefined) return {};
  const others = [...evaluations].filter(([other]) => other !== name);
  return pairedByMetric(new Map(others.map(([other, { perUser }]) => [other, [own.perUser, perUser]])), resampling);
}

type Resampling = { readonly samples: number; readonly seed: number } & RunOptions;
type ByMetric = Readonly<Record<string, Float64Array>>;

/** First minus second of each pair in every metric of the first, under the same resamples of the users. */
export async function pairedByMetric(
  pairs: ReadonlyMap<string, readonly [ByMetric, ByMetric]>,
  resampling: Resampling,
): Promise<Record<string, Record<string, PairedDifference>>> {
  const series: Record<string, readonly [Float64Array, Float64Array]> = {};
  for (const [name, [first, second]] of pairs) {
    for (const [metric, values] of Object.entries(first)) series[`${name}/${metric}`] = [values, second[metric]!];
  }
  const found = await pairedBootstraps(series, resampling);
  return Object.fromEntries(
    [...pairs].map(([name, [first]]) => [
      name,
      Object.fromEntries(Object.keys(first).map((metric) => [metric, found[`${name}/${metric}`]!])),
    ]),
  );
}

function protocolOf(settings: EvaluateSettings, { dataset, report }: Imported): EvaluationReport["protocol"] {
  const { split, catalog, fingerprint } = dataset;
  return {
    dataset: fingerprint,
    split: split.protocol,
    splitFile: settings.splitFile !== undefined,
    users: {
      train: split.train.users.length,
      valid: split.valid.users.length,
      test: split.test.users.length,
      leftOut: report.split.leftOut,
    },
    items: catalog.size,
    ranking: "full",
    history: "excluded",
    ndcg: "standard",
    seed: settings.seed,
  };
}

async function load({ dir, fingerprint }: StageOutput): Promise<Evaluated> {
  const report = await readDocument(join(dir, REPORT), evaluationSchema, "Run the evaluate stage again.");
  return { dir, fingerprint, report, perUser: () => readArrays(join(dir, PER_USER)) };
}

function mapValues<T, R>(map: ReadonlyMap<string, T>, of: (value: T) => R): Record<string, R> {
  return Object.fromEntries([...map].map(([key, value]) => [key, of(value)]));
}

/** `mapValues` without what is undefined. */
function presentValues<T, R>(map: ReadonlyMap<string, T>, of: (value: T) => R | undefined): Record<string, R> {
  const found = [...map].map(([key, value]) => [key, of(value)] as const);
  return Object.fromEntries(found.filter((entry): entry is readonly [string, R] => entry[1] !== undefined));
}

function numbersOf(values: object): Record<string, number> {
  const entries: [string, unknown][] = Object.entries(values);
  return Object.fromEntries(entries.filter((entry): entry is [string, number] => typeof entry[1] === "number"));
}
