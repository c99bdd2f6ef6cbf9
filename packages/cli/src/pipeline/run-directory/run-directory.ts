import { existsSync } from "node:fs";
import { mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import {
  canonicalJson,
  fromFileError,
  hashJson,
  isPrismrecError,
  PrismrecError,
  type RunOptions,
  readJson,
  sha256File,
  syncFolder,
  systemCode,
  writeJsonAtomic,
} from "@prismrec/core/base";
import { z } from "zod";
import { CONFIG_FILE } from "../../config/load.js";
import { acquireLock, type Lock } from "./lock.js";
import { checkRunFormat, markRunFormat } from "./run-format.js";
import { type StageSpec, stageKey } from "./stage-key.js";

const MANIFEST = "manifest.json";
/** Where a run's next state is made while the former one serves. */
const BESIDE = ".update";
/** Says in that folder that the next state is complete: from then on it is the run's. */
const COMPLETE = "complete.json";
const STAGE_NAME = /^[a-z][a-z0-9-]*$/;

const manifestSchema = z.object({
  stage: z.string(),
  /** Hash of the stage's name, inputs, config, seed and version: the same key means the same output. */
  key: z.string(),
  /** Hash of the output's files: what a later stage names as its input. */
  fingerprint: z.string(),
  inputs: z.record(z.string(), z.string()),
  config: z.json(),
  seed: z.union([z.number(), z.string(), z.null()]),
  versions: z.record(z.string(), z.string()),
  startedAt: z.string(),
  wallSeconds: z.number(),
  /** Every file of the stage but this manifest, by path relative to the stage's folder. */
  files: z.record(z.string(), z.object({ bytes: z.int().nonnegative(), sha256: z.string() })),
});

/** What a finished stage leaves beside its files. */
export type StageManifest = z.infer<typeof manifestSchema>;

export interface StageContext extends RunOptions {
  readonly key: string;
  /** The folder holds what an interrupted attempt with the very same key has written: go on from there. */
  readonly resumed: boolean;
}

export interface StageResult {
  readonly dir: string;
  readonly manifest: StageManifest;
  /** Nothing was run: the folder already held this stage's output. */
  readonly reused: boolean;
  /** Why it was run. */
  readonly reason?: "new" | "changed" | "damaged" | "interrupted";
}

/** Where the settings of a run lie. */
export function placeOfSettings(dir: string): string {
  const next = join(dir, BESIDE, CONFIG_FILE);
  return existsSync(join(dir, BESIDE, COMPLETE)) && existsSync(next) ? next : join(dir, CONFIG_FILE);
}

/** The folder in a run that keeps copies of the tables it was made from. */
export function inputsOf(dir: string): string {
  return join(dir, "inputs");
}

/**
 * A run: one folder per stage, each with its manifest. A stage runs in a hidden folder that is named by its key and is
 * renamed when it is complete, so that a process killed at any point leaves either the old output or the new one, and
 * the interrupted attempt to go on from. One process writes at a time.
 *
 * The next state of a whole run is made in a folder beside it (`beside`), and becomes the run's by one file (`takeOver`): a
 * process killed at any point leaves either the old run or the new one.
 */
export class RunDirectory implements AsyncDisposable {
  readonly path: string;
  readonly #readOnly: boolean;
  /** Where its stages are written. */
  readonly #root: string;
  /** Whose next state this is, and who has the lock. */
  readonly #former: RunDirectory | undefined;
  /** The next state is complete, and has not been moved to its place yet. */
  #ahead: boolean;
  #lock: Lock | undefined;
  #closed = false;

  private constructor(path: string, readOnly: boolean, former?: RunDirectory) {
    this.path = path;
    this.#readOnly = readOnly;
    this.#former = former;
    this.#root = former === undefined ? path : join(path, BESIDE);
    this.#ahead = former === undefined && existsSync(join(path, BESIDE, COMPLETE));
  }

  /** The next state of this run, made in a folder of its own under this run's lock, with its caches and its inputs. */
  beside(): RunDirectory {
    return new RunDirectory(this.path, false, this);
  }

  /** Forgets what was made of a next state. */
  async discardBeside(): Promise<void> {
    await this.lock();
    await removeAll(join(this.path, BESIDE));
  }

  /** Whether a next state has been begun. */
  get hasBeside(): boolean {
    return existsSync(join(this.path, BESIDE));
  }

  /**
   * Makes the state beside this run the run's: at once for whoever opens it from now on, whatever happens while its folders
   * are moved to their places. Throws IO, DISK_FULL.
   */
  async takeOver(): Promise<void> {
    await this.lock();
    await writeJsonAtomic(join(this.path, BESIDE, COMPLETE), {});
    await this.#moveAhead();
  }

  /** Where the settings are kept. */
  get settingsFile(): string {
    return this.#place(CONFIG_FILE);
  }

  /** What a former state hands on to this one: who is in which part of the split, and what was learned. */
  get lineage(): string {
    return this.#place("lineage");
  }

  /**
   * Opens a run for writing (made where missing); with `lock: "when-writing"` the folder is made and locked only when
   * something is to be written, so that finished stages are read beside a writer and on a disk that cannot be written;
   * with `readOnly` nothing is ever written. Throws RUN_FORMAT for a run of another format, RUN_LOCKED while another
   * process writes, FILE_NOT_FOUND for a missing run that is only to be read, IO or DISK_FULL.
   */
  static async open(
    dir: string,
    options: { readonly readOnly?: boolean; readonly lock?: "now" | "when-writing" } = {},
  ): Promise<RunDirectory> {
    const path = resolve(dir);
    const { readOnly = false, lock = "now" } = options;
    if (readOnly) {
      await readdir(path).catch((error: unknown) => {
        throw fromFileError(error, path, "read");
      });
    }
    await checkRunFormat(path);
    const run = new RunDirectory(path, readOnly);
    if (!readOnly && lock === "now") await run.lock();
    return run;
  }

  /** Makes this process the one that writes, where it is not yet. Throws RUN_LOCKED, IO, DISK_FULL, INVALID_ARGUMENT. */
  async lock(): Promise<void> {
    if (this.#former !== undefined) return this.#former.lock();
    if (this.#lock !== undefined) return;
    if (this.#closed) throw new PrismrecError("DISPOSED", "this run has been closed", { received: this.path });
    if (this.#readOnly) throw new PrismrecError("INVALID_ARGUMENT", "this run was opened for reading only");
    try {
      await mkdir(this.path, { recursive: true });
    } catch (error) {
      throw fromFileError(error, this.path, "write");
    }
    const lock = await acquireLock(this.path);
    try {
      if ((await checkRunFormat(this.path)) === "none") await markRunFormat(this.path);
      await this.#moveAhead();
    } catch (error) {
      await lock.release();
      throw error;
    }
    this.#lock = lock;
  }

  /** Folder of a finished stage. */
  stageDir(name: string): string {
    if (!STAGE_NAME.test(name)) {
      throw new PrismrecError("INVALID_ARGUMENT", "a stage's name is also its folder's", {
        expected: "lower-case letters, digits and dashes",
        received: name,
      });
    }
    return this.#place(name);
  }

  #place(entry: string): string {
    const next = join(this.path, BESIDE, entry);
    return this.#ahead && existsSync(next) ? next : join(this.#root, entry);
  }

  /** Finished stages of this run whose names begin so, in order of their names, whether or not they are up to date. */
  async stagesNamed(prefix: string): Promise<string[]> {
    const found = new Set<string>();
    for (const root of this.#ahead ? [join(this.path, BESIDE), this.#root] : [this.#root]) {
      const entries = await readdir(root).catch((error: unknown) => {
        if (systemCode(error) === "ENOENT") return [];
        throw fromFileError(error, root, "read");
      });
      for (const entry of entries) {
        if (entry.startsWith(prefix) && existsSync(join(root, entry, MANIFEST))) found.add(entry);
      }
    }
    return [...found].sort();
  }

  /** Manifest of a finished stage, undefined where it has not been run; RUN_INVALID where the manifest is damaged. */
  manifest(name: string): Promise<StageManifest | undefined> {
    return readManifest(this.stageDir(name));
  }

  /** `manifest`, or RUN_INVALID that names the missing stage. */
  async requireStage(name: string): Promise<{ readonly dir: string; readonly manifest: StageManifest }> {
    const manifest = await this.manifest(name);
    if (manifest !== undefined) return { dir: this.stageDir(name), manifest };
    throw new PrismrecError("RUN_INVALID", `this run has no finished ${name} stage`, {
      received: this.path,
      hint: `Run the ${name} stage first.`,
    });
  }

  /**
   * Gives a stage's output: the folder that is there when its key matches and its files are whole, else what `work`
   * writes into the folder that it is handed. When `work` throws, what it has written is kept for the next attempt.
   */
  async stage(
    name: string,
    spec: StageSpec,
    work: (dir: string, context: StageContext) => Promise<void>,
    run: RunOptions = {},
  ): Promise<StageResult> {
    run.signal?.throwIfAborted();
    const { inputs, config, seed = null, version = 1 } = spec;
    const key = stageKey(name, spec);
    if (!this.locked) {
      const dir = this.stageDir(name);
      const finished = await inspect(dir, key);
      if (finished.state === "whole") return { dir, manifest: finished.manifest, reused: true };
      await this.lock();
    }
    const dir = this.stageDir(name);
    const attempt = join(this.#root, `.${name}.${key.slice(0, 16)}.partial`);
    await this.#finishRename(name);
    const current = await inspect(dir, key);
    if (current.state === "whole") return { dir, manifest: current.manifest, reused: true };
    const finished = await inspect(attempt, key);
    if (finished.state === "whole") {
      await this.#replace(name, attempt);
      return { dir, manifest: finished.manifest, reused: true };
    }
    await rm(join(attempt, MANIFEST), { force: true });
    const resumed = await makeFolder(attempt);
    const startedAt = new Date();
    await work(attempt, { ...run, key, resumed });
    run.signal?.throwIfAborted();
    const files = await describeFiles(attempt);
    if (files[MANIFEST] !== undefined) {
      throw new PrismrecError("INTERNAL", `stage ${name} has written a ${MANIFEST} of its own`, {
        expected: `no ${MANIFEST} at the top of a stage's folder`,
        received: attempt,
      });
    }
    const manifest: StageManifest = {
      stage: name,
      key,
      fingerprint: hashJson(files),
      inputs: { ...inputs },
      config: z.json().parse(JSON.parse(canonicalJson(config ?? null))),
      seed,
      versions: { stage: String(version), node: process.versions.node },
      startedAt: startedAt.toISOString(),
      wallSeconds: (Date.now() - startedAt.getTime()) / 1000,
      files,
    };
    await writeJsonAtomic(join(attempt, MANIFEST), manifest);
    await this.#replace(name, attempt);
    const reason = resumed ? "interrupted" : REASONS[current.state];
    return { dir, manifest, reused: false, reason };
  }

  /** Whether this process is the one that writes. */
  get locked(): boolean {
    return this.#former?.locked ?? this.#lock !== undefined;
  }

  /**
   * A folder of this run that outlives every stage (answers of a language model, for instance); made where this process
   * is the one that writes.
   */
  async cacheDir(name: string): Promise<string> {
    const dir = join(this.path, "cache", name);
    if (this.locked) await makeFolder(dir);
    return dir;
  }

  /** Gives up the lock. A second call does nothing. */
  async close(): Promise<void> {
    const lock = this.#lock;
    this.#lock = undefined;
    this.#closed = true;
    await lock?.release();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Puts a complete attempt in the stage's place; a kill between the two renames is mended by `#finishRename`. */
  async #replace(name: string, attempt: string): Promise<void> {
    const dir = this.stageDir(name);
    const old = join(this.#root, `.${name}.old`);
    try {
      await rm(old, { recursive: true, force: true });
      if ((await sizeOf(dir)) !== undefined) await rename(dir, old);
      await rename(attempt, dir);
      await syncFolder(this.#root);
      for (const entry of await readdir(this.#root)) {
        const stale = entry.startsWith(`.${name}.`) && (entry.endsWith(".partial") || entry.endsWith(".old"));
        if (stale) await rm(join(this.#root, entry), { recursive: true, force: true });
      }
    } catch (error) {
      throw fromFileError(error, dir, "write");
    }
  }

  /** Moves a complete next state to its places; what was there goes. Whatever was moved before a kill is found there. */
  async #moveAhead(): Promise<void> {
    const beside = join(this.path, BESIDE);
    if (!existsSync(join(beside, COMPLETE))) {
      this.#ahead = false;
      return;
    }
    try {
      const entries = (await readdir(beside)).filter((entry) => !entry.startsWith(".") && entry !== COMPLETE);
      for (const entry of entries) {
        const [place, old] = [join(this.path, entry), join(this.path, `.${entry}.old`)];
        await rm(old, { recursive: true, force: true });
        if (existsSync(place)) await rename(place, old);
        await rename(join(beside, entry), place);
      }
      await syncFolder(this.path);
      for (const entry of await readdir(this.path)) {
        if (/^\..+\.(?:old|partial)$/.test(entry)) await rm(join(this.path, entry), { recursive: true, force: true });
      }
      for (const entry of await readdir(beside)) {
        if (entry !== COMPLETE) await rm(join(beside, entry), { recursive: true, force: true });
      }
      await removeAll(beside);
      this.#ahead = false;
    } catch (error) {
      throw fromFileError(error, this.path, "write");
    }
  }

  /** After a kill between the two renames the stage's folder is missing and the old output stands aside: bring it back. */
  async #finishRename(name: string): Promise<void> {
    const old = join(this.#root, `.${name}.old`);
    try {
      if ((await sizeOf(this.stageDir(name))) === undefined && (await sizeOf(old)) !== undefined) {
        await rename(old, this.stageDir(name));
      }
    } catch (error) {
      throw fromFileError(error, old, "write");
    }
  }
}

async function readManifest(dir: string): Promise<StageManifest | undefined> {
  const path = join(dir, MANIFEST);
  let content: unknown;
  try {
    content = await readJson(path, "RUN_INVALID");
  } catch (error) {
    if (isPrismrecError(error, "FILE_NOT_FOUND")) return undefined;
    throw error;
  }
  const parsed = manifestSchema.safeParse(content);
  if (parsed.success) return parsed.data;
  throw new PrismrecError("RUN_INVALID", `the manifest of a stage is damaged: ${path}`, {
    received: z.prettifyError(parsed.error),
    hint: "Run the stage again.",
  });
}

type Inspection =
  | { readonly state: "whole"; readonly manifest: StageManifest }
  | { readonly state: "missing" | "other" | "damaged" };

const REASONS = { missing: "new", other: "changed", damaged: "damaged" } as const;

/** Whether a folder holds the complete output of `key`, every file as its manifest says. */
async function inspect(dir: string, key: string): Promise<Inspection> {
  try {
    const manifest = await readManifest(dir);
    if (manifest === undefined) return { state: (await sizeOf(dir)) === undefined ? "missing" : "damaged" };
    if (manifest.key !== key) return { state: "other" };
    for (const [file, { bytes, sha256 }] of Object.entries(manifest.files)) {
      const path = join(dir, file);
      if ((await sizeOf(path)) !== bytes || (await sha256File(path)) !== sha256) return { state: "damaged" };
    }
    return { state: "whole", manifest };
  } catch (error) {
    if (isPrismrecError(error, "RUN_INVALID")) return { state: "damaged" };
    throw error;
  }
}

/** Size of a file or folder entry, undefined where there is none. */
async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw fromFileError(error, path, "read");
  }
}

/** Makes a folder; true when it was already there with something in it. */
async function makeFolder(path: string): Promise<boolean> {
  try {
    await mkdir(path, { recursive: true });
    return (await readdir(path)).length > 0;
  } catch (error) {
    throw fromFileError(error, path, "write");
  }
}

async function removeAll(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    throw fromFileError(error, path, "write");
  }
}

async function describeFiles(dir: string): Promise<StageManifest["files"]> {
  const files: StageManifest["files"] = {};
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile() && !entry.name.endsWith(".tmp"))
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => ({ path, name: path.slice(dir.length + 1).replaceAll("\\", "/") }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const { path, name } of paths) {
    files[name] = { bytes: (await stat(path)).size, sha256: await sha256File(path) };
  }
  return files;
}
