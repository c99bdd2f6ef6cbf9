import { existsSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import {
  isPrismrecError,
  PrismrecError,
  type Progress,
  type RunOptions,
  setThreadBudget,
  sha256File,
  writeJsonAtomic,
} from "@prismrec/core/base";
import { chooseDevice } from "@prismrec/core/ops";
import { checkSettings } from "../config/check.js";
import { absolutePaths, parseSettings, type RawSettings, renamed } from "../config/load.js";
import type { Settings } from "../config/schema.js";
import { shellQuote } from "../format.js";
import type { OnEvent } from "./events.js";
import { checkOutsideFiles, outsideFiles } from "./outside-files.js";
import { placeOfSettings, RunDirectory, type StageManifest } from "./run-directory/run-directory.js";
import { type StageSpec, type Staleness, staleness } from "./run-directory/stage-key.js";
import { type RunPart, select, unknownStage } from "./select.js";
import { isUnwritable, settingsToKeep, storedSettings } from "./settings-file.js";
import {
  inOrder,
  type Made,
  plainPlan,
  type Stage,
  type StageContext,
  type StageOutput,
  type StagePlan,
  withReads,
} from "./stage.js";
import { settingsOf, withSettingsOf } from "./stage-settings.js";
import { type StandardOutputs, stageNamed, stagesOf } from "./stages.js";

export interface OpenRunOptions {
  readonly signal?: AbortSignal;
  /** Told of everything while a run is under way. Nothing is ever printed. */
  readonly onEvent?: OnEvent;
  /** Stages beside the standard ones; their settings become settings of the run. */
  readonly stages?: readonly Stage[];
  /** Nothing is written, and another process may write meanwhile. */
  readonly readOnly?: boolean;
  /** The run as somebody else holds it open, who will close it. */
  readonly directory?: RunDirectory;
  /** false: the settings are a trial's, and the run keeps those that it has. */
  readonly keepSettings?: boolean;
  /**
   * The run goes on after its inputs may have moved away: what was made from files that can be read no more is kept,
   * with a warning. Default: where no settings are given.
   */
  readonly continued?: boolean;
}

export interface StageResult {
  readonly stage: string;
  readonly reused: boolean;
  readonly seconds: number;
  readonly summary: string;
}

/** How a stage of a run stands against the run's settings. */
export interface StageState {
  readonly stage: string;
  readonly state: "finished" | "stale" | "missing" | "left out";
  /** In words, where it is not finished. */
  readonly why?: string;
}

interface Entry {
  readonly finished: StageOutput;
  readonly plan: StagePlan;
  /** Opened at the first call. */
  output?: Promise<unknown>;
}

type Found =
  | { readonly state: "finished"; readonly entry: Entry }
  | { readonly state: "left out"; readonly why: string }
  | { readonly state: "missing" }
  | { readonly state: "stale"; readonly why: Staleness };

type Kept = Extract<Found, { readonly state: "finished" | "left out" }>;

/**
 * Opens a run directory under `settings` (those of a configuration file; absent: the run's own), of which everything is
 * checked that can be without the data. Nothing is written, and nobody is kept from writing, before the first stage that
 * has to be done.
 *
 * @throws PrismrecError CONFIG_INVALID, RUN_INVALID, RUN_FORMAT, FILE_NOT_FOUND for a missing run that is only to be read
 */
export async function openRun(dir: string, settings?: RawSettings, options: OpenRunOptions = {}): Promise<Run> {
  const parts = { ...options, list: (all: Settings) => [...stagesOf(all), ...(options.stages ?? [])] };
  if (settings === undefined) {
    const file = options.directory?.settingsFile ?? placeOfSettings(dir);
    return Run.create(dir, await storedSettings(dir, file), file, { continued: true, ...parts });
  }
  const here = process.cwd();
  const { settings: current, notice } = renamed(settings, here);
  if (notice !== undefined) options.onEvent?.({ type: "warning", text: notice });
  return Run.create(dir, absolutePaths(current, here), "the command", parts);
}

interface Parts extends OpenRunOptions {
  readonly list: (settings: Settings) => readonly Stage[];
  readonly base?: Run;
}

/** A run directory under settings: runs its stages, and opens what they have left. Nothing in it prints. */
export class Run implements AsyncDisposable {
  /** In the order in which they are run. */
  readonly stages: readonly Stage[];
  readonly signal: AbortSignal;
  /** For library calls on finished stages: the signal, and progress that becomes an event. */
  readonly options: Required<RunOptions>;
  readonly #entries = new Map<string, Kept>();
  readonly #emit: OnEvent;
  readonly #further: readonly Stage[];
  readonly #continued: boolean;
  readonly #keep: boolean;
  readonly #isLent: boolean;

  private constructor(
    readonly directory: RunDirectory,
    readonly settings: Settings,
    private readonly raw: RawSettings,
    private readonly base: Run | undefined,
    parts: Parts,
  ) {
    this.stages = inOrder(parts.list(settings), base?.stages);
    this.signal = parts.signal ?? new AbortController().signal;
    this.#emit = parts.onEvent ?? (() => undefined);
    this.#further = parts.stages ?? [];
    this.#continued = parts.continued === true;
    this.#isLent = parts.directory !== undefined;
    this.#keep = parts.keepSettings !== false && parts.readOnly !== true;
    this.options = { signal: this.signal, onProgress: (progress) => this.#emit({ type: "progress", progress }) };
  }

  /** @internal `openRun` and `trial` make runs. */
  static async create(dir: string, raw: RawSettings, source: string, parts: Parts): Promise<Run> {
    const settings = parseSettings(raw, source, withSettingsOf(parts.stages ?? []));
    if (parts.readOnly !== true) {
      await checkSettings(settings, source);
      if (settings.threads !== undefined) setThreadBudget(settings.threads);
    }
    const directory =
      parts.directory ?? (await RunDirectory.open(dir, parts.readOnly ? { readOnly: true } : { lock: "when-writing" }));
    return new Run(directory, settings, raw, parts.base, parts);
  }

  /** Where the run lies. */
  get path(): string {
    return this.directory.path;
  }

  /**
   * A run of stages of its own in the same directory, which read this run's finished ones: an ablation's trials. Its
   * settings are its own, this run keeps those that it has, and none of this run's stages is run.
   */
  trial(raw: RawSettings, list: (settings: Settings) => readonly Stage[]): Promise<Run> {
    return Run.create(this.path, raw, "the command", {
      signal: this.signal,
      onEvent: this.#emit,
      keepSettings: false,
      stages: this.#further,
      base: this,
      list,
    });
  }

  /**
   * Runs the stages of `part` in order, taking over what is there and unchanged; goes on where an earlier attempt was
   * stopped. Rejects with the signal's reason where it is aborted.
   *
   * @throws PrismrecError INVALID_ARGUMENT for a part that is none; RUN_INVALID where a stage before it is out of date;
   *   DEVICE_UNAVAILABLE before the first stage where one that is to be made asks for a GPU; RUN_LOCKED, IO, DISK_FULL; what
   *   the stages throw
   */
  async run(part: RunPart = {}): Promise<StageResult[]> {
    const stages = select(this.stages, part);
    for (const stage of stages) {
      if (!this.#continued || stage.unreadable === undefined) await checkOutsideFiles(stage, this.settings);
    }
    await this.#checkDevice(stages);
    const results: StageResult[] = [];
    for (const [place, stage] of stages.entries()) {
      const result = await this.#bring(stage);
      if (result !== undefined) results.push(result);
      for (const later of stages.slice(place + 1)) {
        if (later.foresee?.after.name === stage.name) await later.foresee.check(this.#context(later));
      }
    }
    return results;
  }

  /**
   * The output of a finished stage, which has to be what the run's settings would make now; opened once.
   *
   * @throws PrismrecError RUN_INVALID where it is missing, out of date or left out: says what has changed and which
   *   command makes it again; INVALID_ARGUMENT where the run has no such stage
   */
  open<Name extends keyof StandardOutputs>(stage: Name): Promise<StandardOutputs[Name]>;
  open<Output>(stage: Stage<Output>): Promise<Output>;
  open(stage: string): Promise<unknown>;
  async open(which: Stage | string): Promise<unknown> {
    const stage = this.#listed(which);
    if (this.base !== undefined && !this.stages.includes(stage)) return this.base.open(stage);
    const found = await this.#require(stage);
    if (found.state === "finished") return this.#output(stage, found.entry);
    throw new PrismrecError("RUN_INVALID", `this run has no ${stage.name} stage: ${found.why}`, {
      received: this.path,
    });
  }

  /** `open`, undefined where the stage is missing, out of date or left out. Throws where a stage that it reads is. */
  find<Name extends keyof StandardOutputs>(stage: Name): Promise<StandardOutputs[Name] | undefined>;
  find<Output>(stage: Stage<Output>): Promise<Output | undefined>;
  async find(which: Stage | string): Promise<unknown> {
    const stage = this.#listed(which);
    if (this.base !== undefined && !this.stages.includes(stage)) return this.base.find(stage);
    const known = this.#entries.get(stage.name) ?? (await this.#look(stage));
    if (known.state === "missing" || known.state === "stale") return undefined;
    this.#entries.set(stage.name, known);
    return known.state === "finished" ? this.#output(stage, known.entry) : undefined;
  }

  /** How every stage stands, in order. A stage that reads one that is missing or stale is stale itself. */
  async states(): Promise<StageState[]> {
    const states: StageState[] = [];
    for (const stage of this.stages) states.push(await this.#state(stage, states));
    return states;
  }

  async #state(stage: Stage, before: readonly StageState[]): Promise<StageState> {
    const { name } = stage;
    const broken = stage.reads.find((read) =>
      before.some((found) => found.stage === read.name && (found.state === "stale" || found.state === "missing")),
    );
    try {
      if (broken !== undefined) {
        const state = (await this.directory.manifest(name)) === undefined ? "missing" : "stale";
        return { stage: name, state, why: `it reads ${broken.name}, which is not up to date` };
      }
      const found = await this.#look(stage);
      if (found.state === "stale") return { stage: name, state: "stale", why: found.why.text };
      if (found.state === "left out") return { stage: name, state: "left out", why: found.why };
      return { stage: name, state: found.state };
    } catch (error) {
      // Damaged: it will be done again.
      if (isPrismrecError(error, "RUN_INVALID")) return { stage: name, state: "stale", why: error.message };
      throw error;
    }
  }

  /** A GPU that is asked for and is not there is said before hours of other work; where nothing is left to do on it, not at all. */
  async #checkDevice(stages: readonly Stage[]): Promise<void> {
    if (this.settings.device !== "cuda") return;
    const states = new Map((await this.states()).map(({ stage, state }) => [stage, state]));
    const onDevice = ({ name, settings }: Stage): boolean =>
      "device" in settings.shape && ["missing", "stale"].includes(states.get(name) ?? "missing");
    if (stages.some(onDevice)) chooseDevice("cuda");
  }

  /** The manifest of a stage as it lies there, whether or not it is up to date; undefined where it has not been run. */
  manifest(stage: Stage | string): Promise<StageManifest | undefined> {
    return this.directory.manifest(this.#listed(stage).name);
  }

  /** Tells of something that went other than was hoped for. */
  warn(text: string): void {
    this.#emit({ type: "warning", text });
  }

  /** Gives back what has been opened, and the lock. */
  async close(): Promise<void> {
    for (const name of [...this.#entries.keys()]) await this.#forget(name);
    if (!this.#isLent) await this.directory.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #listed(which: Stage | string): Stage {
    const stage = typeof which === "string" ? stageNamed(which, this.stages, this.settings) : undefined;
    const name = typeof which === "string" ? which : which.name;
    const found = stage ?? this.#ownOrBase(name);
    if (found !== undefined) return found;
    throw unknownStage(name, this.stages);
  }

  #ownOrBase(name: string): Stage | undefined {
    return this.stages.find((stage) => stage.name === name) ?? this.base?.stages.find((stage) => stage.name === name);
  }

  #context(stage: Stage): StageContext {
    const emit = this.#emit;
    const mayRead = new Set(stage.reads.map(({ name }) => name));
    const check = ({ name }: Stage): void => {
      if (mayRead.has(name)) return;
      throw new PrismrecError("INTERNAL", `${stage.name} opens ${name}, which is not among the stages that it reads`);
    };
    return {
      settings: settingsOf(stage, this.settings),
      directory: this.directory,
      signal: this.signal,
      options: {
        signal: this.signal,
        onProgress: (progress: Progress) => emit({ type: "progress", stage: stage.name, progress }),
      },
      open: async (read) => {
        check(read);
        return this.open(read);
      },
      find: async (read) => {
        check(read);
        return this.find(read);
      },
      note: (text, when = "always") => emit({ type: "note", stage: stage.name, text, when }),
      warn: (text) => emit({ type: "warning", stage: stage.name, text }),
      training: (label, epochs, event) => emit({ type: "training", stage: stage.name, label, epochs, event }),
    };
  }

  #output(stage: Stage, entry: Entry): Promise<unknown> {
    entry.output ??= stage.open(this.#context(stage), entry.finished, entry.plan);
    return entry.output;
  }

  async #forget(name: string): Promise<void> {
    const found = this.#entries.get(name);
    this.#entries.delete(name);
    if (found?.state !== "finished") return;
    // What could not be opened has told whoever asked for it.
    const output = await found.entry.output?.catch(() => undefined);
    if (typeof output !== "object" || output === null) return;
    if (Symbol.asyncDispose in output) await (output as AsyncDisposable)[Symbol.asyncDispose]();
    else if (Symbol.dispose in output) (output as Disposable)[Symbol.dispose]();
  }

  /** A stage that is up to date or left out; RUN_INVALID for any other. */
  async #require(stage: Stage): Promise<Kept> {
    if (this.base !== undefined && !this.stages.includes(stage)) return this.base.#require(stage);
    const known = this.#entries.get(stage.name);
    if (known !== undefined) return known;
    const found = await this.#look(stage);
    if (found.state === "missing") {
      throw new PrismrecError("RUN_INVALID", `this run has no finished ${stage.name} stage`, {
        received: this.path,
        hint: this.#howToBring(stage),
      });
    }
    if (found.state === "stale") {
      const flags =
        found.why.kind === "settings" ? " Flags of this command that are not the run's own go with it." : "";
      throw new PrismrecError("RUN_INVALID", `the ${stage.name} stage of this run is out of date: ${found.why.text}`, {
        received: this.path,
        hint: `${this.#howToBring(stage)}${flags}`,
      });
    }
    this.#entries.set(stage.name, found);
    return found;
  }

  /** How a finished stage stands against what it would be made as now. Throws where one that it reads is out of date. */
  async #look(stage: Stage): Promise<Found> {
    const fingerprints = await this.#fingerprints(stage);
    const context = this.#context(stage);
    const leftOut = await stage.skip?.(context);
    if (leftOut !== undefined) return { state: "left out", why: leftOut };
    const manifest = await this.directory.manifest(stage.name);
    if (manifest === undefined) return { state: "missing" };
    const made = { dir: this.directory.stageDir(stage.name), manifest };
    const plan = (await stage.plan?.(context, made)) ?? plainPlan(stage, context.settings);
    const why = staleness(manifest, await this.#spec(stage, fingerprints, plan, made));
    if (why !== undefined) return { state: "stale", why };
    return { state: "finished", entry: { finished: { dir: made.dir, fingerprint: manifest.fingerprint }, plan } };
  }

  /** Of the stages that one reads, but for those that are left out. */
  async #fingerprints(stage: Stage): Promise<Record<string, string>> {
    const fingerprints: Record<string, string> = {};
    for (const read of stage.reads) {
      const found = await this.#require(this.#listed(read));
      if (found.state === "finished") fingerprints[read.name] = found.entry.finished.fingerprint;
    }
    return fingerprints;
  }

  /**
   * What decides a stage's output. Outside files count by their content when a stage is made; of one that is opened by
   * what they were then, for logs move away once they are read.
   */
  async #spec(
    stage: Stage,
    fingerprints: Readonly<Record<string, string>>,
    plan: StagePlan,
    made: Made | undefined,
  ): Promise<StageSpec> {
    const inputs: Record<string, string> = { ...fingerprints, ...plan.inputs };
    for (const [name, path] of Object.entries(plan.files ?? outsideFiles(stage, this.settings))) {
      inputs[name] = made?.manifest.inputs[name] ?? (await sha256File(path, this.signal));
    }
    const { config, seed, version = stage.version } = plan;
    return { inputs, config, version, ...(seed === undefined ? {} : { seed }) };
  }

  /** Runs a stage or takes over what it left; undefined where it is left out. */
  async #bring(stage: Stage): Promise<StageResult | undefined> {
    const { name } = stage;
    this.#emit({ type: "stage-started", stage: name });
    const fingerprints = await this.#fingerprints(stage);
    const context = this.#context(stage);
    const leftOut = await stage.skip?.(context);
    if (leftOut !== undefined) {
      context.warn(leftOut);
      await this.#replace(stage, { state: "left out", why: leftOut });
      return undefined;
    }
    const kept = this.#continued ? await this.#keptWithoutFiles(stage, context) : undefined;
    if (kept !== undefined) return undefined;
    const plan = (await stage.plan?.(context, undefined)) ?? plainPlan(stage, context.settings);
    try {
      const spec = await this.#spec(stage, fingerprints, plan, undefined);
      const { dir, manifest, reused, reason } = await this.directory.stage(
        name,
        spec,
        async (folder) => {
          if (stage.keepsSettings !== "end" || !existsSync(this.directory.settingsFile)) await this.#keepSettings();
          await stage.run(context, folder, plan);
        },
        context.options,
      );
      await this.#keepSettings().catch((error: unknown) => {
        if (!reused || !isUnwritable(error)) throw error;
        this.#emit({ type: "settings-not-kept", reason: error.message });
      });
      if (reason === "damaged") this.#emit({ type: "stage-repaired", stage: name });
      const { fingerprint, wallSeconds: seconds } = manifest;
      const entry: Entry = { finished: { dir, fingerprint }, plan };
      await this.#replace(stage, { state: "finished", entry });
      const described = await stage.describe?.(context, await this.#output(stage, entry), reused);
      const summary = described?.summary ?? "";
      this.#emit({ type: "stage-finished", stage: name, reused, seconds, summary });
      for (const { text, when } of described?.notes ?? []) context.note(text, when);
      for (const text of described?.warnings ?? []) context.warn(text);
      return { stage: name, reused, seconds, summary };
    } finally {
      await plan[Symbol.asyncDispose]?.();
    }
  }

  /** What was made of outside files that cannot be read again, where it is what would be made of them now. */
  async #keptWithoutFiles(stage: Stage, context: StageContext): Promise<Kept | undefined> {
    const why = await stage.unreadable?.(context);
    if (why === undefined) return undefined;
    const found = await this.#look(stage);
    if (found.state !== "finished") return undefined;
    context.warn(why);
    await this.#replace(stage, found);
    return found;
  }

  /** Puts a stage in its place; what was opened of the stages that read it, as they were, is given back. */
  async #replace(stage: Stage, kept: Kept): Promise<void> {
    for (const other of this.stages) {
      if (this.#entries.has(other.name) && withReads(other, this.stages).has(stage.name)) {
        await this.#forget(other.name);
      }
    }
    this.#entries.set(stage.name, kept);
  }

  /** Writes the settings down for whoever comes after, where they are the run's own and have changed. */
  async #keepSettings(): Promise<void> {
    const stored = (): Promise<RawSettings> => storedSettings(this.path, this.directory.settingsFile);
    if (!this.#keep || isDeepStrictEqual(this.raw, await stored())) return;
    await this.directory.lock();
    await writeJsonAtomic(this.directory.settingsFile, settingsToKeep(this.raw, this.path));
  }

  #howToBring({ command }: Stage): string {
    const dir = shellQuote(this.path);
    if (!existsSync(this.directory.settingsFile))
      return `prismrec import or prismrec run, with --out ${dir}, begins one.`;
    const everything = `prismrec run ${dir} brings every stage up to date.`;
    return command === undefined || command === "import"
      ? everything
      : `prismrec ${command} ${dir} makes this one; ${everything}`;
  }
}
