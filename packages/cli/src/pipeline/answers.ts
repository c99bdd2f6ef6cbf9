import { join } from "node:path";

/** Stands in the names of answers about users' histories, as those that go with a user. */
export const ABOUT_HISTORIES = "-histories";

/** The name of a file of answers, without its ending: those about histories stand apart, and go when a user is forgotten. */
export function answersFile(about: "items" | "histories"): string {
  return about === "items" ? "answers" : `answers${ABOUT_HISTORIES}`;
}

/** Where a run keeps the answers of language models, unless its settings name another folder. */
export function answersFolder(run: string): string {
  return join(run, "cache", "llm");
}
