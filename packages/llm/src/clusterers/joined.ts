import { PrismrecError } from "@prismrec/core/base";
import { Budget } from "../cache/budget.js";
import { addCosts, type CostEstimate } from "../cache/cost.js";
import { type ItemSignatures, joinSignatures, shuffledSignatures } from "../signatures/item-signatures.js";
import { bySignatures } from "./by-signatures.js";
import type { ClustererContext, ClustererDefinition } from "./definition.js";

const SHUFFLED = "shuffled:";

/** Whether a name is one of a join or of a shuffled twin, and not of a clusterer. */
export function isJoin(name: string): boolean {
  return name.includes("+") || name.startsWith(SHUFFLED);
}

/**
 * The clusterer that `a+b` names: the signatures of both side by side. `shuffled:a` is the twin of a that says nothing of the
 * items, drawn by the seed: what a adds to b is what `a+b` has over `shuffled:a+b`.
 *
 * @param find the clusterer of a member's name; throws where there is none
 * @throws PrismrecError CONFIG_INVALID for a member that has no signatures, or that is named twice
 */
export function joinedClusterer(name: string, find: (name: string) => ClustererDefinition): ClustererDefinition {
  const members = name.split("+").map((part) => {
    const isShuffled = part.startsWith(SHUFFLED);
    const definition = find(isShuffled ? part.slice(SHUFFLED.length) : part);
    if (definition.signatures === undefined) {
      throw new PrismrecError("CONFIG_INVALID", `${definition.name} cannot be a member of ${name}`, {
        expected: "members that know something of each item by itself, such as kinds or title-words",
        received: definition.name,
      });
    }
    return { part, isShuffled, definition, signatures: definition.signatures };
  });
  const twice = members.find(({ part }, m) => members.findIndex((other) => other.part === part) !== m);
  if (twice !== undefined) {
    throw new PrismrecError("CONFIG_INVALID", `${name} names a member twice`, { received: twice.part });
  }
  const definitions = members.map(({ definition }) => definition);
  const { needs } =
    [...NEEDS].map((need) => definitions.find((one) => one.needs === need)).find(Boolean) ?? definitions[0]!;
  return bySignatures({
    name,
    needs,
    asksAbout: definitions.every(({ asksAbout }) => asksAbout !== "histories") ? "items" : "histories",
    description: `${members.map(({ part }) => part).join(" and ")} together`,
    version: definitions.reduce((sum, { version = 1 }) => sum + version, 0),
    async signatures(context) {
      const { seed = 1, model, embedder, budget: limits = {} } = context;
      const budget = new Budget(
        [model, embedder].filter((one) => one !== undefined),
        limits,
      );
      const made: ItemSignatures[] = [];
      // One after another: each has the model to itself, and its budget sees what the others have spent.
      for (const { isShuffled, signatures } of members) {
        const own = await signatures({ ...context, budget: budget.left() });
        made.push(isShuffled ? shuffledSignatures(own, seed) : own);
      }
      return joinSignatures(made);
    },
    async estimate(context: ClustererContext, histories: number, length: number): Promise<CostEstimate> {
      const costs: CostEstimate[] = [];
      for (const { estimate } of definitions) {
        if (estimate !== undefined) costs.push(await estimate(context, histories, length));
      }
      return addCosts(costs);
    },
  });
}

/** What a join needs is the most that one of its members needs. */
const NEEDS: readonly ClustererDefinition["needs"][] = ["model", "embedding-model", "categories", "nothing"];
