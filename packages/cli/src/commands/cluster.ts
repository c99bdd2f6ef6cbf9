import type { Command } from "commander";
import type { Io } from "../io.js";
import { withSettings } from "../options.js";
import { withSession } from "../session.js";

export function addCluster(program: Command, io: Io): void {
  const command = program
    .command("cluster")
    .summary("split every history into interests")
    .description("Splits every user's history into interests, with a language model or another clusterer.")
    .argument("<run>", "run directory");
  withSettings(command, ["model", "clusterer", "llmCache"])
    .addHelpText("after", "\nExample:\n  prismrec cluster runs/ml --model model.gguf")
    .action((dir: string, _options, own: Command) =>
      withSession(io, own, async (session) => {
        const { runCluster, openImport } = await import("../pipeline/stages.js");
        await using pipeline = await session.open(dir, { files: ["model"] });
        const { report } = await runCluster(pipeline, await openImport(pipeline));
        const { labels: _, ...summary } = report;
        if (session.ui.json) session.ui.resultJson(summary);
        else
          session.ui.result(
            report.clusterer === undefined ? "no semantic interests" : `clustered by ${report.clusterer}`,
          );
      }),
    );
}
