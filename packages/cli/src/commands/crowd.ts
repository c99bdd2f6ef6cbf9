import type { Command } from "commander";
import { count, percent } from "../format.js";
import type { Io } from "../io.js";
import { withSession } from "../session.js";

export function addCrowd(program: Command, io: Io): void {
  program
    .command("crowd")
    .summary("merge similar users into a few synthesized ones")
    .description("Merges cliques of similar training users into synthesized users that max cover selects.")
    .argument("<run>", "run directory")
    .addHelpText("after", "\nExample:\n  prismrec crowd runs/ml")
    .action((dir: string, _options, own: Command) =>
      withSession(io, own, async (session) => {
        await using run = await session.open(dir);
        await run.run({ from: "crowd", to: "crowd" });
        const { report } = await run.open("crowd");
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
