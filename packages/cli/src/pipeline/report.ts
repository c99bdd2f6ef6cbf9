import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { createRandom, type RunOptions, threadBudget, writeFileAtomic } from "@prismrec/core/base";
import { type Dataset, userItems } from "@prismrec/core/data";
import type { Partitions } from "@prismrec/core/interests";
import { native } from "@prismrec/core/ops";
import { type Settings, settingsSchema } from "../config/schema.js";
import type { ReportData } from "../report/data.js";
import { type ReportUser, type UserTable, UserTableBuilder } from "../report/user-table.js";
import { VERSION as PROGRAM } from "../version.js";
import { ablationOf, findTrials } from "./ablate.js";
import { clusterStage } from "./cluster.js";
import { crowdStage } from "./crowd.js";
import type { Evaluated } from "./evaluate.js";
import { importStage } from "./import.js";
import type { Indexed } from "./index-stage.js";
import type { WithPrior } from "./prior.js";
import { reproduceCommand } from "./reproduce.js";
import { openServing, type Serving } from "./serving.js";
import { settingsToKeep, storedSettings } from "./settings-file.js";
import { defineStage, type Stage, type StageContext, type StageOutput } from "./stage.js";
import type { TrainedModel } from "./train.js";
import type { Tuned } from "./tune.js";

const NAME = "report";
/** 3: checks first, every test user, ablations. */
const VERSION = 3;
export const REPORT_FILE = "report.html";
const EXAMPLE_USERS = 2;
const SHOWN_ITEMS = 10;
const SHOWN_INTERESTS = 6;
/** Of test users in the file, with the titles and labels that they need. */
const USER_BYTES = 2_000_000;
/** Users that are recommended to at once. */
const BATCH = 256;

export interface Reported extends StageOutput {
  readonly file: string;
}

/** What a report tells of. */
export interface ReportParts {
  /** The run's own model by itself, as it is judged (with its prior, where one is chosen), and what it is held against. */
  readonly trained: Stage<TrainedModel>;
  readonly own: Stage<TrainedModel>;
  /** What chose the settings and the prior of `own`, where anything was to be chosen. */
  readonly tune: Stage<Tuned> | undefined;
  readonly prior: Stage<WithPrior> | undefined;
  readonly others: readonly Stage<TrainedModel>[];
  readonly evaluate: Stage<Evaluated>;
  /** Whose model is served: `own`, or the same trained on everybody. */
  readonly served: Stage<TrainedModel>;
  readonly index: Stage<Indexed>;
}

/** The stages behind the report that make models, judge and serve them, in order. */
export function madeStages({ tune, trained, own, others, served, evaluate, index }: ReportParts): Stage[] {
  return [...(tune === undefined ? [] : [tune]), ...new Set([trained, ...others, own, served]), evaluate, index];
}

/** Writes the report of a finished run. */
export function reportStage(parts: ReportParts): Stage<Reported> {
  const reads = [importStage, clusterStage, crowdStage, ...madeStages(parts)];
  return defineStage({
    name: NAME,
    summary: "writes one HTML file that tells of the run and needs no network",
    version: VERSION,
    command: NAME,
    reads,
    settings: settingsSchema.pick({ interactions: true, model: true, evaluate: true, seed: true }),
    // By the settings alone: where the run lies is said in the report, and a run that was moved is still the same.
    plan: async (context) => {
      const { path, settingsFile } = context.directory;
      const trials = await findTrials(context, context.settings);
      return {
        config: { settings: settingsToKeep(await storedSettings(path, settingsFile), path), program: PROGRAM },
        files: {},
        inputs: Object.fromEntries(trials.map(({ stage, fingerprint }) => [stage, fingerprint])),
      };
    },
    run: (context, dir) => writeReport(context, parts, join(dir, REPORT_FILE)),
    open: async (_context, finished) => ({ ...finished, file: join(finished.dir, REPORT_FILE) }),
    describe: async () => ({ summary: REPORT_FILE }),
  });
}

type Context = Pick<
  StageContext<Pick<Settings, "interactions" | "model" | "evaluate" | "seed">>,
  "directory" | "settings" | "signal" | "options" | "open" | "find"
>;

/** Writes the report of a finished run to a file, which need not lie in the run. */
export async function writeReport(context: Context, parts: ReportParts, file: string): Promise<void> {
  // Charts bring a document model and d3: only the report pays for them.
  const { renderReport } = await import("../report/render.js");
  await writeFileAtomic(file, renderReport(await collect(context, parts)));
}

