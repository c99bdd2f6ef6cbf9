import { resolve } from "node:path";
import type { Command } from "commander";
import { shortPath } from "../format.js";
import type { Io } from "../io.js";
import { withSettings } from "../options.js";
import { withSession } from "../session.js";

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
        const { deliverReport } = await import("../pipeline/deliver-report.js");
        await using run = await session.open(dir);
        await run.run({ from: "evaluate", to: "evaluate" });
        const file = await deliverReport(run, options.output && resolve(io.cwd, options.output));
        if (session.ui.json) session.ui.resultJson({ report: file });
        else session.ui.result(shortPath(file, io.cwd));
      }),
    );
}
