import { resolve } from "node:path";
import { Argument, type Command } from "commander";
import { count, shortPath } from "../format.js";
import type { Io } from "../io.js";
import { withSettings } from "../options.js";
import { withSession } from "../session.js";

export function addAnswers(program: Command, io: Io): void {
  const command = program
    .command("answers")
    .summary("carry a language model's answers from one run to another")
    .description(
      "Writes the kept answers of a run's language models into a text file, or takes over those of such a file: what one has " +
        "read, others need not read again. Answers belong to the very model that gave them.",
    )
    .addArgument(new Argument("<what>", "what to do").choices(["export", "import"]))
    .argument("<run>", "run directory")
    .argument("<file>", "JSON lines: a key and an answer each")
    .option("--histories", "the answers about users' histories, in the place of those about items");
  withSettings(command, ["llmCache"])
    .addHelpText(
      "after",
      `
Examples:
  prismrec answers export runs/ml answers.jsonl
  prismrec answers import runs/other answers.jsonl`,
    )
    .action((what: "export" | "import", dir: string, file: string, options: { histories?: boolean }, own: Command) =>
      withSession(io, own, async ({ ui, signal, settings, place }) => {
        const [{ AnswerCache }, { answersFile, answersFolder }] = await Promise.all([
          import("@prismrec/llm"),
          import("../pipeline/answers.js"),
        ]);
        const { llmCache } = await settings(dir);
        const folder = typeof llmCache === "string" ? llmCache : answersFolder(place(dir));
        const path = resolve(io.cwd, file);
        const about = options.histories === true ? "histories" : "items";
        const cache = await AnswerCache.open(folder, answersFile(about), { readOnly: what === "export" });
        try {
          if (what === "export") {
            const answers = await cache.export(path);
            if (ui.json) ui.resultJson({ output: path, answers });
            else ui.info(`Wrote ${count(answers)} answers into ${shortPath(path, io.cwd)}.`);
            return;
          }
          const { added, known } = await cache.import(path, signal);
          if (ui.json) ui.resultJson({ added, known });
          else ui.info(`Took ${count(added)} answers over; ${count(known)} were known.`);
        } finally {
          await cache.close();
        }
      }),
    );
}
