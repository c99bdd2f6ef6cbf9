import { join } from "node:path";
import {
  type Dataset,
  type PairedDifference,
  PrismrecError,
  pairedBootstrap,
  readJson,
  sha256File,
  writeJsonAtomic,
} from "@prismrec/core";
import { checkNoLeakage, type Evaluation, evaluate } from "@prismrec/trainer";
import { z } from "zod";
import { count, points } from "../terminal/format.js";
import type { Style } from "../terminal/style.js";
import { formatTable } from "../terminal/table.js";
import type { Clustered } from "./cluster.js";
import type { Crowded } from "./crowd.js";
import type { Imported } from "./import.js";
import { announce, type Pipeline, requireStage, runOptions, runStage, type StageOutput } from "./pipeline.js";
import { writeArrays } from "./tensors.js";
import type { Trained, TrainedModel } from "./train.js";
import { measureRecovery, readTruth } from "./truth.js";

const NAME = "evaluate";
const REPORT = "evaluation.json";
const CUTS = [20, 50];

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
  const metrics = metricNames(imported.dataset);
  const inputs: Record<string, string> = { import: imported.fingerprint, cluster: clustered.fingerprint };
  for (const { name, fingerprint } of trained.models) inputs[`train-${name}`] = fingerprint;
  if (truth !== undefined) inputs.truth = await sha256File(truth, signal);
  const spec = { inputs, config: { metrics, ...settings.evaluate }, seed: settings.seed };
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
      comparisons: compare(evaluations, settings.evaluate.resamples, settings.seed),
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
  const { test } = evaluated.report.protocol.users;
  await announce(pipeline, NAME, `${trained.models.length} models on ${count(test)} test users`, output.reused);
  return evaluated;
}

export async function openEvaluate(pipeline: Pipeline): Promise<Evaluated> {
  return load(await requireStage(pipeline, NAME));
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

/** Recall, NDCG and hit rate at 20 and 50, or at the catalog's size where that is smaller. */
export function metricNames({ catalog }: Dataset): string[] {
  const cuts = [...new Set(CUTS.map((cut) => Math.min(cut, catalog.size)))];
  return cuts.flatMap((cut) => ["recall", "ndcg", "hit-rate"].map((name) => `${name}@${cut}`));
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

/** One sentence per baseline: does ldmi differ from it, by the paired bootstrap over test users? */
export function verdicts({ comparisons }: EvaluationReport): string[] {
  return Object.entries(comparisons).map(([other, metrics]) => {
    const name = Object.keys(metrics).find((metric) => metric.startsWith("recall@50")) ?? Object.keys(metrics)[0];
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

function compare(
  evaluations: ReadonlyMap<string, Evaluation>,
  samples: number,
  seed: number,
): EvaluationReport["comparisons"] {
  const own = evaluations.get("ldmi");
  if (own === undefined) return {};
  const others = [...evaluations].filter(([name]) => name !== "ldmi");
  return Object.fromEntries(
    others.map(([name, other]): [string, Record<string, PairedDifference>] => [
      name,
      Object.fromEntries(
        Object.entries(own.perUser).map(([metric, values]) => [
          metric,
          pairedBootstrap(values, other.perUser[metric] ?? [], { samples, seed }),
        ]),
      ),
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
