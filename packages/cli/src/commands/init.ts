import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { CONFIG_FILE, type RawSettings } from "../config/load.js";
import type { Io } from "../io.js";
import { fromFlags, withSettings } from "../options.js";
import { withSession } from "../session.js";

/** Where editors find the schema once the package is installed. */
export const SCHEMA_REFERENCE = "./node_modules/prismrec/prismrec.config.schema.json";

export function addInit(program: Command, io: Io): void {
  const command = program
    .command("init")
    .summary("write a prismrec.config.json")
    .description("Writes a prismrec.config.json into this folder, with the settings given or with an example's.")
    .option("--out <dir>", "run directory")
    .option("--force", "replace a file that is there");
  withSettings(command, ["interactions", "items", "splitFile", "model", "llm", "clusterer", "epochs", "baselines"])
    .addHelpText("after", "\nExample:\n  prismrec init --interactions ratings.csv --items movies.csv --out runs/ml")
    .action((options: { force?: boolean; out?: string }, own: Command) =>
      withSession(io, own, async ({ ui }) => {
        const { PrismrecError, writeJsonAtomic } = await import("@prismrec/core/base");
        const path = join(io.cwd, CONFIG_FILE);
        if (existsSync(path) && options.force !== true) {
          throw new PrismrecError("CONFIG_INVALID", `${path} is there already`, {
            hint: "Give --force to replace it.",
          });
        }
        const given = fromFlags(own, io.cwd, (notice) => ui.warn(notice));
        const settings: RawSettings = {
          $schema: SCHEMA_REFERENCE,
          interactions: given.interactions ?? "interactions.csv",
          items: given.items ?? "items.csv",
          out: options.out ?? "runs/first",
          ...pick(given, ["splitFile", "model", "llm", "clusterer", "baselines", "train"]),
        };
        await writeJsonAtomic(path, settings);
        if (ui.json) ui.resultJson({ path, settings });
        else ui.result(`Wrote ${path}. Next: prismrec run`);
      }),
    );
}

function pick(from: Readonly<Record<string, unknown>>, keys: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(keys.filter((key) => from[key] !== undefined).map((key) => [key, from[key]]));
}
