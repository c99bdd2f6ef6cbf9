import type { Dataset } from "@prismrec/core/data";
import { FOLDS } from "@prismrec/trainer";
import type { Settings } from "../config/schema.js";

/** Steps that choosing may take beside the training in use, as a multiple of its own. */
export const BUDGETS = { quick: 0, standard: 2, thorough: 8 } as const;
/** Fewest users that choose a prior, where the training users and the budget have them. */
const ENOUGH_USERS = 300;

/**
 * How many parts of the training users are to be held out in turn, so that they choose too: none where there are enough
 * validation users, or where a split asks training users already.
 */
export function foldsWanted({ split }: Dataset, effort: Settings["effort"]): number {
  const missing = ENOUGH_USERS - split.valid.users.length;
  const usersOfFold = Math.floor(split.train.users.length / FOLDS);
  if (BUDGETS[effort] === 0 || split.protocol !== "user-disjoint" || missing <= 0 || usersOfFold === 0) return 0;
  return Math.min(FOLDS, Math.ceil(missing / usersOfFold));
}

/** What is left to settings of training of a budget: the choice of a prior weighs more where few users choose. */
export function budgetOfSettings(dataset: Dataset, effort: Settings["effort"]): number {
  const folds = (foldsWanted(dataset, effort) * (FOLDS - 1)) / FOLDS;
  return Math.max(0, BUDGETS[effort] - folds);
}
