import type { z } from "zod";
import type { RunOptions } from "../base/run-options.js";
import type { Dataset } from "../data/types.js";
import type { StoredTensor } from "../nn/checkpoint/safetensors.js";
import type { Model } from "./model.js";

/** Settings by name; where they stand over others, nested objects are merged member by member. */
export interface SettingsRecord {
  readonly [name: string]: unknown;
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
  /** One line on what is particular to it, for the table of models. */
  readonly about?: string;
  readonly settings: z.ZodType<S>;
  /** Whether runs are held against it where they name no others. */
  readonly baseline?: true;
  /** Largest catalog in which validation may add it to a network where the settings leave the prior to it; absent: none. */
  readonly priorUpTo?: number;
  /** Whether validation stays near it where it cannot tell the priors apart. */
  readonly usualPrior?: true;
  /** Whether its settings can leave a choice, which validation makes. */
  readonly chooses?: true;
  /** Largest catalog it can be fitted to; absent: any. */
  readonly maxItems?: number;
  /** @param choose tells how good a model is on validation, where settings leave a choice to it; absent: the first */
  fit(dataset: Dataset, settings: S, run?: RunOptions, choose?: (model: M) => Promise<number>): Promise<Fitted<M>>;
  /** The settings that fit what was chosen again, by the facts of that fit; absent: those that it was fitted with. */
  chosen?(facts: SettingsRecord): S;
  /** What `open` makes the model of again; empty where the dataset is enough. */
  tensors(model: M): ReadonlyMap<string, StoredTensor>;
  /** @throws PrismrecError CHECKPOINT_INCOMPATIBLE for tensors of another model or dataset */
  open(dataset: Dataset, tensors: ReadonlyMap<string, StoredTensor>): M;
}
