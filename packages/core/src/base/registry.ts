import { PrismrecError } from "./errors.js";

/**
 * Adds a definition of a program's own to a list of those that are asked for by name.
 *
 * @param kind what the list holds, for the error
 * @throws PrismrecError CONFIG_INVALID for a name that another one has, or that is not made of lower-case letters, digits
 *   and dashes (names stand in settings, file names and flags)
 */
export function addToRegistry<T extends { readonly name: string }>(list: readonly T[], entry: T, kind: string): void {
  const { name } = entry;
  if (typeof name !== "string" || !/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name)) {
    throw new PrismrecError("CONFIG_INVALID", `that is not a name for a ${kind}`, {
      expected: "lower-case letters, digits and dashes, a letter first",
      received: String(name),
    });
  }
  if (list.some((known) => known.name === name)) {
    throw new PrismrecError("CONFIG_INVALID", `there is a ${kind} called ${name} already`, {
      expected: `a name other than ${list.map((known) => known.name).join(", ")}`,
      received: name,
    });
  }
  // Read-only for everybody else: what is registered stays.
  (list as T[]).push(entry);
}
