import { PrismrecError } from "@prismrec/core/errors";
import type { Command } from "commander";
import { CONFIG_FILE, type RawSettings } from "../config/load.js";
import { duration, shellQuote, shortPath } from "../format.js";
import type { Io } from "../io.js";
import { type SettingName, withSettings } from "../options.js";
import { type Session, withSession } from "../session.js";
import { plain } from "../terminal/style.js";
import { IMPORT_SETTINGS, runFolder } from "./import.js";

const RUN_SETTINGS: readonly SettingName[] = [
  ...IMPORT_SETTINGS,
  "truth",
  "model",
  "prior",
  "effort",
  "preset",
  "llm",
  "clusterer",
  "embedder",
  "kinds",
  "domain",
  "llmCache",
  "llmBudget",
  "epochs",
  "device",
  "trainAll",
  "baselines",
];

export function addRun(program: Command, io: Io): void {
  const command = program
    .command("run")
    .summary("everything: import, cluster, crowd, train, evaluate, index, report")
    .description(
      "From two files to recommendations that name the interest behind them: import, cluster, crowd, train, evaluate, " +
        "index, report. Run it again and it continues where it stopped; what is unchanged is not done twice. With a run " +
        "directory alone it goes on there with the run's own settings.",
    )
    .argument("[run]", "run directory to go on with")
    .option("--out <dir>", "run directory")
    .option("--from <stage>", "take the stages before this one as they are; one that is out of date is refused")
    .option("--to <stage>", "stop after this stage")
    .option("--no-fetch", "do not get the small default model where no model is found");
  withSettings(command, RUN_SETTINGS)
    .addHelpText(
      "after",
      `
Examples:
  prismrec run --interactions ratings.csv --items movies.csv --out runs/ml
  prismrec run -i ratings.csv --items movies.csv --llm model.gguf --split-file split.csv --out runs/ml
  prismrec run -i ratings.csv --items movies.csv --clusterer category --out runs/ml
  prismrec run runs/ml`,
    )
    .action((dir: string | undefined, options: { fetch: boolean; from?: string; to?: string }, own: Command) =>
      withSession(io, own, async (session) => {
        const [{ evaluationDocument }, { metricTable, recoveryTable }] = await Promise.all([
          import("../pipeline/evaluate.js"),
          import("../terminal/results.js"),
        ]);
        const start = performance.now();
        const { ui } = session;
        const { out, settings } = await placeAndSettings(session, own, dir);
        await using run = await session.open(out, {
          settings: options.fetch ? settings : { ...settings, fetchModel: false },
          continued: dir !== undefined,
        });
        const stages = await run.run({ from: options.from, to: options.to });
        if (!stages.some(({ stage }) => stage === "report")) {
          if (ui.json) ui.resultJson({ run: run.path, stages });
          else
            ui.result(`${stages.map(({ stage }) => stage).join(", ")}: up to date in ${shortPath(run.path, io.cwd)}`);
          return;
        }
        const { report } = await run.open("evaluate");
        const where = shortPath((await run.open("report")).file, io.cwd);
        if (ui.json) {
          ui.resultJson(evaluationDocument(report));
          ui.info(`Report: ${where}`);
          return;
        }
        const parts = [metricTable(report, ui.out, ui.width)];
        if (report.recovery !== undefined) parts.push(recoveryTable(report));
        parts.push(`Report: ${where}`);
        ui.result(`\n${parts.join("\n\n")}\n`);
        ui.info(`Finished in ${duration((performance.now() - start) / 1000)}.`);
        const { log, split } = (await run.open("import")).dataset;
        const user = log.userIds[split.test.users[0]!]!;
        ui.info(
          `Next: prismrec recommend ${shellQuote(shortPath(run.path, io.cwd))} --user ${shellQuote(plain(user))}`,
        );
      }),
    );
}

/** Where a run is made and under which settings: those given, or the run's own where one is named to go on with. */
async function placeAndSettings(
  session: Session,
  command: Command,
  dir: string | undefined,
): Promise<{ readonly out: string; readonly settings: RawSettings }> {
  if (dir === undefined) return { out: await runFolder(session, command), settings: await session.settings() };
  if (command.getOptionValueSource("out") === "cli") {
    throw new PrismrecError("INVALID_ARGUMENT", "the run directory is named twice", {
      expected: "a run directory to go on with, or --out DIR for a new one",
      received: "both",
    });
  }
  const settings = await session.settings(dir);
  if (settings.interactions === undefined) {
    throw new PrismrecError("RUN_INVALID", `there is no run in ${dir} to go on with`, {
      expected: `a folder with the ${CONFIG_FILE} of a run`,
      received: dir,
      hint: `Begin one: prismrec run --interactions FILE --items FILE --out ${shellQuote(dir)}`,
    });
  }
  session.ui.info(`Going on in ${dir}, with the settings in its ${CONFIG_FILE}.`);
  return { out: dir, settings };
}
