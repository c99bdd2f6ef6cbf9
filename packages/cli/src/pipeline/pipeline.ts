import { existsSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import {
  isPrismrecError,
  PrismrecError,
  type Progress,
  RunDirectory,
  type RunOptions,
  readJson,
  type StageManifest,
  type StageResult,
  type StageSpec,
  setThreadBudget,
  staleness,
  systemCode,
  writeJsonAtomic,
} from "@prismrec/core/base";
import { checkFiles, checkSettings, type FileSetting } from "../config/check.js";
import { CONFIG_FILE, isRecord, parseSettings, type RawSettings } from "../config/load.js";
import type { Settings } from "../config/schema.js";
import { duration, shellQuote } from "../terminal/format.js";
import { plain } from "../terminal/style.js";
import type { Ui } from "../terminal/ui.js";

/** What every stage is given: where to write, what was asked for, how to talk, when to stop. */
export interface Pipeline {
  readonly run: RunDirectory;
  readonly settings: Settings;
  readonly ui: Ui;
  readonly signal: AbortSignal;
  /** Writes the settings down for the commands that come after, where they are the run's own and have changed. */
  keepSettings(): Promise<void>;
}

/** The options of a library call under this pipeline. */
export function runOptions(pipeline: Pipeline): Required<RunOptions> {
  return { signal: pipeline.signal, onProgress: (progress: Progress) => pipeline.ui.progress(progress) };
}

/** The settings a run directory was made with; nothing where it has none. */
export async function storedSettings(dir: string): Promise<RawSettings> {
  const path = join(dir, CONFIG_FILE);
  if (!existsSync(path)) return {};
  const value = await readJson(path, "RUN_INVALID");
  if (isRecord(value)) {
    const { $schema: _, ...settings } = value;
    return settings;
  }
  throw new PrismrecError("RUN_INVALID", `${path} does not hold settings`, { hint: "Run the pipeline again." });
}

interface Surroundings {
  readonly ui: Ui;
  readonly signal: AbortSignal;
}

/** What a command does with the settings that it opens a run under. */
export interface OpenOptions {
  /** false: they are a trial's, and the run keeps those that it has. */
  readonly keep?: boolean;
  /** The files among them that the command reads. */
  readonly files?: readonly FileSetting[];
}

/**
 * Opens a run under settings of which everything has been checked that can be without the data. Nothing is written, and
 * nobody is kept from writing, before the first stage that has to be done.
 */
export async function openPipeline(
  dir: string,
  raw: RawSettings,
  surroundings: Surroundings,
  { keep = true, files = [] }: OpenOptions = {},
): Promise<Pipeline & AsyncDisposable> {
  const settings = parseSettings(raw, "the command");
  await checkSettings(settings, "the command");
  await checkFiles(settings, files);
  if (settings.threads !== undefined) setThreadBudget(settings.threads);
  const run = await RunDirectory.open(dir, { lock: "when-writing" });
  const keepSettings = async (): Promise<void> => {
    if (!keep || isDeepStrictEqual(raw, await storedSettings(run.path))) return;
    await run.lock();
    await writeJsonAtomic(join(run.path, CONFIG_FILE), raw);
  };
  return { run, settings, ...surroundings, keepSettings, [Symbol.asyncDispose]: () => run.close() };
}

/** Opens a finished run for reading under its own settings; another process may be writing to it. */
export async function readPipeline(dir: string, surroundings: Surroundings): Promise<Pipeline & AsyncDisposable> {
  const run = await RunDirectory.open(dir, { readOnly: true });
  return {
    run,
    settings: parseSettings(await storedSettings(run.path), join(run.path, CONFIG_FILE)),
    ...surroundings,
    keepSettings: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => run.close(),
  };
}

/** Whether a run could not be written to: somebody else does, or the disk or its owner does not let it. */
export function isUnwritable(error: unknown): error is PrismrecError {
  if (isPrismrecError(error, "RUN_LOCKED")) return true;
  return isPrismrecError(error, "IO") && ["EROFS", "EACCES", "EPERM"].includes(systemCode(error.cause) ?? "");
}

/** A finished stage as the next one sees it. */
export interface StageOutput {
  readonly dir: string;
  readonly fingerprint: string;
}

/**
 * Runs a stage or takes over what it left, and says which of the two and how long it took. The settings are kept when
 * the work begins, so that whoever goes on after a kill goes on with it; `settingsAfter` keeps those of an earlier time
 * until the work has succeeded.
 */
export async function runStage(
  pipeline: Pipeline,
  name: string,
  spec: StageSpec,
  work: (dir: string) => Promise<void>,
  { settingsAfter = false } = {},
): Promise<StageOutput & Pick<StageResult, "reused">> {
  const { run, ui } = pipeline;
  const begin = async (dir: string): Promise<void> => {
    if (!settingsAfter || !existsSync(join(run.path, CONFIG_FILE))) await pipeline.keepSettings();
    await work(dir);
  };
  const result = await run.stage(name, spec, begin, runOptions(pipeline));
  ui.stopProgress();
  await pipeline.keepSettings().catch((error: unknown) => {
    if (!result.reused || !isUnwritable(error)) throw error;
    ui.detail(`  the settings of this command are not kept: ${plain(error.message)}`);
  });
  if (result.reason === "damaged") ui.warn(`${name} was damaged and has been done again`);
  return { dir: result.dir, fingerprint: result.manifest.fingerprint, reused: result.reused };
}

/** A finished stage that `spec` would make again just so; undefined where there is none. */
export async function findStage(pipeline: Pipeline, name: string, spec: StageSpec): Promise<StageOutput | undefined> {
  const manifest = await pipeline.run.manifest(name);
  if (manifest === undefined || staleness(manifest, spec) !== undefined) return undefined;
  return { dir: pipeline.run.stageDir(name), fingerprint: manifest.fingerprint };
}

/** `requireManifest` of a stage that is not stale: RUN_INVALID says what has changed and which command makes it again. */
export async function requireStage(
  pipeline: Pipeline,
  name: string,
  spec: StageSpec,
  command = name,
): Promise<StageOutput> {
  const manifest = await requireManifest(pipeline, name, command);
  const why = staleness(manifest, spec);
  if (why === undefined) return { dir: pipeline.run.stageDir(name), fingerprint: manifest.fingerprint };
  const flags = why.kind === "settings" ? " Flags of this command that are not the run's own go with it." : "";
  throw new PrismrecError("RUN_INVALID", `the ${name} stage of this run is out of date: ${why.text}`, {
    received: pipeline.run.path,
    hint: `${howToBring(pipeline, command)}${flags}`,
  });
}

/** The manifest of a finished stage, or RUN_INVALID that says which command brings it about. */
export async function requireManifest(pipeline: Pipeline, name: string, command = name): Promise<StageManifest> {
  const manifest = await pipeline.run.manifest(name);
  if (manifest !== undefined) return manifest;
  throw new PrismrecError("RUN_INVALID", `this run has no finished ${name} stage`, {
    received: pipeline.run.path,
    hint: howToBring(pipeline, command),
  });
}

function howToBring({ run }: Pipeline, command: string): string {
  const dir = shellQuote(run.path);
  if (!existsSync(join(run.path, CONFIG_FILE)))
    return `prismrec import or prismrec run, with --out ${dir}, begins one.`;
  const everything = `prismrec run ${dir} brings every stage up to date.`;
  return command === "import" ? everything : `prismrec ${command} ${dir} makes this one; ${everything}`;
}

/** The line that tells of a finished stage. */
export async function announce(pipeline: Pipeline, name: string, text: string, reused: boolean): Promise<void> {
  const { ui, run } = pipeline;
  const seconds = reused ? undefined : (await run.manifest(name))?.wallSeconds;
  const time = seconds === undefined ? ui.err.dim("as before") : ui.err.dim(duration(seconds));
  ui.info(`${ui.err.good("✔")} ${name.padEnd(20)} ${text}   ${time}`);
}
