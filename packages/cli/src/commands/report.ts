import { copyFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { Command } from "commander";
import type { Io } from "../io.js";
import { withSettings } from "../options.js";
import { withSession } from "../session.js";
import { shortPath } from "../terminal/format.js";

export function addReport(program: Command, io: Io): void {
  const command = program
    .command("report")
    .summary("write the run's report, one HTML file that needs no network")
    .description("Writes the report of a trained run: one HTML file with everything in it.")
    .argument("<run>", "run directory")
    .option("-o, --output <file>", "also copy it here");
  withSettings(command, ["truth"])
    .addHelpText("after", "\nExample:\n  prismrec report runs/ml --output ml.html")
    .action((dir: string, options: { output?: string }, own: Command) =>
      withSession(io, own, async (session) => {
        const { fromFileError } = await import("@prismrec/core");
        const { openCluster, openCrowd, runEvaluate, openImport, runIndex, runReport, openTrain } = await import(
          "../pipeline/stages.js"
        );
        await using pipeline = await session.open(dir);
        const imported = await openImport(pipeline);
        const [clustered, crowded] = [await openCluster(pipeline), await openCrowd(pipeline)];
        const trained = await openTrain(pipeline, imported);
        const evaluated = await runEvaluate(pipeline, imported, clustered, crowded, trained);
        await runIndex(pipeline, imported, clustered, trained);
        let { file } = await runReport(pipeline, { imported, clustered, crowded, trained, evaluated });
        if (options.output !== undefined) {
          const copy = resolve(io.cwd, options.output);
          await copyFile(file, copy).catch((error: unknown) => {
            throw fromFileError(error, copy, "write");
          });
          file = copy;
        }
        if (session.ui.json) session.ui.resultJson({ report: file });
        else session.ui.result(shortPath(file, io.cwd));
      }),
    );
}
