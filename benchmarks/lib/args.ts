import { parseArgs } from "node:util";
import { suggest } from "@prismrec/core/base";

export interface Options {
  /** Operations to run, or "table" alone. */
  readonly ops: readonly string[];
  readonly table: boolean;
  readonly quick: boolean;
  readonly json: boolean;
  readonly tune: boolean;
  readonly help: boolean;
  /** Where this project's own contestants run. */
  readonly device: "cpu" | "cuda";
  /** Only cases whose name contains this. */
  readonly only: string | undefined;
}

/** A mistake of the caller; `main` exits with 2. */
export class UsageError extends Error {}

const FLAGS = {
  quick: { type: "boolean", default: false },
  json: { type: "boolean", default: false },
  tune: { type: "boolean", default: false },
  only: { type: "string" },
  device: { type: "string", default: "cpu" },
  help: { type: "boolean", short: "h", default: false },
} as const;

/** @throws UsageError for an unknown operation or option, with the closest known one */
export function parseOptions(args: readonly string[], known: readonly string[]): Options {
  for (const arg of args) {
    const name = /^--([^=]+)/.exec(arg)?.[1];
    if (name !== undefined && !(name in FLAGS))
      throw unknown(
        "option",
        `--${name}`,
        Object.keys(FLAGS).map((f) => `--${f}`),
      );
  }
  const { values, positionals } = parse(args);
  const names = [...known, "all", "table"];
  for (const name of positionals) if (!names.includes(name)) throw unknown("operation", name, names);
  const { quick, json, tune, help, only, device } = values;
  if (device !== "cpu" && device !== "cuda") throw unknown("device", device, ["cpu", "cuda"]);
  if (positionals.length === 0 && !help) throw new UsageError(`which operation? One of: ${names.join(", ")}`);
  const table = positionals.includes("table");
  if (table && positionals.length > 1) throw new UsageError('"table" stands alone');
  const ops = positionals.includes("all") ? known : known.filter((name) => positionals.includes(name));
  return { ops, table, quick, json, tune, help, only, device };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: FLAGS, allowPositionals: true });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function unknown(what: string, name: string, known: readonly string[]): UsageError {
  const meant = suggest(name, known);
  const hint = meant === undefined ? `Known: ${known.join(", ")}` : `Did you mean "${meant}"?`;
  return new UsageError(`unknown ${what} "${name}". ${hint}`);
}
