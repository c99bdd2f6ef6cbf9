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
    .description("Ranks the whole catalog for every test user and judges ldmi beside the baselines of the run.")
    .argument("<run>", "run directory")
    .option("--fail-under <metric=value>", "exit with 5 where ldmi is below, e.g. recall@50=0.4", parseThreshold);
  withSettings(command, ["truth"])
    .addHelpText(
      "after",
      "\nExamples:\n  prismrec evaluate runs/ml\n  prismrec evaluate runs/ml --json --fail-under ndcg@20=0.15",
    )
    .action((dir: string, options: { failUnder?: Threshold }, own: Command) =>
      withSession(io, own, async (session) => {
        const {
          openCluster,
          openCrowd,
          evaluationDocument,
          metricNames,
          metricTable,
          recoveryTable,
          runEvaluate,
          openImport,
          openTrain,
        } = await import("../pipeline/stages.js");
        const { ui } = session;
        await using pipeline = await session.open(dir, { files: ["truth"] });
        const imported = await openImport(pipeline);
        if (options.failUnder !== undefined) checkMetric(options.failUnder, metricNames(pipeline, imported.dataset));
        const clustered = await openCluster(pipeline, imported);
        const crowded = await openCrowd(pipeline, imported, clustered);
        const trained = await openTrain(pipeline, imported, clustered, crowded);
        const { report } = await runEvaluate(pipeline, imported, clustered, crowded, trained);
        if (ui.json) ui.resultJson(evaluationDocument(report));
        else {
          const parts = [metricTable(report, ui.out, ui.width)];
          if (report.recovery !== undefined) parts.push(recoveryTable(report));
          ui.result(parts.join("\n\n"));
        }
        if (options.failUnder !== undefined) check(report, options.failUnder);
      }),
    );
}

function check({ models }: EvaluationReport, wanted: Threshold): void {
  const reached = models.ldmi?.[wanted.metric];
  if (reached === undefined || reached < wanted.value) throw new ThresholdMissed(wanted, reached);
}
