import type { Command } from "commander";
import { duration } from "../format.js";
import type { Io } from "../io.js";
import { withLanguageModel, withSettings } from "../options.js";
import type { ClusterCost } from "../pipeline/cluster-cost.js";
import { withSession } from "../session.js";
import { plain } from "../terminal/style.js";

export function addCluster(program: Command, io: Io): void {
  const command = program
    .command("cluster")
    .summary("split every history into interests")
    .description(
      "Splits every user's history into interests, with a language model or another clusterer. A dry run says what that would " +
        "take: it asks some of the questions, whose answers are kept, and asks the others of nobody.",
    )
    .argument("<run>", "run directory")
    .option("--dry-run", "say how many calls, tokens and minutes of the language model it would take");
  withLanguageModel(withSettings(command, ["clusterer", "embedder", "kinds", "domain", "llmCache", "llmBudget"]))
    .addHelpText(
      "after",
      `
Examples:
  prismrec cluster runs/ml --llm model.gguf
  prismrec cluster runs/ml --llm model.gguf --dry-run
  prismrec cluster runs/ml --llm http://localhost:8080/v1 --llm-budget 30m`,
    )
    .action((dir: string, options: { dryRun?: boolean }, own: Command) =>
      withSession(io, own, async (session) => {
        await using run = await session.open(dir);
        if (options.dryRun === true) {
          const { estimateClustering } = await import("../pipeline/cluster-cost.js");
          const cost = await estimateClustering(run);
          if (session.ui.json) session.ui.resultJson(cost);
          else session.ui.result(describe(cost));
          return;
        }
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

function describe({ clusterer, model, calls, kept, tokens, seconds, sampled }: ClusterCost): string {
  if (model === undefined) return `${clusterer ?? "no semantic interests"}: no language model is asked`;
  const time = seconds === undefined ? "" : `, about ${duration(seconds)} on a machine as busy as now`;
  return (
    `${clusterer} with ${plain(model)}: ${calls - kept} calls, ${Math.round(tokens)} tokens${time}\n` +
    `${kept} of ${calls} answers are kept already (${sampled} were asked for just now, to see what the others take)`
  );
}
