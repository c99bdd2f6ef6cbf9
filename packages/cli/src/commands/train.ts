import type { Command } from "commander";
import type { Io } from "../io.js";
import { withSettings } from "../options.js";
import type { TrainedModel } from "../pipeline/train.js";
import { withSession } from "../session.js";

export function addTrain(program: Command, io: Io): void {
  const command = program
    .command("train")
    .summary("train the run's own model and fit what it is held against")
    .description(
      "Trains the run's own model and fits the baselines. An interrupted training goes on from its last checkpoint.",
    )
    .argument("<run>", "run directory");
  withSettings(command, ["model", "prior", "effort", "epochs", "device", "baselines"])
    .addHelpText("after", "\nExamples:\n  prismrec train runs/ml\n  prismrec train runs/ml --baselines ease,comirec-sa")
    .action((dir: string, _options, own: Command) =>
      withSession(io, own, async (session) => {
        await using run = await session.open(dir);
        const models = new Set<string>();
        // What validation is to choose from is tried first.
        const from = run.stages.some(({ name }) => name === "tune") ? "tune" : "train";
        for (const { stage } of await run.run({ from, to: "train" })) {
          if (stage === "tune") continue;
          models.add(((await run.open(stage)) as TrainedModel).name);
        }
        const own = await run.open("train");
        if (session.ui.json) session.ui.resultJson({ models: [...models], [own.name]: (await own.curve()) ?? null });
        else session.ui.result(`trained ${[...models].join(", ")}`);
      }),
    );
}
