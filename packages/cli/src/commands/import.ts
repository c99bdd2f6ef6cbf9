import { PrismrecError } from "@prismrec/core/errors";
import type { Command } from "commander";
import { mergeSettings, type RawSettings } from "../config/load.js";
import { count } from "../format.js";
import type { Io } from "../io.js";
import { SETTING_FLAGS, type SettingName, withSettings } from "../options.js";
import { type Session, withSession } from "../session.js";

/** The flags that say what to read and how to split it. */
export const IMPORT_SETTINGS: readonly SettingName[] = [
  "interactions",
  "items",
  "users",
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
  "since",
  "until",
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
        const out = await runFolder(session, own);
        // What the run's later stages go by is kept; what was imported before is forgotten, what is not given again too.
        const settings = mergeSettings(laterSettings(await session.stored(out)), await session.settings());
        await using run = await session.open(out, { settings });
        await run.run({ to: "import" });
        const { report, dataset } = await run.open("import");
        if (session.ui.json) session.ui.resultJson({ run: run.path, dataset: dataset.fingerprint, ...report });
        else {
          const { users, items, events } = report.kept;
          session.ui.result(`${count(users)} users, ${count(items)} items and ${count(events)} events in ${run.path}`);
        }
      }),
    );
}

/** The settings of a run that have nothing to do with its import. */
function laterSettings(stored: RawSettings): RawSettings {
  const own = new Set(IMPORT_SETTINGS.map((name) => SETTING_FLAGS[name].path.split(".")[0]));
  return Object.fromEntries(Object.entries(stored).filter(([name]) => !own.has(name)));
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