async function collect(context: Context, parts: ReportParts): Promise<ReportData> {
  const { own, served, evaluate, tune, prior } = parts;
  const { directory, settings, options } = context;
  const imported = await context.open(importStage);
  const clustered = await context.open(clusterStage);
  const { report: clusters, partitions } = await clustered.contents();
  const { report: crowd } = await context.open(crowdStage);
  const times: { name: string; seconds: number; fingerprint: string }[] = [];
  for (const { name } of [importStage, clusterStage, crowdStage, ...madeStages(parts)]) {
    const manifest = await directory.manifest(name);
    if (manifest === undefined) continue;
    times.push({ name, seconds: manifest.wallSeconds, fingerprint: manifest.fingerprint });
  }
  const trials = await findTrials(context, settings);
  const { model, evaluate: judged, seed } = settings;
  await using serving = await openServing(context, served);
  return {
    name: nameOf(settings.interactions) ?? basename(directory.path),
    date: new Date().toISOString().slice(0, 10),
    imported: imported.report,
    evaluation: (await context.open(evaluate)).report,
    curve: await (await context.open(own)).curve(),
    tuning: (await (tune && context.find(tune)))?.result,
    prior: (await (prior && context.open(prior)))?.choice,
    ablation:
      trials.length === 0
        ? undefined
        : await ablationOf(trials, model, { samples: judged.resamples, seed, ...options }),
    clusterer: {
      name: clusters.clusterer,
      model: clusters.model === undefined ? undefined : basename(clusters.model.path),
      meanClusters: clusters.clusters?.mean,
      notice: clusters.notice,
    },
    crowd:
      crowd === undefined
        ? undefined
        : { coverage: crowd.coverage, bound: crowd.coverageBound, candidates: crowd.candidates },
    users: await testUsers(imported.dataset, partitions, serving, seed, options),
    stages: times,
    reproduce: {
      command: await reproduceCommand(directory, { seed, languageModel: clusters.model?.path }),
      files: (await directory.manifest(importStage.name))?.inputs ?? {},
    },
    environment: environment(),
  };
}

/** As many test users as fit, drawn by the seed where that is not everybody; two that have much to show among them. */
async function testUsers(
  dataset: Dataset,
  partitions: Partitions | undefined,
  serving: Serving,
  seed: number,
  { signal, onProgress }: Required<RunOptions>,
): Promise<UserTable> {
  const total = dataset.split.test.users.length;
  const examples = exampleRows(dataset, partitions);
  const drawn = createRandom(seed, "report").shuffle(Uint32Array.from({ length: total }, (_, row) => row));
  const rows = [...examples, ...drawn.filter((row) => !examples.includes(row))];
  const table = new UserTableBuilder(USER_BYTES);
  for (let start = 0; start < rows.length; start += BATCH) {
    const part = rows.slice(start, start + BATCH);
    const users = await describeUsers(dataset, serving, part, signal);
    const fits = users.every((user, n) => table.add(user, { order: part[n]!, example: examples.includes(part[n]!) }));
    onProgress({ stage: "report", done: start + part.length, total, unit: "users" });
    if (!fits) break;
  }
  return table.build(total);
}

/**
 * The test users with the most interests among those of middling history, where there is something to see and room to
 * show it; ties by the split's order.
 */
function exampleRows({ split: { test } }: Dataset, partitions: Partitions | undefined): number[] {
  const clusters = (row: number): number => partitions?.test.labels[row]?.length ?? 0;
  const rows = Array.from(test.users.keys());
  const middling = rows.filter((row) => test.historyEnds[row]! >= 8 && test.historyEnds[row]! <= 60);
  return (middling.length >= EXAMPLE_USERS ? middling : rows)
    .sort((a, b) => clusters(b) - clusters(a) || test.historyEnds[b]! - test.historyEnds[a]! || a - b)
    .slice(0, EXAMPLE_USERS);
}

/** What the model says of test users from the history parts alone, beside what they really took next. */
async function describeUsers(
  { log, split: { test }, catalog }: Dataset,
  serving: Serving,
  rows: readonly number[],
  signal: AbortSignal,
): Promise<ReportUser[]> {
  const parts = rows.map((row) => {
    const events = userItems(log, test.users[row]!);
    const history = events.subarray(0, test.historyEnds[row]);
    return { history, next: new Set(events.subarray(test.historyEnds[row], test.targetEnds[row])) };
  });
  const found = await serving.recommender.recommendMany(
    parts.map(({ history }) => ({ history: Array.from(history, (item) => catalog.items[item]!.id) })),
    { k: SHOWN_ITEMS, signal },
  );
  const title = (external: string): string => catalog.items[catalog.idOf(external) ?? 0]!.title || external;
  return found.map(({ items, interests }, n) => {
    const { history, next } = parts[n]!;
    // Those that an item points at are shown however small they are.
    const pointedAt = new Set(items.map(({ interest }) => interest));
    const shown = interests.filter(({ index }, place) => place < SHOWN_INTERESTS || pointedAt.has(index));
    return {
      id: log.userIds[test.users[rows[n]!]!]!,
      events: history.length,
      targets: next.size,
      interests: shown.map(({ index, kind, labels, share, because }) => ({
        index,
        kind,
        labels,
        share,
        because: because.map(title),
      })),
      items: items.map((item) => ({
        title: title(item.id),
        interest: item.interest,
        hit: next.has(catalog.idOf(item.id) ?? 0),
      })),
    };
  });
}

/** What a run is called after: the file that it began with. */
function nameOf(interactions: Settings["interactions"]): string | undefined {
  const [first] = [interactions ?? []].flat();
  return first === undefined ? undefined : basename(first);
}

function environment(): Record<string, string> {
  const info = native()?.runtimeInfo();
  return {
    prismrec: PROGRAM,
    node: process.versions.node,
    platform: `${process.platform}-${process.arch}`,
    kernels: info === undefined ? "TypeScript references" : info.simd,
    threads: `${threadBudget()} of ${availableParallelism()}`,
  };
}
