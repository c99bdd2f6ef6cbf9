import { addToRegistry, PrismrecError } from "@prismrec/core/base";
import type { CostEstimate } from "../cache/cost.js";
import { categoryClusterer } from "./category.js";
import type { ClustererContext, ClustererDefinition, CreatedClusterer } from "./definition.js";
import { embeddingClusterer } from "./embedding.js";
import { facetsClusterer } from "./facets.js";
import { isJoin, joinedClusterer } from "./joined.js";
import { kindsClusterer } from "./kinds.js";
import { partitionClusterer } from "./partition.js";
import { randomClusterer } from "./random.js";
import { recordedKindsClusterer } from "./recorded-kinds.js";
import { shuffledClusterer } from "./shuffled.js";
import { titleWordsClusterer } from "./title-words.js";
import { yearClusterer } from "./year.js";

/** Every clusterer by name, in the order help texts list them; `registerClusterer` adds a program's own. */
export const CLUSTERERS: readonly ClustererDefinition[] = [
  facetsClusterer,
  kindsClusterer,
  partitionClusterer,
  embeddingClusterer,
  titleWordsClusterer,
  categoryClusterer,
  yearClusterer,
  recordedKindsClusterer,
  shuffledClusterer,
  randomClusterer,
];

/**
 * Makes a clusterer of a program's own one that `createClusterer` and `estimateCost` know by name.
 *
 * @throws PrismrecError CONFIG_INVALID for a name that another clusterer has or that is none
 */
export function registerClusterer(definition: ClustererDefinition): void {
  addToRegistry(CLUSTERERS, definition, "clusterer");
}

/** Makes the clusterer called `name`. Throws CONFIG_INVALID for a name that is none, else what the clusterer throws. */
export async function createClusterer(name: string, context: ClustererContext): Promise<CreatedClusterer> {
  const definition = clustererNamed(name);
  context.signal?.throwIfAborted();
  return definition.create(context);
}

/** The dry run: what `name` would cost the model for these histories, nothing where it asks none (`ClustererDefinition.estimate`). */
export async function estimateCost(
  name: string,
  context: ClustererContext,
  histories: { readonly count: number; readonly meanLength: number },
): Promise<CostEstimate> {
  const { count, meanLength } = histories;
  return (
    (await clustererNamed(name).estimate?.(context, count, meanLength)) ?? { calls: 0, kept: 0, tokens: 0, seconds: 0 }
  );
}

/**
 * The clusterer of a name, or of a join of such (`kinds+title-words`, `shuffled:kinds+title-words`).
 *
 * @throws PrismrecError CONFIG_INVALID where there is none
 */
export function clustererNamed(name: string): ClustererDefinition {
  if (isJoin(name)) return joinedClusterer(name, clustererNamed);
  const definition = CLUSTERERS.find((candidate) => candidate.name === name);
  if (definition === undefined) {
    throw new PrismrecError("CONFIG_INVALID", `there is no clusterer called ${JSON.stringify(name)}`, {
      expected: CLUSTERERS.map((candidate) => candidate.name).join(", "),
      received: name,
    });
  }
  return definition;
}
