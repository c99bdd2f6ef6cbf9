import { availableParallelism } from "node:os";
import { PrismrecError } from "./errors.js";

let chosen: number | undefined;

/**
 * How many threads all of prismrec together may use: what `setThreadBudget` was given (`--threads`), else
 * PRISMREC_THREADS, else what the operating system and its container grant this process.
 */
export function threadBudget(): number {
  if (chosen !== undefined) return chosen;
  const wanted = process.env.PRISMREC_THREADS;
  if (wanted === undefined || wanted === "") return availableParallelism();
  return checked(Number(wanted), "PRISMREC_THREADS");
}

/** Fixes the budget for this process; `undefined` goes back to the environment. */
export function setThreadBudget(threads: number | undefined): void {
  chosen = threads === undefined ? undefined : checked(threads, "threads");
}

function checked(threads: number, name: string): number {
  if (!Number.isInteger(threads) || threads < 1 || threads > 1024) {
    throw new PrismrecError("CONFIG_INVALID", `${name} must be a whole number of threads`, {
      expected: "1 to 1024",
      received: String(threads),
      hint: "Leave it out to use what this machine grants.",
    });
  }
  return threads;
}
