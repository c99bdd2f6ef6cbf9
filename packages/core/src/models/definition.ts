import type { z } from "zod";
import type { RunOptions } from "../base/run-options.js";
import type { Dataset } from "../data/types.js";
import type { StoredTensor } from "../nn/checkpoint/safetensors.js";
import type { InterestNetwork } from "../nn/network.js";
import type { Term } from "../nn/terms/term.js";
import type { Model } from "./model.js";

/** Settings by name; where they stand over others, nested objects are merged member by member. */
export interface SettingsRecord {
  readonly [name: string]: unknown;
}

/** What presets are chosen by. */
export interface TrainingShape {
  /** Of the training histories, in events. */
  readonly medianLength: number;
}

/** Named settings over a recipe's defaults. */
export interface Preset {
  readonly name: string;
  /** Whether they are for data of that shape; absent: for any. The first preset of a recipe that fits is taken. */
  fits?(data: TrainingShape): boolean;
  readonly settings: SettingsRecord;
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
  /** Architecture: the source of types, defaults and docs. */
  readonly config: z.ZodType<C>;
  /** Absent: events alone. */
  readonly reads?: readonly LearningInput[];
  /** @throws PrismrecError CONFIG_INVALID */
  create(config: C): InterestNetwork;
  readonly recipe: Recipe;
}

export interface Fitted<M extends Model = Model> {
  readonly model: M;
  /** What was chosen, and against what: for people and reports. */
  readonly facts: SettingsRecord;
}

/** A model that is fitted in closed form or by counting. */
export interface ScorerDefinition<S = SettingsRecord, M extends Model = Model> {
  readonly kind: "scorer";
  readonly name: string;
  readonly paper: string;
  readonly settings: z.ZodType<S>;
  /** Largest catalog it can be fitted to; absent: any. */
  readonly maxItems?: number;
  /** @param choose tells how good a model is on validation, where settings leave a choice to it; absent: the first */
  fit(dataset: Dataset, settings: S, run?: RunOptions, choose?: (model: M) => Promise<number>): Promise<Fitted<M>>;
  /** What `open` makes the model of again; empty where the dataset is enough. */
  tensors(model: M): ReadonlyMap<string, StoredTensor>;
  /** @throws PrismrecError CHECKPOINT_INCOMPATIBLE for tensors of another model or dataset */
  open(dataset: Dataset, tensors: ReadonlyMap<string, StoredTensor>): M;
}

export type ModelDefinition = NetworkDefinition | ScorerDefinition;
