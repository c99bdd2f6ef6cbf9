import { z } from "zod";
import { PrismrecError } from "../base/errors.js";
import { addToRegistry } from "../base/registry.js";
import type { InterestNetwork } from "../nn/network.js";
import { blendOf } from "./blend.js";
import { comirecDr } from "./comirec-dr.js";
import { comirecSa } from "./comirec-sa.js";
import type { ModelDefinition, NetworkDefinition, NetworkShape } from "./definition.js";
import { ease } from "./ease.js";
import { esasrec } from "./esasrec.js";
import { gfcf } from "./gf-cf.js";
import { gru4rec } from "./gru4rec.js";
import { ials } from "./ials.js";
import { itemKnn } from "./item-knn.js";
import { l3ae } from "./l3ae.js";
import { ldmi } from "./ldmi.js";
import { mind } from "./mind.js";
import type { Model } from "./model.js";
import { mostPopular } from "./most-popular.js";
import { MODEL_LIST, type ModelSummary } from "./names.js";
import { recentPopular } from "./recent-popular.js";
import { remi } from "./remi.js";
import { sasrec } from "./sasrec.js";
import type { ScorerDefinition } from "./scorer-definition.js";
import { sine } from "./sine.js";
import { slim } from "./slim.js";

/** Every model there is: the only place that knows them by name. `registerModel` adds a program's own. */
export const MODELS: readonly ModelDefinition[] = [
  ldmi,
  comirecSa,
  comirecDr,
  sasrec,
  esasrec,
  remi,
  gru4rec,
  mind,
  sine,
  mostPopular,
  recentPopular,
  itemKnn,
  ease,
  ials,
  l3ae,
  gfcf,
  slim,
  blendOf(scorerNamed, [ease.name, itemKnn.name]),
] as readonly ModelDefinition[];

/** The model that a run is about unless it says otherwise. */
export const DEFAULT_MODEL = ldmi.name;

export const isNetwork = (model: ModelDefinition): model is NetworkDefinition => model.kind === "network";
export const isScorer = (model: ModelDefinition): model is ScorerDefinition => model.kind === "scorer";

/** What can be said of a model without loading it: its line in names.ts. */
export function modelSummary(model: ModelDefinition): ModelSummary {
  return {
    name: model.name,
    kind: model.kind,
    reads: isNetwork(model) ? [...(model.reads ?? [])] : [],
    baseline: isScorer(model) && model.baseline === true,
    prior: isScorer(model) && model.priorUpTo !== undefined,
  };
}

/**
 * Makes a model of a program's own one that is trained, saved, loaded and evaluated by name like those that are here. To
 * be called before the name is used (for runs: before `prismrec` is imported, whose settings list the models then), and
 * in every process that opens what was saved under it.
 *
 * @throws PrismrecError CONFIG_INVALID for a name that another model has or that is none, for a configuration whose
 *   `model` is another name, and for a recipe without terms or with two of one name
 */
export function registerModel<C extends NetworkShape, S, M extends Model>(
  definition: NetworkDefinition<C> | ScorerDefinition<S, M>,
): void {
  // The registry holds models of any settings, each read by its own schema before the model is given them.
  const model = definition as unknown as ModelDefinition;
  if (isNetwork(model)) checkNetwork(model);
  addToRegistry(MODELS, model, "model");
  addToRegistry(MODEL_LIST, modelSummary(model), "model");
}

function checkNetwork({ name, config, recipe }: NetworkDefinition): void {
  const defaults = config.safeParse({ model: name });
  if (!defaults.success || defaults.data.model !== name) {
    throw new PrismrecError("CONFIG_INVALID", `the configuration of ${name} does not name it`, {
      expected: `defaults for everything, and the model ${JSON.stringify(name)}`,
      received: defaults.success ? JSON.stringify(defaults.data.model) : z.prettifyError(defaults.error),
    });
  }
  const terms = recipe.terms.map((term) => term.name);
  if (terms.length === 0 || new Set(terms).size < terms.length) {
    throw new PrismrecError("CONFIG_INVALID", `the recipe of ${name} cannot be followed`, {
      expected: "at least one term, each under a name of its own",
      received: terms.join(", ") || "none",
    });
  }
}

/** @throws PrismrecError CONFIG_INVALID for a name that no model has */
export function modelNamed(name: string): ModelDefinition {
  const found = MODELS.find((model) => model.name === name);
  if (found !== undefined) return found;
  throw new PrismrecError("CONFIG_INVALID", "there is no model of that name", {
    expected: MODELS.map((model) => model.name).join(", "),
    received: name,
  });
}

/** @throws PrismrecError CONFIG_INVALID for a name that no network has */
export function networkNamed(name: string): NetworkDefinition {
  const found = MODELS.filter(isNetwork).find((model) => model.name === name);
  if (found !== undefined) return found;
  throw new PrismrecError("CONFIG_INVALID", "there is no trainable model of that name", {
    expected: MODELS.filter(isNetwork)
      .map((model) => model.name)
      .join(", "),
    received: name,
  });
}

/** @throws PrismrecError CONFIG_INVALID for a name that no model has that is fitted at once */
export function scorerNamed(name: string): ScorerDefinition {
  const scorers = MODELS.filter(isScorer);
  const found = scorers.find((model) => model.name === name);
  if (found !== undefined) return found;
  throw new PrismrecError("CONFIG_INVALID", "there is no model of that name that is fitted at once", {
    expected: scorers.map((model) => model.name).join(", "),
    received: name,
  });
}

/**
 * A network's configuration with its defaults filled in; `model` says whose, and is the default model's where absent.
 *
 * @throws PrismrecError CONFIG_INVALID
 */
export function networkConfig(value: { readonly [name: string]: unknown }): NetworkShape {
  const { config } = networkNamed(typeof value.model === "string" ? value.model : DEFAULT_MODEL);
  const parsed = config.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new PrismrecError("CONFIG_INVALID", "the network's configuration is not valid", {
    received: z.prettifyError(parsed.error),
  });
}

/** The network of a configuration that `networkConfig` gave. */
export function createNetwork(config: NetworkShape): InterestNetwork {
  return networkNamed(config.model).create(config);
}
