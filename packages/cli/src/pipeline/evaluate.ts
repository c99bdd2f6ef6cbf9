import { join } from "node:path";
import { PrismrecError, readJson, sha256File, writeJsonAtomic } from "@prismrec/core/base";
import type { Dataset } from "@prismrec/core/data";
import { pairedBootstraps } from "@prismrec/core/metrics";
import { checkNoLeakage, cutoffsWithin, type Evaluation, evaluate, metricsAt } from "@prismrec/trainer";
import { z } from "zod";
import { count, points } from "../terminal/format.js";
import type { Style } from "../terminal/style.js";
import { formatTable } from "../terminal/table.js";
import type { Clustered } from "./cluster.js";
import type { Crowded } from "./crowd.js";
import type { Imported } from "./import.js";
import { announce, type Pipeline, runOptions, runStage, type StageOutput } from "./pipeline.js";
import { writeArrays } from "./tensors.js";
import type { Trained, TrainedModel } from "./train.js";
import { measureRecovery, readTruth } from "./truth.js";

const NAME = "evaluate";
const VERSION = 1;
const REPORT = "evaluation.json";

const metricValues = z.record(z.string(), z.number());
const interval = z.object({ mean: z.number(), low: z.number(), high: z.number(), standardError: z.number() });

const evaluationSchema = z.object({
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
  /** ldmi minus the other model, paired over test users. */
  comparisons: z.record(z.string(), z.record(z.string(), interval.extend({ notBetter: z.number() }))),
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

export interface Evaluated extends StageOutput {
  readonly report: EvaluationReport;
}

/** Judges every model of the run on the test users, with intervals and paired comparisons. */
export async function runEvaluate(
  pipeline: Pipeline,
  imported: Imported,
  clustered: Clustered,
  crowded: Crowded,
  trained: Trained,
): Promise<Evaluated> {
  const { settings, signal } = pipeline;
  const { truth } = settings;
  const metrics = metricNames(pipeline, imported.dataset);
  const inputs: Record<string, string> = { import: imported.fingerprint, cluster: clustered.fingerprint };
  for (const { name, fingerprint } of trained.models) inputs[`train-${name}`] = fingerprint;
  if (truth !== undefined) inputs.truth = await sha256File(truth, signal);
  const spec = { inputs, config: { metrics, ...settings.evaluate }, seed: settings.seed, version: VERSION };
  const output = await runStage(pipeline, NAME, spec, async (dir) => {
    const leakage = checkNoLeakage(imported.dataset, clustered.partitions, crowded.crowd);
    const evaluations = new Map<string, Evaluation>();
    for (const model of trained.models) {
      evaluations.set(model.name, await evaluateOne(pipeline, imported, clustered, model, metrics));
    }
    const recovery =
      truth === undefined
        ? undefined
        : await measureRecovery(
            pipeline,
            imported,
            clustered,
            await readTruth(truth, imported.dataset.catalog, signal),
          );
    const report: EvaluationReport = {
      models: mapValues(evaluations, (evaluation) => ({ ...evaluation.metrics })),
      protocol: protocolOf(pipeline, imported),
      intervals: mapValues(evaluations, (evaluation) => ({ ...(evaluation.intervals ?? {}) })),
      comparisons: await compare(pipeline, evaluations),
      diagnostics: mapValues(evaluations, (evaluation) => numbersOf(evaluation.diagnostics ?? {})),
      leakage: [...leakage.checked],
      ...(recovery === undefined ? {} : { recovery }),
    };
    const perUser = [...evaluations].flatMap(([model, { perUser }]) =>
      Object.entries(perUser).map(([metric, values]) => [`${model}/${metric}`, values] as const),
    );
    await writeArrays(join(dir, "per-user.safetensors"), Object.fromEntries(perUser));
    await writeJsonAtomic(join(dir, REPORT), report);
  });
  const evaluated = await load(output);
  const { users, items } = evaluated.report.protocol;
  await announce(pipeline, NAME, `${trained.models.length} models on ${count(users.test)} test users`, output.reused);
  const { cutoffs } = settings.evaluate;
  const judged = cutoffsWithin(cutoffs, items);
  if (judged.length < cutoffs.length || judged.some((cutoff) => !cutoffs.includes(cutoff))) {
    pipeline.ui.info(
      `  lists are judged at ${judged.join(", ")} (asked: ${cutoffs.join(", ")}; ${count(items)} items)`,
    );
  }
  return evaluated;
}

/** Test metrics of one model; models that read clusters are given those of the test histories. */
export function evaluateOne(
  pipeline: Pipeline,
  { dataset }: Imported,
  { partitions }: Pick<Clustered, "partitions">,
  { model, name }: Pick<TrainedModel, "model" | "name">,
  metrics: readonly string[],
): Promise<Evaluation> {
  const { resamples } = pipeline.settings.evaluate;
  return evaluate(model, dataset, {
    part: "test",
    metrics,
    ...(name === "ldmi" && partitions !== undefined ? { partition: partitions.test } : {}),
    bootstrap: { samples: resamples, seed: pipeline.settings.seed },
    ...runOptions(pipeline),
  });
}

/** Recall, NDCG and hit rate at those cut-offs of the settings that say something about the catalog. */
export function metricNames({ settings }: Pipeline, { catalog }: Dataset): string[] {
  return metricsAt(settings.evaluate.cutoffs, catalog.size);
}

/** What `evaluate --json` prints. */
export function evaluationDocument({ models, protocol, recovery }: EvaluationReport): unknown {
  return { models, protocol, ...(recovery === undefined ? {} : { recovery }) };
}

/** The metric table in percent, ldmi first, with the half-width of its interval and the paired verdicts. */
export function metricTable(report: EvaluationReport, style: Style, width?: number): string {
  const names = Object.keys(Object.values(report.models)[0] ?? {});
  const rows = Object.entries(report.models).map(([model, values]) => [
    model === "ldmi" ? style.bold(model) : model,
    ...names.map((name) => points(values[name] ?? 0)),
  ]);
  const table = formatTable(
    [{ title: "%, test users" }, ...names.map((title) => ({ title, align: "right" as const }))],
    rows,
    width,
  );
  return [table, "", ...verdicts(report).map((line) => `  ${line}`)].join("\n");
}

/** The metric that a sentence speaks of: recall at the largest cut-off. */
export function headlineMetric(metrics: Readonly<Record<string, unknown>>): string | undefined {
  return Object.keys(metrics).findLast((name) => name.startsWith("recall@"));
}

/** One sentence per baseline: does ldmi differ from it, by the paired bootstrap over test users? */
export function verdicts({ comparisons }: EvaluationReport): string[] {
  return Object.entries(comparisons).map(([other, metrics]) => {
    const name = headlineMetric(metrics);
    const difference = name === undefined ? undefined : metrics[name];
    if (name === undefined || difference === undefined) return `ldmi and ${other} cannot be compared`;
    const { mean, low, high } = difference;
    const sign = (value: number): string => `${value < 0 ? "−" : "+"}${points(Math.abs(value))}`;
    const range = `${sign(mean)} points of ${name}, 95 % interval ${sign(low)} to ${sign(high)}`;
    if (low > 0) return `▲ ldmi is above ${other}: ${range}`;
    if (high < 0) return `▼ ldmi is below ${other}: ${range}`;
    return `· ldmi and ${other} cannot be told apart: ${range}`;
  });
}

export function recoveryTable({ recovery = [] }: EvaluationReport): string {
  return formatTable(
    [
      { title: "interest recovery" },
      { title: "ARI", align: "right" },
      { title: "± s.e.", align: "right" },
      { title: "users", align: "right" },
    ],
    recovery.map(({ clusterer, control, ari, standardError, users }) => [
      control ? `  ${clusterer} (control)` : clusterer,
      ari.toFixed(3),
      standardError.toFixed(3),
      count(users),
    ]),
  );
}

/** ldmi against each other model in every metric, under the same resamples. */
async function compare(
  pipeline: Pipeline,
  evaluations: ReadonlyMap<string, Evaluation>,
): Promise<EvaluationReport["comparisons"]> {
  const own = evaluations.get("ldmi");
  if (own === undefined) return {};
  const { evaluate, seed } = pipeline.settings;
  const pairs: Record<string, readonly [Float64Array, Float64Array]> = {};
  const others = [...evaluations].filter(([name]) => name !== "ldmi");
  for (const [name, { perUser }] of others) {
    for (const [metric, values] of Object.entries(own.perUser)) pairs[`${name}/${metric}`] = [values, perUser[metric]!];
  }
  const found = await pairedBootstraps(pairs, { samples: evaluate.resamples, seed, ...runOptions(pipeline) });
  return Object.fromEntries(
    others.map(([name]) => [
      name,
      Object.fromEntries(Object.keys(own.perUser).map((metric) => [metric, found[`${name}/${metric}`]!])),
    ]),
  );
}

function protocolOf({ settings }: Pipeline, { dataset, report }: Imported): EvaluationReport["protocol"] {
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
  const path = join(dir, REPORT);
  const parsed = evaluationSchema.safeParse(await readJson(path, "RUN_INVALID"));
  if (parsed.success) return { dir, fingerprint, report: parsed.data };
  throw new PrismrecError("RUN_INVALID", `${path} is damaged`, {
    received: z.prettifyError(parsed.error),
    hint: "Run the evaluate stage again.",
  });
}

function mapValues<T, R>(map: ReadonlyMap<string, T>, of: (value: T) => R): Record<string, R> {
  return Object.fromEntries([...map].map(([key, value]) => [key, of(value)]));
}

function numbersOf(values: object): Record<string, number> {
  const entries: [string, unknown][] = Object.entries(values);
  return Object.fromEntries(entries.filter((entry): entry is [string, number] => typeof entry[1] === "number"));
}
