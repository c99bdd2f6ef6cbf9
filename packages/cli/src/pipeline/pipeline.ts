import { existsSync } from "node:fs";
import { join } from "node:path";
import {
  PrismrecError,
  type Progress,
  RunDirectory,
  type RunOptions,
  readJson,
  type StageResult,
  type StageSpec,
  writeJsonAtomic,
} from "@prismrec/core";
import { CONFIG_FILE, isRecord, parseSettings, type RawSettings } from "../config/load.js";
import type { Settings } from "../config/schema.js";
import { duration } from "../terminal/format.js";
import type { Ui } from "../terminal/ui.js";

/** What every stage is given: where to write, what was asked for, how to talk, when to stop. */
export interface Pipeline {
  readonly run: RunDirectory;
  readonly settings: Settings;
  readonly ui: Ui;
  readonly signal: AbortSignal;
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

/** Opens a run for writing under the settings given, which it keeps for the commands that come after. */
export async function openPipeline(
  dir: string,
  raw: RawSettings,
  surroundings: { readonly ui: Ui; readonly signal: AbortSignal },
): Promise<Pipeline & AsyncDisposable> {
  const settings = parseSettings(raw, "the command");
  const run = await RunDirectory.open(dir);
  await writeJsonAtomic(join(run.path, CONFIG_FILE), raw);
  return { run, settings, ...surroundings, [Symbol.asyncDispose]: () => run.close() };
}

/** Opens a finished run for reading; another process may be writing to it. */
export async function readPipeline(
  dir: string,
  raw: RawSettings,
  surroundings: { readonly ui: Ui; readonly signal: AbortSignal },
): Promise<Pipeline & AsyncDisposable> {
  const run = await RunDirectory.open(dir, { readOnly: true });
  return {
    run,
    settings: parseSettings(raw, "the command"),
    ...surroundings,
    [Symbol.asyncDispose]: () => run.close(),
  };
}

/** A finished stage as the next one sees it. */
export interface StageOutput {
  readonly dir: string;
  readonly fingerprint: string;
}

/** Runs a stage or takes over what it left, and says which of the two and how long it took. */
export async function runStage(
  pipeline: Pipeline,
  name: string,
  spec: StageSpec,
  work: (dir: string) => Promise<void>,
): Promise<StageOutput & Pick<StageResult, "reused">> {
  const { run, ui } = pipeline;
  const result = await run.stage(name, spec, (dir) => work(dir), runOptions(pipeline));
  ui.stopProgress();
  if (result.reason === "damaged") ui.warn(`${name} was damaged and has been done again`);
  return { dir: result.dir, fingerprint: result.manifest.fingerprint, reused: result.reused };
}

/** A finished stage, or RUN_INVALID that says which command brings it about. */
export async function requireStage(pipeline: Pipeline, name: string, command = name): Promise<StageOutput> {
  const manifest = await pipeline.run.manifest(name);
  if (manifest !== undefined) return { dir: pipeline.run.stageDir(name), fingerprint: manifest.fingerprint };
  throw new PrismrecError("RUN_INVALID", `this run has no finished ${command} stage`, {
    received: pipeline.run.path,
    hint: `prismrec run does every stage that is missing; prismrec ${command} does this one.`,
  });
}

/** The line that tells of a finished stage. */
export async function announce(pipeline: Pipeline, name: string, text: string, reused: boolean): Promise<void> {
  const { ui, run } = pipeline;
  const seconds = reused ? undefined : (await run.manifest(name))?.wallSeconds;
  const time = seconds === undefined ? ui.err.dim("as before") : ui.err.dim(duration(seconds));
  ui.info(`${ui.err.good("✔")} ${name.padEnd(20)} ${text}   ${time}`);
}
