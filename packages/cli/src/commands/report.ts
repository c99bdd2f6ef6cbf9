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
    .option("-o, --output <file>", "also write it here; only here where the run cannot be written to");
  withSettings(command, ["truth"])
    .addHelpText("after", "\nExample:\n  prismrec report runs/ml --output ml.html")
    .action((dir: string, options: { output?: string }, own: Command) =>
      withSession(io, own, async (session) => {
        const { openCluster, openCrowd, runEvaluate, openImport, deliverReport, openTrain } = await import(
          "../pipeline/stages.js"
        );
        await using pipeline = await session.open(dir, { files: ["truth"] });
        const imported = await openImport(pipeline);
        const clustered = await openCluster(pipeline, imported);
        const crowded = await openCrowd(pipeline, imported, clustered);
        const trained = await openTrain(pipeline, imported, clustered, crowded);
        const evaluated = await runEvaluate(pipeline, imported, clustered, crowded, trained);
        const run = { imported, clustered, crowded, trained, evaluated };
        const file = await deliverReport(pipeline, run, options.output && resolve(io.cwd, options.output));
        if (session.ui.json) session.ui.resultJson({ report: file });
        else session.ui.result(shortPath(file, io.cwd));
      }),
    );
}
