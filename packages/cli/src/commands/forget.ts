import type { Command } from "commander";
import { count, shellQuote } from "../format.js";
import type { Io } from "../io.js";
import { withSession } from "../session.js";

export function addForget(program: Command, io: Io): void {
  program
    .command("forget")
    .summary("remove users from a run, and from all that was made of their rows")
    .description(
      "Removes users' rows from a run's inputs, removes everything that was made with them (data, clusters, crowd, models, " +
        "metrics, index, report, a language model's answers about histories), and makes it again without them. A salted hash keeps " +
        "them out of later updates. Files outside of the run directory are left alone.",
    )
    .argument("<run>", "run directory")
    .argument("<user...>", "ids of users")
    .option("--no-remake", "only remove; prismrec run makes the run again")
    .addHelpText(
      "after",
      "\nExamples:\n  prismrec forget runs/shop u42\n  prismrec forget runs/shop u42 u77 --no-remake --json",
    )
    .action((dir: string, users: string[], { remake }: { remake: boolean }, own: Command) =>
      withSession(io, own, async ({ place, surroundings, ui }) => {
        const { forgetUsers } = await import("../pipeline/forget.js");
        const result = await forgetUsers(place(dir), users, { ...surroundings, remake });
        if (ui.json) return ui.resultJson(result);
        const who = result.users === 1 ? "1 user is" : `${count(result.users)} users are`;
        ui.result(`${who} forgotten: ${count(result.rows)} rows, and all that was made of them.`);
        if (!remake) ui.result(`prismrec run ${shellQuote(dir)} makes the run again.`);
      }),
    );
}
