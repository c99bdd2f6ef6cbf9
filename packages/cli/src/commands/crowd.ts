import type { Command } from "commander";
import type { Io } from "../io.js";
import { withSession } from "../session.js";
import { count, percent } from "../terminal/format.js";

export function addCrowd(program: Command, io: Io): void {
  program
    .command("crowd")
    .summary("merge similar users into a few synthesized ones")
    .description("Merges cliques of similar training users into synthesized users that max cover selects.")
    .argument("<run>", "run directory")
    .addHelpText("after", "\nExample:\n  prismrec crowd runs/ml")
    .action((dir: string, _options, own: Command) =>
      withSession(io, own, async (session) => {
        const { openCluster, runCrowd, openImport } = await import("../pipeline/stages.js");
        await using pipeline = await session.open(dir);
        const imported = await openImport(pipeline);
        const { report } = await runCrowd(pipeline, imported, await openCluster(pipeline, imported));
        if (session.ui.json) {
          session.ui.resultJson({
            users: report?.coverage.length ?? 0,
            candidates: report?.candidates ?? 0,
            coverage: report?.coverage ?? [],
            coverageBound: report?.coverageBound ?? null,
          });
        } else if (report === undefined) session.ui.result("no crowd");
        else {
          session.ui.result(
            `${count(report.coverage.length)} synthesized users cover ${percent(report.coverage.at(-1) ?? 0)}; ` +
              `no choice of as many covers more than ${percent(Math.min(1, report.coverageBound))}`,
          );
        }
      }),
    );
}
