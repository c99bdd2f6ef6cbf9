import type { Dataset } from "@prismrec/core/data";
import { FOLDS, foldsWanted } from "@prismrec/trainer";
import type { Settings } from "../config/schema.js";

/** Steps that choosing may take beside the training in use, as a multiple of its own. */
export const BUDGETS = { quick: 0, standard: 2, thorough: 8 } as const;

/** What is left to settings of training of a budget: the choice of a prior weighs more where few users choose. */
export function budgetOfSettings(dataset: Dataset, effort: Settings["effort"]): number {
  const folds = (foldsWanted(dataset) * (FOLDS - 1)) / FOLDS;
  return Math.max(0, BUDGETS[effort] - folds);
}
