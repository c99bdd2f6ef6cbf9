import { copyFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { fromFileError, PrismrecError, threadBudget, writeFileAtomic } from "@prismrec/core/base";
import { userItems } from "@prismrec/core/data";
import { native } from "@prismrec/core/ops";
import { CONFIG_FILE } from "../config/load.js";
import { asFlags } from "../options.js";
import type { ReportData, ReportUser } from "../report/data.js";
import { shellQuote } from "../terminal/format.js";
import { VERSION as PROGRAM } from "../version.js";
import type { Clustered } from "./cluster.js";
import type { Crowded } from "./crowd.js";
import type { Evaluated } from "./evaluate.js";
import type { Imported } from "./import.js";
import { openServing, runIndex, type Serving } from "./index-stage.js";
import { announce, isUnwritable, type Pipeline, runStage, type StageOutput, storedSettings } from "./pipeline.js";
import { readCurve, type Trained } from "./train.js";

const NAME = "report";
const VERSION = 1;
export const REPORT_FILE = "report.html";
const EXAMPLE_USERS = 2;
const EXAMPLE_ITEMS = 10;
const EXAMPLE_INTERESTS = 6;

export interface Reported extends StageOutput {
  readonly file: string;
}

export interface FinishedRun {
  readonly imported: Imported;
  readonly clustered: Clustered;
  readonly crowded: Crowded;
  readonly trained: Trained;
  readonly evaluated: Evaluated;
}

/** Writes the report of a finished run. */
export async function runReport(pipeline: Pipeline, run: FinishedRun): Promise<Reported> {
  const { imported, clustered, crowded, evaluated } = run;
  const index = await pipeline.run.requireStage("index");
  const inputs = {
    import: imported.fingerprint,
    cluster: clustered.fingerprint,
    crowd: crowded.fingerprint,
    evaluate: evaluated.fingerprint,
    index: index.manifest.fingerprint,
  };
  // By the settings alone: where the run lies is said in the report, and a run that was moved is still the same.
  const settings = await storedSettings(pipeline.run.path);
  const spec = { inputs, config: { settings, program: PROGRAM }, version: VERSION };
  const output = await runStage(pipeline, NAME, spec, (dir) => writeReport(pipeline, run, join(dir, REPORT_FILE)));
  await announce(pipeline, NAME, REPORT_FILE, output.reused);
  return { ...output, file: join(output.dir, REPORT_FILE) };
}

/**
 * Brings the run's report up to date and copies it to `output` where that is given; gives the file to look at. Where the
 * run cannot be written to, the report is written to `output` alone.
 */
export async function deliverReport(pipeline: Pipeline, run: FinishedRun, output: string | undefined): Promise<string> {
  let kept: string;
  try {
    await runIndex(pipeline, run.imported, run.clustered, run.trained);
    kept = (await runReport(pipeline, run)).file;
  } catch (error) {
    if (!isUnwritable(error)) throw error;
    if (output !== undefined) {
      await writeReport(pipeline, run, output);
      return output;
    }
    throw new PrismrecError(error.code, `the report cannot be written into the run: ${error.message}`, {
      expected: "a run that can be written to",
      received: error.received ?? pipeline.run.path,
      hint: "Give --output FILE: the report is then written there alone.",
      cause: error,
    });
  }
  if (output === undefined) return kept;
  await copyFile(kept, output).catch((error: unknown) => {
    throw fromFileError(error, output, "write");
  });
  return output;
}

/** Writes the report of a finished run to a file, which need not lie in the run. */
async function writeReport(pipeline: Pipeline, run: FinishedRun, file: string): Promise<void> {
  // Charts bring a document model and d3: only the report pays for them.
  const { renderReport } = await import("../report/render.js");
  await writeFileAtomic(file, renderReport(await collect(pipeline, run, await reproduce(pipeline))));
}

async function collect(pipeline: Pipeline, run: FinishedRun, command: string): Promise<ReportData> {
  const { imported, clustered, crowded, trained, evaluated } = run;
  const { settings } = pipeline;
  const ldmi = trained.models.find(({ name }) => name === "ldmi");
  const { report } = crowded;
  return {
    name: settings.interactions === undefined ? basename(pipeline.run.path) : basename(settings.interactions),
    date: new Date().toISOString().slice(0, 10),
    command,
    imported: imported.report,
    evaluation: evaluated.report,
    curve: await readCurve(ldmi?.dir ?? pipeline.run.stageDir("train-ldmi")),
    clusterer: {
      name: clustered.report.clusterer,
      model: clustered.report.model === undefined ? undefined : basename(clustered.report.model.path),
      meanClusters: clustered.report.clusters?.mean,
      notice: clustered.report.notice,
    },
    crowd:
      report === undefined
        ? undefined
        : { coverage: report.coverage, bound: report.coverageBound, candidates: report.candidates },
    users: await exampleUsers(pipeline, imported, clustered),
    stages: await stageTimes(pipeline),
    environment: environment(),
  };
}

/**
 * The test users with the most interests among those of middling history, where there is something to see and room to
 * show it; ties by the split's order.
 */
async function exampleUsers(pipeline: Pipeline, imported: Imported, clustered: Clustered): Promise<ReportUser[]> {
  const { test } = imported.dataset.split;
  const clusters = (row: number): number => clustered.partitions?.test.labels[row]?.length ?? 0;
  const rows = Array.from(test.users.keys());
  const middling = rows.filter((row) => test.historyEnds[row]! >= 8 && test.historyEnds[row]! <= 60);
  const chosen = (middling.length >= EXAMPLE_USERS ? middling : rows)
    .sort((a, b) => clusters(b) - clusters(a) || test.historyEnds[b]! - test.historyEnds[a]! || a - b)
    .slice(0, EXAMPLE_USERS);
  await using serving = await openServing(pipeline, imported);
  const users: ReportUser[] = [];
  for (const row of chosen) users.push(await exampleUser(pipeline, imported, serving, row));
  return users;
}

/** What the model says of a test user from the history part alone, beside what the user really took next. */
async function exampleUser(pipeline: Pipeline, imported: Imported, serving: Serving, row: number): Promise<ReportUser> {
  const { log, split, catalog } = imported.dataset;
  const user = split.test.users[row]!;
  const id = log.userIds[user]!;
  const events = userItems(log, user);
  const history = events.subarray(0, split.test.historyEnds[row]);
  const targets = new Set(events.subarray(split.test.historyEnds[row], split.test.targetEnds[row]));
  const found = await serving.recommender.recommend(
    { history: Array.from(history, (item) => catalog.items[item]!.id) },
    { k: EXAMPLE_ITEMS, signal: pipeline.signal },
  );
  const title = (external: string): string => catalog.items[catalog.idOf(external) ?? 0]!.title || external;
  return {
    id,
    events: history.length,
    interests: found.interests.slice(0, EXAMPLE_INTERESTS).map(({ index, kind, labels, share, because }) => ({
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

async function stageTimes({ run, settings }: Pipeline): Promise<ReportData["stages"]> {
  const names = ["import", "cluster", "crowd", "train-ldmi"];
  names.push(...settings.baselines.map((name) => `train-${name}`), "evaluate", "index");
  const stages: { name: string; seconds: number; fingerprint: string }[] = [];
  for (const name of names) {
    const manifest = await run.manifest(name);
    if (manifest === undefined) continue;
    stages.push({ name, seconds: manifest.wallSeconds, fingerprint: manifest.fingerprint });
  }
  return stages;
}

/** The command that makes this run again: its flags, or its configuration where flags cannot say all of it. */
async function reproduce({ run }: Pipeline): Promise<string> {
  const { flags, complete } = asFlags(await storedSettings(run.path));
  const all: readonly (readonly [string, string])[] = complete
    ? [...flags, ["--out", run.path]]
    : [
        ["--config", join(run.path, CONFIG_FILE)],
        ["--out", run.path],
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
