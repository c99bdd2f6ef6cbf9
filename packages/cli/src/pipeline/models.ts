import type { Dataset, Model } from "@prismrec/core";
import { PrismrecError } from "@prismrec/core/errors";
import type { TrainInput } from "@prismrec/trainer";
import type { z } from "zod";
import type { RawSettings } from "../config/load.js";
import type { Settings } from "../config/schema.js";
import type { StageContext } from "./stage.js";

/**
 * The models that a run can have, by name: this table is all that the command line and the pipeline know of any. It is
 * light, for help and configuration read it; what a model is made with is loaded when its turn has come.
 */
export const MODELS: readonly ModelEntry[] = [
  {
    name: "ldmi",
    reads: ["clusters", "crowd"],
    settings: ["seed"],
    code: async () => (await import("./networks.js")).network("ldmi"),
  },
  {
    name: "comirec-sa",
    reads: [],
    settings: ["seed"],
    code: async () => (await import("./networks.js")).network("comirec-sa"),
  },
  {
    name: "comirec-dr",
    reads: [],
    settings: ["seed"],
    code: async () => (await import("./networks.js")).network("comirec-dr"),
  },
  { name: "most-popular", reads: [], settings: [], code: async () => (await import("./closed-form.js")).mostPopular },
  { name: "item-knn", reads: [], settings: [], code: async () => (await import("./closed-form.js")).itemKnn },
  {
    name: "ease",
    reads: [],
    settings: ["ease", "evaluate"],
    code: async () => (await import("./closed-form.js")).ease,
  },
];

/** The run's own model where the settings name none. */
export const DEFAULT_MODEL = "ldmi";
/** What it is held against where the settings do not say. */
export const DEFAULT_BASELINES: readonly string[] = ["most-popular", "item-knn", "ease"];

/** In the order in which help lists them. */
export const MODEL_NAMES: readonly string[] = MODELS.map(({ name }) => name);

export interface ModelEntry {
  readonly name: string;
  /** What it learns from beside the dataset: interests in the histories, the crowd. */
  readonly reads: readonly ("clusters" | "crowd")[];
  /** The settings that it goes by; as the run's own model by those of training too. */
  readonly settings: readonly Exclude<keyof ModelSettings, "train">[];
  code(): Promise<ModelCode>;
}

/** How a model is made, kept and read again. */
export interface ModelCode {
  /** Largest catalog that it can be made for; absent: any. */
  readonly maxItems?: number;
  /** Trained by steps: it has a learning curve. */
  readonly isTrained?: true;
  /** Files and folders of its stage that serving needs. */
  readonly files: readonly string[];
  /** The faults of settings of its own, whatever the data; absent: it has none, and `train` is to be empty. */
  check?(train: RawSettings): { readonly error: z.ZodError; readonly schema: z.ZodType } | undefined;
  /** What decides it: settings with what they leave open filled in from the data. Throws CONFIG_INVALID. */
  config(dataset: Dataset, settings: ModelSettings): ModelConfig;
  /** Makes it of the training users and writes it into `dir`, going on with what an earlier attempt has left there. */
  fit(context: StageContext, dir: string, label: string, input: TrainInput, config: ModelConfig): Promise<void>;
  /** Reads what `fit` wrote. */
  open(dir: string, dataset: Dataset): Promise<Model>;
  /** What became of it, in a few words. */
  describe?(dir: string): Promise<string>;
}

/** The settings that a model may go by. */
export type ModelSettings = Pick<Settings, "seed" | "train" | "ease" | "evaluate">;

export interface ModelConfig {
  readonly config: unknown;
  /** Absent: nothing is drawn. */
  readonly seed?: number;
}

/** Undefined where there is no model of that name. */
export function modelNamed(name: string): ModelEntry | undefined {
  return MODELS.find((model) => model.name === name);
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
