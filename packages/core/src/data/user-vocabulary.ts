import { PrismrecError } from "../base/errors.js";
import { categoryTexts } from "./columns.js";
import type { Dataset } from "./types.js";

/**
 * The values of a column of the users file that training users have, in order of first appearance, after "", which
 * stands for all others and for none: what a network that reads the column tells apart, and keeps in its configuration.
 *
 * @returns [""] where there is no such column
 * @throws PrismrecError CONFIG_INVALID for a column of lists
 */
export function userVocabulary({ log, split }: Dataset, name: string): string[] {
  const column = log.profile?.get(name);
  if (column === undefined) return [""];
  if (column.kind === "list") {
    throw new PrismrecError("CONFIG_INVALID", `the column "${name}" of the users holds several texts a user`, {
      expected: "a column with one value a user",
      received: "lists of texts",
    });
  }
  const texts = categoryTexts(column);
  return [...new Set(["", ...Array.from(split.train.users, (user) => texts(user))])];
}
