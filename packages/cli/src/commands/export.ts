import { resolve } from "node:path";
import { Argument, type Command, InvalidArgumentError } from "commander";
import { EXPORT_KINDS, type ExportKind } from "../export-kinds.js";
import type { Io } from "../io.js";
import { withSession } from "../session.js";

export function addExport(program: Command, io: Io): void {
  program
    .command("export")
    .summary("write recommendations, interests or item vectors as JSON lines")
    .description(
      "Writes one JSON document a line: recommendations of every user, the interests in every user's history as they " +
        "were clustered, or the items with their vectors.",
    )
    .argument("<run>", "run directory")
    .addArgument(new Argument("<what>", "what to write").choices(EXPORT_KINDS))
    .option("-k, --count <n>", "recommendations per user", positive, 10)
    .option("-o, --output <file>", "write here instead of to stdout")
    .addHelpText("after", "\nExample:\n  prismrec export runs/ml recommendations -k 20 --output recommendations.jsonl")
    .action((dir: string, what: ExportKind, options: { count: number; output?: string }, own: Command) =>
      withSession(io, own, async (session) => {
        const { writeFileAtomic } = await import("@prismrec/core");
        const { exportLines } = await import("../pipeline/stages.js");
        await using pipeline = await session.read(dir);
        const lines = exportLines(pipeline, what, options.count);
        if (options.output === undefined) for await (const line of lines) session.ui.result(line);
        else await writeFileAtomic(resolve(io.cwd, options.output), withNewlines(lines));
      }),
    );
}

async function* withNewlines(lines: AsyncIterable<string>): AsyncGenerator<string> {
  for await (const line of lines) yield `${line}\n`;
}

function positive(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1) throw new InvalidArgumentError("Give a whole number from 1 on.");
  return number;
}
