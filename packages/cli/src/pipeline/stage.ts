import { PrismrecError, type RunOptions } from "@prismrec/core/base";
import type { TrainEvent } from "@prismrec/trainer/events";
import type { z } from "zod";
import type { Note } from "./events.js";
import type { RunDirectory, StageManifest } from "./run-directory/run-directory.js";

/** A finished stage on disk. */
export interface StageOutput {
  readonly dir: string;
  /** Hash of the output's files: the same output, the same fingerprint. */
  readonly fingerprint: string;
}

/** A finished stage with how it was made, before anybody has asked whether it still fits. */
export interface Made {
  readonly dir: string;
  readonly manifest: StageManifest;
}

/** A setting that names a file of the user's own, and a first look at that file before the first stage is run. */
export interface OutsideFile {
  readonly setting: string;
  /** Whether what the setting says is no file. */
  isNone?(value: string): boolean;
  check?(path: string): Promise<void>;
}

/** All that decides a stage's output beside the stages it reads. */
export interface StagePlan {
  /** Plain JSON: the settings with what they leave open filled in. */
  readonly config: unknown;
  readonly seed?: number;
  /** In the place of the stage's own version, where what it uses has a version too. */
  readonly version?: number | string;
  /** Outside files that it reads, by name; absent: those that its settings name. */
  readonly files?: Readonly<Record<string, string>>;
  /** Fingerprints of other things that it reads, by name. */
  readonly inputs?: Readonly<Record<string, string>>;
  [Symbol.asyncDispose]?(): Promise<void>;
}

/** What a stage says of its output once it is there. */
export interface Description {
  readonly summary: string;
  readonly notes?: readonly Pick<Note, "text" | "when">[];
  readonly warnings?: readonly string[];
}

/** What a stage has at hand. `Settings` are those of the stage alone: what is not among them cannot decide anything. */
export interface StageContext<Settings = unknown> {
  readonly settings: Settings;
  readonly directory: RunDirectory;
  readonly signal: AbortSignal;
  /** For library calls: the signal, and progress that becomes an event of this stage. */
  readonly options: Required<RunOptions>;
  /** The output of a stage that this one reads. Throws INTERNAL for any other, RUN_INVALID where it is out of date. */
  open<Output>(stage: Stage<Output>): Promise<Output>;
  /** `open`, undefined where the stage was left out or is not there in the state that it would be made in now. */
  find<Output>(stage: Stage<Output>): Promise<Output | undefined>;
  note(text: string, when?: Note["when"]): void;
  warn(text: string): void;
  training(label: string, epochs: number, event: TrainEvent): void;
}

/** Settings of a stage: a part of the run's, or members of its own. */
export type SettingsSchema = z.ZodObject<z.core.$ZodLooseShape, z.core.$ZodObjectConfig>;

/**
 * A stage of a pipeline as a value. Order, staleness, resume, progress and the reference page come from a list of these;
 * its key is its version, its settings (or its plan), the fingerprints of what it reads and of its outside files.
 */
export interface Stage<Output = unknown> {
  /** Also the name of its folder: lower-case letters, digits and dashes. */
  readonly name: string;
  /** One sentence for the reference. */
  readonly summary: string;
  /** Raised when its code changes what it writes. */
  readonly version: number | string;
  readonly reads: readonly Stage[];
  readonly settings: SettingsSchema;
  readonly files?: readonly OutsideFile[];
  /** The command that makes it alone, for hints; several stages may share one. */
  readonly command?: string;
  /** The run's settings are kept when its work begins, so that it goes on with them after a kill; `end`: when it is done. */
  readonly keepsSettings?: "end";
  /** Why it is left out of this run; undefined where it is not. */
  skip?(context: StageContext): Promise<string | undefined>;
  /** What can be said of its settings long before its turn, once `after` is there. */
  readonly foresee?: { readonly after: Stage; check(context: StageContext): Promise<void> };
  /** Why its outside files cannot be read again; a continued run then goes on with what was made from them. */
  unreadable?(context: StageContext): Promise<string | undefined>;
  /**
   * What settings and inputs come to; by default the settings as they are. With `made` it is asked about a finished
   * stage that is to be opened: what the settings leave open is as it was chosen then.
   */
  plan?(context: StageContext, made: Made | undefined): Promise<StagePlan>;
  /** Writes the output into `dir`, going on with what an interrupted attempt has left there. */
  run(context: StageContext, dir: string, plan: StagePlan): Promise<void>;
  /** Reads a finished output. What it gives is disposed of with the run where it can be. */
  open(context: StageContext, finished: StageOutput, plan: StagePlan): Promise<Output>;
  describe?(context: StageContext, output: Output, reused: boolean): Promise<Description>;
}

