import { z } from "zod";
import { PrismrecError } from "../base/errors.js";
import type { InterestNetwork } from "../nn/network.js";
import { comirecDr } from "./comirec-dr.js";
import { comirecSa } from "./comirec-sa.js";
import type { ModelDefinition, NetworkDefinition, NetworkShape } from "./definition.js";
import { ease } from "./ease.js";
import { gru4rec } from "./gru4rec.js";
import { itemKnn } from "./item-knn.js";
import { ldmi } from "./ldmi.js";
import { mind } from "./mind.js";
import { mostPopular } from "./most-popular.js";
import { sasrec } from "./sasrec.js";
import type { ScorerDefinition } from "./scorer-definition.js";
import { sine } from "./sine.js";

/** Every model there is: the only place that knows them by name. */
export const MODELS: readonly ModelDefinition[] = [
  ldmi,
  comirecSa,
  comirecDr,
  sasrec,
  gru4rec,
  mind,
  sine,
  mostPopular,
  itemKnn,
  ease,
] as readonly ModelDefinition[];

/** The model that a run is about unless it says otherwise. */
export const DEFAULT_MODEL = ldmi.name;

export const isNetwork = (model: ModelDefinition): model is NetworkDefinition => model.kind === "network";
export const isScorer = (model: ModelDefinition): model is ScorerDefinition => model.kind === "scorer";

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
