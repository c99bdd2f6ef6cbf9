import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { threadBudget, writeFileAtomic } from "@prismrec/core/base";
import { type Dataset, userItems } from "@prismrec/core/data";
import type { Partitions } from "@prismrec/core/interests";
import { native } from "@prismrec/core/ops";
import { CONFIG_FILE } from "../config/load.js";
import { type Settings, settingsSchema } from "../config/schema.js";
import { shellQuote } from "../format.js";
import { asFlags } from "../options.js";
import type { ReportData, ReportUser } from "../report/data.js";
import { VERSION as PROGRAM } from "../version.js";
import { clusterStage } from "./cluster.js";
import { crowdStage } from "./crowd.js";
import type { Evaluated } from "./evaluate.js";
import { type Imported, importStage } from "./import.js";
import type { Indexed } from "./index-stage.js";
import type { WithPrior } from "./prior.js";
import type { RunDirectory } from "./run-directory/run-directory.js";
import { openServing, type Serving } from "./serving.js";
import { settingsToKeep, storedSettings } from "./settings-file.js";
import { defineStage, type Stage, type StageContext, type StageOutput } from "./stage.js";
import type { TrainedModel } from "./train.js";
import type { Tuned } from "./tune.js";

const NAME = "report";
/** 2: what the lists do to the catalog, whether named interests fit, and what validation has chosen. */
const VERSION = 2;
export const REPORT_FILE = "report.html";
const EXAMPLE_USERS = 2;
const EXAMPLE_ITEMS = 10;
const EXAMPLE_INTERESTS = 6;

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
    settings: settingsSchema.pick({ interactions: true }),
    // By the settings alone: where the run lies is said in the report, and a run that was moved is still the same.
    plan: async ({ directory }) => ({
      config: {
        settings: settingsToKeep(await storedSettings(directory.path, directory.settingsFile), directory.path),
        program: PROGRAM,
      },
      files: {},
    }),
    run: (context, dir) => writeReport(context, parts, join(dir, REPORT_FILE)),
    open: async (_context, finished) => ({ ...finished, file: join(finished.dir, REPORT_FILE) }),
    describe: async () => ({ summary: REPORT_FILE }),
  });
}

type Context = Pick<
  StageContext<Pick<Settings, "interactions">>,
  "directory" | "settings" | "signal" | "open" | "find"
>;

/** Writes the report of a finished run to a file, which need not lie in the run. */
export async function writeReport(context: Context, parts: ReportParts, file: string): Promise<void> {
  // Charts bring a document model and d3: only the report pays for them.
  const { renderReport } = await import("../report/render.js");
  await writeFileAtomic(file, renderReport(await collect(context, parts, await reproduce(context.directory))));
}

async function collect(context: Context, parts: ReportParts, command: string): Promise<ReportData> {
  const { own, served, evaluate, tune, prior } = parts;
  const { directory, settings, signal } = context;
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
  await using serving = await openServing(context, served);
  return {
    name: nameOf(settings.interactions) ?? basename(directory.path),
    date: new Date().toISOString().slice(0, 10),
    command,
    imported: imported.report,
    evaluation: (await context.open(evaluate)).report,
    curve: await (await context.open(own)).curve(),
    tuning: (await (tune && context.find(tune)))?.result,
    prior: (await (prior && context.open(prior)))?.choice,
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
    users: await exampleUsers(imported, partitions, serving, signal),
    stages: times,
    environment: environment(),
  };
}

/**
 * The test users with the most interests among those of middling history, where there is something to see and room to
 * show it; ties by the split's order.
 */
async function exampleUsers(
  { dataset }: Imported,
  partitions: Partitions | undefined,
  serving: Serving,
  signal: AbortSignal,
): Promise<ReportUser[]> {
  const { test } = dataset.split;
  const clusters = (row: number): number => partitions?.test.labels[row]?.length ?? 0;
  const rows = Array.from(test.users.keys());
  const middling = rows.filter((row) => test.historyEnds[row]! >= 8 && test.historyEnds[row]! <= 60);
  const chosen = (middling.length >= EXAMPLE_USERS ? middling : rows)
    .sort((a, b) => clusters(b) - clusters(a) || test.historyEnds[b]! - test.historyEnds[a]! || a - b)
    .slice(0, EXAMPLE_USERS);
  const users: ReportUser[] = [];
  for (const row of chosen) users.push(await exampleUser(dataset, serving, row, signal));
  return users;
}

/** What the model says of a test user from the history part alone, beside what the user really took next. */
async function exampleUser(
  { log, split, catalog }: Dataset,
  serving: Serving,
  row: number,
  signal: AbortSignal,
): Promise<ReportUser> {
  const user = split.test.users[row]!;
  const id = log.userIds[user]!;
  const events = userItems(log, user);
  const history = events.subarray(0, split.test.historyEnds[row]);
  const targets = new Set(events.subarray(split.test.historyEnds[row], split.test.targetEnds[row]));
  const found = await serving.recommender.recommend(
    { history: Array.from(history, (item) => catalog.items[item]!.id) },
    { k: EXAMPLE_ITEMS, signal },
  );
  const title = (external: string): string => catalog.items[catalog.idOf(external) ?? 0]!.title || external;
  // Those that an item points at are shown however small they are.
  const pointedAt = new Set(found.items.map(({ interest }) => interest));
  const shown = found.interests.filter(({ index }, place) => place < EXAMPLE_INTERESTS || pointedAt.has(index));
  return {
    id,
    events: history.length,
    interests: shown.map(({ index, kind, labels, share, because }) => ({
      index,
      kind,
      labels,
      share,
      because: because.map(title),
    })),
    items: found.items.map((item) => ({
      title: title(item.id),
      interest: item.interest,
      hit: targets.has(catalog.idOf(item.id) ?? 0),
    })),
  };
}

/** What a run is called after: the file that it began with. */
function nameOf(interactions: Settings["interactions"]): string | undefined {
  const [first] = [interactions ?? []].flat();
  return first === undefined ? undefined : basename(first);
}

/** The command that makes this run again: its flags, or its configuration where flags cannot say all of it. */
async function reproduce({ path, settingsFile }: RunDirectory): Promise<string> {
  const { flags, complete } = asFlags(await storedSettings(path, settingsFile));
  const all: readonly (readonly [string, string])[] = complete
    ? [...flags, ["--out", path]]
    : [
        ["--config", join(path, CONFIG_FILE)],
        ["--out", path],
      ];
  return `npx prismrec run ${all.map(([flag, value]) => `${flag} ${shellQuote(value)}`).join(" \\\n  ")}`;
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
