import type { Command } from "commander";
import type { Io } from "../io.js";
import { withSettings } from "../options.js";
import { withSession } from "../session.js";

export function addTrain(program: Command, io: Io): void {
  const command = program
    .command("train")
    .summary("train ldmi and fit what it is held against")
    .description("Trains ldmi and fits the baselines. An interrupted training goes on from its last checkpoint.")
    .argument("<run>", "run directory");
  withSettings(command, ["epochs", "baselines"])
    .addHelpText("after", "\nExamples:\n  prismrec train runs/ml\n  prismrec train runs/ml --baselines ease,comirec-sa")
    .action((dir: string, _options, own: Command) =>
      withSession(io, own, async (session) => {
        const { openCluster, openCrowd, openImport, readCurve, runTrain } = await import("../pipeline/stages.js");
        await using pipeline = await session.open(dir);
        const imported = await openImport(pipeline);
        const clustered = await openCluster(pipeline, imported);
        const crowded = await openCrowd(pipeline, imported, clustered);
        const { models } = await runTrain(pipeline, imported, clustered, crowded);
        const ldmi = models.find(({ name }) => name === "ldmi");
        const curve = ldmi === undefined ? undefined : await readCurve(ldmi.dir);
        if (session.ui.json) session.ui.resultJson({ models: models.map(({ name }) => name), ldmi: curve ?? null });
        else session.ui.result(`trained ${models.map(({ name }) => name).join(", ")}`);
      }),
    );
}
