import { PrismrecError } from "@prismrec/core/errors";
import { ThresholdMissed } from "../threshold.js";
import { plain, type Style } from "./style.js";

/** An error as people read it: what, its code, expected and received, what to do; the stack only when asked for. */
export function describeError(error: unknown, style: Style, verbose: boolean): string {
  if (error instanceof ThresholdMissed) return `${style.bad("✖")} ${error.message}`;
  if (!(error instanceof PrismrecError)) {
    const text = error instanceof Error ? ((verbose ? error.stack : undefined) ?? error.message) : String(error);
    const lines = [`${style.bad("✖")} ${text}`];
    if (!verbose) lines.push("  This was not foreseen; run the command again with --verbose to see where it happened.");
    return lines.join("\n");
  }
  const lines = [`${style.bad("✖")} ${plain(error.message)}   (${error.code})`];
  if (error.expected !== undefined) lines.push(`  expected  ${indent(error.expected)}`);
  if (error.received !== undefined) lines.push(`  received  ${indent(error.received)}`);
  if (error.hint !== undefined) lines.push(`  hint      ${indent(error.hint)}`);
  if (verbose && error.stack !== undefined) lines.push(style.dim(error.stack));
  return lines.join("\n");
}

function indent(text: string): string {
  return text.split("\n").map(plain).join("\n            ");
}

/** The same for machines: one line of JSON. */
export function errorJson(error: unknown): string {
  if (error instanceof PrismrecError) return JSON.stringify({ error: error.toJSON() });
  const code = error instanceof ThresholdMissed ? "THRESHOLD_MISSED" : "INTERNAL";
  return JSON.stringify({ error: { code, message: error instanceof Error ? error.message : String(error) } });
}
