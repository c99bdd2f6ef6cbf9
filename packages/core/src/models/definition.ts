import type { z } from "zod";
import type { Dataset } from "../data/types.js";
import type { InterestNetwork } from "../nn/network.js";
import type { Term } from "../nn/terms/term.js";
import type { ScorerDefinition, SettingsRecord } from "./scorer-definition.js";

/** What presets are chosen by. */
export interface TrainingShape {
  /** Of the training histories, in events. */
  readonly medianLength: number;
  /** Share of training events within a minute of the one before, whose order may say little; 0 without times. */
  readonly withinMinute: number;
}

/** Named settings over a recipe's defaults. */
export interface Preset {
  readonly name: string;
  /** Whether they are for data of that shape; absent: for any. The first preset of a recipe that fits is taken. */
  fits?(data: TrainingShape): boolean;
  readonly settings: SettingsRecord;
}

/** Settings over a recipe that validation may choose instead of it. */
export interface Alternative {
  /** A few words for people, e.g. "no crowd". */
  readonly name: string;
  readonly settings: SettingsRecord;
  /** What it does without: nothing to try where a run has no such thing. */
  readonly without?: LearningInput;
  /** Whether it is worth a trial on data of that shape; absent: on any. */
  fits?(data: TrainingShape): boolean;
}

/** How a network learns; the trainer owns batches, schedules, steps and checkpoints. */
export interface Recipe {
  /**
   * What a step is made of. `positions`: random positions of every sequence predict the items that follow, under a
   * softmax over the catalog (over candidates in a large one). `cuts`: every sequence is cut once at random and its next
   * item predicted among candidates that the batch shares.
   */
  readonly batches: "positions" | "cuts";
  /** Their sum is the loss. */
  readonly terms: readonly Term[];
  readonly presets: readonly Preset[];
  /** What validation may choose in its place, the most promising first. */
  readonly alternatives?: readonly Alternative[];
}

/** What a network learns from beside the events: the interests in the histories, the crowd's synthesized users. */
export type LearningInput = "clusters" | "crowd";

/** What every network's configuration has. */
export interface NetworkShape {
  readonly model: string;
  /** d */
  readonly dim: number;
  /** T, most recent events read. */
  readonly maxHistory: number;
}

/** A model that is a network: one file, one of these, one line in the registry. */
export interface NetworkDefinition<C extends NetworkShape = NetworkShape> {
  readonly kind: "network";
  /** Also `config`'s `model`, and the model's name wherever one is asked for. */
  readonly name: string;
  /** Authors, title, year. */
  readonly paper: string;
  /** One line on what is particular to it, for the table of models. */
  readonly about?: string;
  /** Architecture: the source of types, defaults and docs. */
  readonly config: z.ZodType<C>;
  /** Absent: events alone. */
  readonly reads?: readonly LearningInput[];
  /** Settings of the architecture that the data decide, such as the kinds of events that there are; one's own stand over them. */
  fromData?(dataset: Dataset): SettingsRecord;
  /** @throws PrismrecError CONFIG_INVALID */
  create(config: C): InterestNetwork;
  readonly recipe: Recipe;
}

export type ModelDefinition = NetworkDefinition | ScorerDefinition;
