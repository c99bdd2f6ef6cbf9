import type { Command } from "commander";
import type { Io } from "../io.js";
import { withLanguageModel, withSettings } from "../options.js";
import { withSession } from "../session.js";

export function addCluster(program: Command, io: Io): void {
  const command = program
    .command("cluster")
    .summary("split every history into interests")
    .description("Splits every user's history into interests, with a language model or another clusterer.")
    .argument("<run>", "run directory");
  withLanguageModel(withSettings(command, ["clusterer", "embedder", "kinds", "domain", "llmCache"]))
    .addHelpText("after", "\nExample:\n  prismrec cluster runs/ml --llm model.gguf")
    .action((dir: string, _options, own: Command) =>
      withSession(io, own, async (session) => {
        await using run = await session.open(dir);
        await run.run({ from: "cluster", to: "cluster" });
        const { report } = await (await run.open("cluster")).contents();
        const { labels: _, ...summary } = report;
        if (session.ui.json) session.ui.resultJson(summary);
        else
          session.ui.result(
            report.clusterer === undefined ? "no semantic interests" : `clustered by ${report.clusterer}`,
          );
      }),
    );
}
