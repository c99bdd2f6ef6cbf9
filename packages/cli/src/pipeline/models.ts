import type { Dataset } from "@prismrec/core/data";
import { PrismrecError } from "@prismrec/core/errors";
import { DEFAULT_MODEL_NAME, MODEL_LIST, type ModelSummary } from "@prismrec/core/model-names";
import type { Model } from "@prismrec/core/models";
import type { TrainInput } from "@prismrec/trainer";
import type { z } from "zod";
import type { RawSettings } from "../config/load.js";
import type { Settings } from "../config/schema.js";
import type { StageContext } from "./stage.js";

/** The run's own model where the settings name none. */
export const DEFAULT_MODEL = DEFAULT_MODEL_NAME;

/** In the order in which help lists them. */
export const MODEL_NAMES: readonly string[] = MODEL_LIST.map(({ name }) => name);

/** What the run's own model is held against where the settings do not say. */
export const DEFAULT_BASELINES: readonly string[] = MODEL_LIST.flatMap(({ name, baseline }) =>
  baseline ? [name] : [],
);

/** The models that can be added to a network. */
export const PRIOR_NAMES: readonly string[] = MODEL_LIST.flatMap(({ name, kind }) => (kind === "scorer" ? [name] : []));

/** What validation chooses a prior from where the settings leave it to it. */
const USUAL_PRIORS: readonly string[] = MODEL_LIST.flatMap(({ name, prior }) => (prior ? [name] : []));

/** The priors that a run tries: none for a model that is fitted at once, which needs none. */
export function priorNames({ model, prior, preset }: Pick<Settings, "model" | "prior" | "preset">): readonly string[] {
  if (!modelOf(model).isNetwork || prior === "none" || preset !== undefined) return [];
  return prior === "auto" ? USUAL_PRIORS : [prior];
}

/**
 * A model as help, configuration and the list of stages see it; what it is made with is loaded when its turn has come.
 */
export interface ModelEntry extends Pick<ModelSummary, "name" | "reads"> {
  /** Trained by steps, not fitted at once: it has a learning curve. */
  readonly isNetwork: boolean;
  /** The settings that it goes by; as the run's own model by those of training too. */
  readonly settings: readonly Exclude<keyof ModelSettings, "train">[];
  code(): Promise<ModelCode>;
}

/** How a model is made, kept and read again. */
export interface ModelCode {
  /** Largest catalog that it can be made for; absent: any. */
  readonly maxItems?: number;
  /** Files and folders of its stage that serving needs. */
  readonly files: readonly string[];
  /**
   * The faults of settings, whatever the data: those of training, which are the run's own model's, or those that stand
   * under its name in `models`.
   */
  check(settings: RawSettings): { readonly error: z.ZodError; readonly schema: z.ZodType } | undefined;
  /** What decides it: settings with what they leave open filled in from the data. Throws CONFIG_INVALID. */
  config(dataset: Dataset, settings: ModelSettings): ModelConfig;
  /** Makes it of the training users and writes it into `dir`, going on with what an earlier attempt has left there. */
  fit(context: StageContext, dir: string, label: string, input: TrainInput, config: ModelConfig): Promise<void>;
  /** The configuration by which everybody is trained on, once what `fit` wrote into `dir` has been found best. */
  production(dir: string): Promise<ModelConfig>;
  /** Reads what `fit` wrote. */
  open(dir: string, dataset: Dataset): Promise<Model>;
  /** What became of it, in a few words. */
  describe?(dir: string): Promise<string>;
}

/** The settings that a model may go by. */
export type ModelSettings = Pick<Settings, "seed" | "train" | "models" | "evaluate" | "device">;

export interface ModelConfig {
  readonly config: unknown;
  /** Absent: nothing is drawn. */
  readonly seed?: number;
}

/** Undefined where there is no model of that name. */
export function modelNamed(name: string): ModelEntry | undefined {
  const found = MODEL_LIST.find((model) => model.name === name);
  if (found === undefined) return undefined;
  const isNetwork = found.kind === "network";
  return {
    name,
    isNetwork,
    reads: found.reads,
    settings: isNetwork ? ["seed", "models", "device"] : ["models", "evaluate"],
    code: async () =>
      isNetwork ? (await import("./networks.js")).network(name) : (await import("./scorers.js")).scorer(name),
  };
}

/** `modelNamed`. Throws INVALID_ARGUMENT where there is none. */
export function modelOf(name: string): ModelEntry {
  const found = modelNamed(name);
  if (found !== undefined) return found;
  throw new PrismrecError("INVALID_ARGUMENT", `there is no model called ${name}`, {
    expected: MODEL_NAMES.join(", "),
    received: name,
  });
}
