import type { Command } from "commander";
import type { Io } from "../io.js";
import { withSettings } from "../options.js";
import type { EvaluationReport } from "../pipeline/evaluate.js";
import { withSession } from "../session.js";
import { checkMetric, parseThreshold, type Threshold, ThresholdMissed } from "../threshold.js";

export function addEvaluate(program: Command, io: Io): void {
  const command = program
    .command("evaluate")
    .summary("judge every model of a run on its test users")
    .description("Ranks the whole catalog for every test user and judges the run's own model beside its baselines.")
    .argument("<run>", "run directory")
    .option(
      "--fail-under <metric=value>",
      "exit with 5 where the run's own model is below, e.g. recall@50=0.4",
      parseThreshold,
    );
  withSettings(command, ["truth"])
    .addHelpText(
      "after",
      "\nExamples:\n  prismrec evaluate runs/ml\n  prismrec evaluate runs/ml --json --fail-under ndcg@20=0.15",
    )
    .action((dir: string, options: { failUnder?: Threshold }, own: Command) =>
      withSession(io, own, async (session) => {
        const { evaluationDocument, metricNames } = await import("../pipeline/evaluate.js");
        const { explanationTable, exposureTable, metricTable, recoveryTable } = await import("../terminal/results.js");
        const { ui } = session;
        await using run = await session.open(dir);
        if (options.failUnder !== undefined) {
          const { dataset } = await run.open("import");
          checkMetric(options.failUnder, metricNames(run.settings.evaluate, dataset));
        }
        await run.run({ from: "evaluate", to: "evaluate" });
        const { report } = await run.open("evaluate");
        if (ui.json) ui.resultJson(evaluationDocument(report));
        else {
          const parts = [
            metricTable(report, ui.out, ui.width),
            exposureTable(report, ui.out, ui.width),
            explanationTable(report, ui.out),
            report.recovery === undefined ? undefined : recoveryTable(report),
          ];
          ui.result(parts.filter((part) => part !== undefined).join("\n\n"));
        }
        if (options.failUnder !== undefined) check(report, options.failUnder);
      }),
    );
}

function check({ own, models }: EvaluationReport, wanted: Threshold): void {
  const reached = models[own]?.[wanted.metric];
  if (reached === undefined || reached < wanted.value) throw new ThresholdMissed(wanted, reached, own);
}
