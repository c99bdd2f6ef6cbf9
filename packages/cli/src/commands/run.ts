import type { Command } from "commander";
import type { Io } from "../io.js";
import { type SettingName, withSettings } from "../options.js";
import { withSession } from "../session.js";
import { duration, shortPath } from "../terminal/format.js";
import { IMPORT_SETTINGS, runFolder } from "./import.js";

const RUN_SETTINGS: readonly SettingName[] = [
  ...IMPORT_SETTINGS,
  "truth",
  "model",
  "clusterer",
  "llmCache",
  "epochs",
  "baselines",
];

export function addRun(program: Command, io: Io): void {
  const command = program
    .command("run")
    .summary("everything: import, cluster, crowd, train, evaluate, index, report")
    .description(
      "From two files to recommendations that name the interest behind them: import, cluster, crowd, train, evaluate, " +
        "index, report. Run it again and it continues where it stopped; what is unchanged is not done twice.",
    )
    .option("--out <dir>", "run directory")
    .option("--no-fetch", "do not get the small default model where no model is found");
  withSettings(command, RUN_SETTINGS)
    .addHelpText(
      "after",
      `
Examples:
  prismrec run --interactions ratings.csv --items movies.csv --out runs/ml
  prismrec run -i ratings.csv --items movies.csv -m model.gguf --split-file split.csv --out runs/ml
  prismrec run -i ratings.csv --items movies.csv --clusterer category --out runs/ml`,
    )
    .action((options: { fetch: boolean }, own: Command) =>
      withSession(io, own, async (session) => {
        const {
          runCluster,
          runCrowd,
          evaluationDocument,
          metricTable,
          recoveryTable,
          runEvaluate,
          runImport,
          runIndex,
          runReport,
          runTrain,
        } = await import("../pipeline/stages.js");
        const start = performance.now();
        const { ui } = session;
        const settings = await session.settings();
        const out = await runFolder(session, own);
        await using pipeline = await session.open(out, options.fetch ? settings : { ...settings, fetchModel: false });
        const imported = await runImport(pipeline);
        const clustered = await runCluster(pipeline, imported);
        const crowded = await runCrowd(pipeline, imported, clustered);
        const trained = await runTrain(pipeline, imported, clustered, crowded);
        const evaluated = await runEvaluate(pipeline, imported, clustered, crowded, trained);
        await runIndex(pipeline, imported, clustered, trained);
        const reported = await runReport(pipeline, { imported, clustered, crowded, trained, evaluated });
        const where = shortPath(reported.file, io.cwd);
        if (ui.json) {
          ui.resultJson(evaluationDocument(evaluated.report));
          ui.info(`Report: ${where}`);
          return;
        }
        const parts = [metricTable(evaluated.report, ui.out, ui.width)];
        if (evaluated.report.recovery !== undefined) parts.push(recoveryTable(evaluated.report));
        parts.push(`Report: ${where}`);
        ui.result(`\n${parts.join("\n\n")}\n`);
        ui.info(`Finished in ${duration((performance.now() - start) / 1000)}.`);
      }),
    );
}
