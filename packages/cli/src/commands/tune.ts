import { resolve } from "node:path";
import { PrismrecError } from "@prismrec/core/errors";
import type { Command } from "commander";
import { mergeSettings } from "../config/load.js";
import type { Io } from "../io.js";
import { withSettings } from "../options.js";
import { withSession } from "../session.js";

export function addTune(program: Command, io: Io): void {
  const command = program
    .command("tune")
    .summary("try other settings of the run's own model, which validation may choose")
    .description(
      "Trains the run's own model as it is, then alternatives to it by successive halving, and keeps the one that is better on " +
        "validation by more than a standard error; training takes it up. Alternatives are those of the model's recipe, or a " +
        "space of your own: a JSON file with the values to try of each setting of training. An interrupted search goes on.",
    )
    .argument("<run>", "run directory")
    .option("--space <file>", 'values to try, e.g. {"dropout": [0.1, 0.5], "network.interests": [1, 8]}');
  withSettings(command, ["effort", "device"])
    .addHelpText(
      "after",
      "\nExamples:\n  prismrec tune runs/ml --effort thorough\n  prismrec tune runs/ml --space space.json",
    )
    .action((dir: string, options: { space?: string }, own: Command) =>
      withSession(io, own, async (session) => {
        const [{ readJson }, { tuningTable }] = await Promise.all([
          import("@prismrec/core/base"),
          import("../terminal/results.js"),
        ]);
        const space = options.space && { space: await readJson(resolve(io.cwd, options.space), "CONFIG_INVALID") };
        const settings = mergeSettings(await session.settings(dir), space || {});
        await using run = await session.open(dir, { settings });
        if (!run.stages.some(({ name }) => name === "tune")) {
          throw new PrismrecError("INVALID_ARGUMENT", "this run has nothing to tune", {
            expected: "a run whose own model is trained by steps, under --effort standard or thorough",
            received: `${run.settings.model}, effort ${run.settings.effort}`,
          });
        }
        await run.run({ from: "tune", to: "tune" });
        const found = await run.find("tune");
        if (session.ui.json) session.ui.resultJson(found?.result ?? null);
        else if (found === undefined) session.ui.result("nothing was tried: nobody is there to validate on");
        else session.ui.result(tuningTable(found.result, session.ui.width));
      }),
    );
}
