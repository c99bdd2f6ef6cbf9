import type { Progress } from "@prismrec/core/base";
import type { TrainEvent } from "@prismrec/trainer/events";

/** What a run says while it is under way. Texts may hold what data or a language model said: they are not to be trusted. */
export type RunEvent =
  | StageStarted
  | StageProgress
  | StageTraining
  | StageFinished
  | StageRepaired
  | Note
  | Warning
  | UpdatedTrainingEvent
  | SettingsNotKept;

/** A stage's turn has come; whether there is anything to do for it is not known yet. */
export interface StageStarted {
  readonly type: "stage-started";
  readonly stage: string;
}

export interface StageProgress {
  readonly type: "progress";
  /** Undefined for work on finished stages, such as an export. */
  readonly stage?: string;
  readonly progress: Progress;
}

/** What the trainer says of a network in training. */
export interface StageTraining {
  readonly type: "training";
  readonly stage: string;
  /** What is trained, in words. */
  readonly label: string;
  /** Most epochs, as the settings say. */
  readonly epochs: number;
  readonly event: TrainEvent;
}

export interface StageFinished {
  readonly type: "stage-finished";
  readonly stage: string;
  /** Nothing was done: the stage's output was there. */
  readonly reused: boolean;
  /** How long it took when it was made. */
  readonly seconds: number;
  readonly summary: string;
}

/** A finished stage was found damaged and has been done again. */
export interface StageRepaired {
  readonly type: "stage-repaired";
  readonly stage: string;
}

export interface Note {
  readonly type: "note";
  readonly stage?: string;
  readonly text: string;
  /** `verbose`: for those who want to know all; `brief`: for those who do not, in the place of verbose notes. */
  readonly when: "always" | "verbose" | "brief";
}

/** Something went other than was hoped for, and the run goes on. */
export interface Warning {
  readonly type: "warning";
  readonly stage?: string;
  readonly text: string;
}

/** How a model of an updated run was trained, beside its former training. */
export interface UpdatedTraining {
  readonly stage: string;
  /** Whether it went on from the former model; a model that is fitted at once never does. */
  readonly warm: boolean;
  /** Training steps and best epoch; absent: it is not trained by steps. */
  readonly steps?: number;
  readonly bestEpoch?: number;
  readonly former?: { readonly steps: number; readonly bestEpoch: number };
}

/** What a training of an updated run took, beside the former one. */
export interface UpdatedTrainingEvent {
  readonly type: "updated-training";
  readonly training: UpdatedTraining;
}

/** The run cannot be written to, and nothing had to be but the settings. */
export interface SettingsNotKept {
  readonly type: "settings-not-kept";
  readonly reason: string;
}

export type OnEvent = (event: RunEvent) => void;
