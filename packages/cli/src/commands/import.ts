import { PrismrecError } from "@prismrec/core/errors";
import type { Command } from "commander";
import type { Io } from "../io.js";
import { type SettingName, withSettings } from "../options.js";
import { type Session, withSession } from "../session.js";
import { count } from "../terminal/format.js";

/** The flags that say what to read and how to split it. */
export const IMPORT_SETTINGS: readonly SettingName[] = [
  "interactions",
  "items",
  "splitFile",
  "minCore",
  "protocol",
  "splitSeed",
  "userColumn",
  "itemColumn",
  "timeColumn",
  "ratingColumn",
  "minRating",
  "eventColumn",
  "events",
  "repeats",
  "order",
  "ties",
  "dateOrder",
  "itemIdColumn",
  "titleColumn",
  "categoriesColumn",
  "categorySeparator",
];

export function addImport(program: Command, io: Io): void {
  const command = program
    .command("import")
    .summary("read interactions and items into a run")
    .description("Reads interactions and items into a run: columns found, rare users and items left out, users split.")
    .option("--out <dir>", "run directory");
  withSettings(command, IMPORT_SETTINGS)
    .addHelpText("after", "\nExample:\n  prismrec import --interactions ratings.csv --items movies.csv --out runs/ml")
    .action((_options, own: Command) =>
      withSession(io, own, async (session) => {
        const { runImport } = await import("../pipeline/stages.js");
        const out = await runFolder(session, own);
        await using pipeline = await session.open(out, await session.settings());
        const { report, dataset } = await runImport(pipeline);
        if (session.ui.json) session.ui.resultJson({ run: pipeline.run.path, dataset: dataset.fingerprint, ...report });
        else {
          const { users, items, events } = report.kept;
          session.ui.result(
            `${count(users)} users, ${count(items)} items and ${count(events)} events in ${pipeline.run.path}`,
          );
        }
      }),
    );
}

/** The run directory of a command that makes one: `--out`, else the configuration's. Nothing is written yet. */
export async function runFolder(session: Session, command: Command): Promise<string> {
  const { out } = command.opts<{ out?: string }>();
  const settings = await session.settings();
  if (settings.interactions === undefined) {
    throw new PrismrecError("CONFIG_INVALID", "there are no interactions to read", {
      expected: "a file with one event a row",
      hint: 'Name it with --interactions FILE, or as "interactions" in prismrec.config.json.',
    });
  }
  const chosen = out ?? session.io.env.PRISMREC_OUT ?? settings.out;
  if (typeof chosen === "string") return chosen;
  throw new PrismrecError("CONFIG_INVALID", "there is no run directory to write to", {
    expected: "a folder for the run",
    hint: "Name it with --out DIR, for example --out runs/first.",
  });
}
