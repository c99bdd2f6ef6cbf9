import type { Command } from "commander";
import { count, duration } from "../format.js";
import type { Io } from "../io.js";
import { withSettings } from "../options.js";
import { withSession } from "../session.js";

export function addUpdate(program: Command, io: Io): void {
  const command = program
    .command("update")
    .summary("bring further interactions, items and users into a run")
    .description(
      "Adds new files to those that a run was made from: what is there exactly is counted once, the model goes on from what it " +
        "has learned, only new items are read by the language model, and the run serves as it was until all is done. After an " +
        "interruption the same command, or one without files, goes on.",
    )
    .argument("<run>", "run directory");
  withSettings(command, ["interactions", "items", "users"])
    .addHelpText(
      "after",
      "\nExamples:\n  prismrec update runs/shop --interactions today.csv" +
        "\n  prismrec update runs/shop -i monday.csv -i tuesday.csv --items new-items.csv",
    )
    .action((dir: string, _options, own: Command) =>
      withSession(io, own, async (session) => {
        const [{ updateRun }, { tablesOf }] = await Promise.all([
          import("../pipeline/update.js"),
          import("../pipeline/inputs.js"),
        ]);
        const start = performance.now();
        const { ui } = session;
        const result = await updateRun(session.place(dir), tablesOf(session.flags()), session.surroundings);
        if (ui.json) return ui.resultJson(result);
        if (!result.updated) return ui.result("Nothing new: the run is as it was.");
        const { users, items, events } = result.added;
        ui.result(`Added ${count(events)} events, ${count(users)} users and ${count(items)} items to ${dir}.`);
        for (const { warm, steps, former } of result.training) {
          if (!warm || steps === undefined || former === undefined) continue;
          ui.result(
            `The model took ${count(steps)} steps from where it was; the training before took ${count(former.steps)}.`,
          );
          break;
        }
        ui.info(`Finished in ${duration((performance.now() - start) / 1000)}.`);
      }),
    );
}