/** `Stage` with its own kinds of settings and plan, before `defineStage` puts it into a list with others. */
export interface StageDefinition<Output, Schema extends SettingsSchema, Plan extends StagePlan>
  extends Omit<Stage<Output>, "settings" | "skip" | "foresee" | "unreadable" | "plan" | "run" | "open" | "describe"> {
  readonly settings: Schema;
  skip?(context: StageContext<z.infer<Schema>>): Promise<string | undefined>;
  readonly foresee?: { readonly after: Stage; check(context: StageContext<z.infer<Schema>>): Promise<void> };
  unreadable?(context: StageContext<z.infer<Schema>>): Promise<string | undefined>;
  plan?(context: StageContext<z.infer<Schema>>, made: Made | undefined): Promise<Plan>;
  run(context: StageContext<z.infer<Schema>>, dir: string, plan: Plan): Promise<void>;
  open(context: StageContext<z.infer<Schema>>, finished: StageOutput, plan: Plan): Promise<Output>;
  describe?(context: StageContext<z.infer<Schema>>, output: Output, reused: boolean): Promise<Description>;
}

/** A stage for a list. What it is given at run time was made by its own `settings` and `plan`. */
export function defineStage<Output, Schema extends SettingsSchema, Plan extends StagePlan = StagePlan>(
  definition: StageDefinition<Output, Schema, Plan>,
): Stage<Output> {
  // A list holds stages of any settings and plans: the caller of `run` gives each its own back, which no type can say.
  return definition as unknown as Stage<Output>;
}

/** The plan of a stage that has none of its own: its settings, the outside files by their content. */
export function plainPlan(stage: Stage, settings: unknown): StagePlan {
  const files = new Set(stage.files?.map(({ setting }) => setting));
  const config = Object.entries(settings as Record<string, unknown>).filter(([name]) => !files.has(name));
  return { config: Object.fromEntries(config) };
}

/**
 * The stages in an order in which each comes after what it reads; otherwise as listed. Of what a stage reads, the listed
 * stage of that name counts.
 *
 * @param given stages that are finished already, to be read by those listed
 * @throws PrismrecError INVALID_ARGUMENT where two have one name, one reads what is not listed, or they read in a circle
 */
export function inOrder(stages: readonly Stage[], given: readonly Stage[] = []): Stage[] {
  const byName = new Map<string, Stage>();
  for (const stage of stages) {
    if (byName.has(stage.name)) throw unordered(`two stages are called ${stage.name}`);
    byName.set(stage.name, stage);
  }
  const ordered: Stage[] = [];
  const state = new Map<string, "under way" | "done">();
  const visit = (stage: Stage, path: readonly string[]): void => {
    if (state.get(stage.name) === "done") return;
    const here = [...path, stage.name];
    if (state.get(stage.name) === "under way") throw unordered(`stages read in a circle: ${here.join(" < ")}`);
    state.set(stage.name, "under way");
    for (const { name } of stage.reads) {
      const read = byName.get(name);
      if (read === undefined && given.some((stage) => stage.name === name)) continue;
      if (read === undefined) throw unordered(`${stage.name} reads ${name}, which is not among the stages`);
      visit(read, here);
    }
    state.set(stage.name, "done");
    ordered.push(stage);
  };
  for (const stage of stages) visit(stage, []);
  return ordered;
}

function unordered(message: string): PrismrecError {
  return new PrismrecError("INVALID_ARGUMENT", message, {
    expected: "named stages that read one another in no circle",
  });
}

/** Every stage that one reads, directly or through others, and itself. */
export function withReads(stage: Stage, stages: readonly Stage[]): Set<string> {
  const found = new Set<string>();
  const visit = ({ name, reads }: Stage): void => {
    if (found.has(name)) return;
    found.add(name);
    for (const read of reads) visit(stages.find((listed) => listed.name === read.name) ?? read);
  };
  visit(stage);
  return found;
}
