import { resolve } from "node:path";
import type { Command } from "commander";
import { shortPath } from "../format.js";
import type { Io } from "../io.js";
import type { Run } from "../pipeline/run.js";
import { withSession } from "../session.js";

export function addCompare(program: Command, io: Io): void {
  program
    .command("compare")
    .summary("compare the models of finished runs, paired over the same test users")
    .description(
      "Compares the own models of evaluated runs in every metric that they share, user by user: means, differences from a " +
        "baseline with 95 % intervals from resampled users, and Wilcoxon's signed-rank test, adjusted for all runs that " +
        "are compared (Holm). Nothing is trained; runs that were judged on different data are refused, with what differs.",
    )
    .argument("<runs...>", "run directories, the baseline first")
    .option("--baseline <run|model>", "what the runs are held against: another of them, or a model that one has judged")
    .option("-o, --output <file>", "also write it as one HTML file that needs no network")
    .addHelpText(
      "after",
      `
Examples:
  prismrec compare runs/a runs/b
  prismrec compare runs/a runs/b runs/c --baseline ease --json
  prismrec compare runs/a runs/b --output compare.html`,
    )
    .action((dirs: string[], options: { baseline?: string; output?: string }, own: Command) =>
      withSession(io, own, async ({ read, surroundings, ui }) => {
        const [{ compareRuns }, { comparisonTable }] = await Promise.all([
          import("../pipeline/compare.js"),
          import("../terminal/results.js"),
        ]);
        const runs: Run[] = [];
        try {
          for (const dir of dirs) runs.push(await read(dir));
          const comparison = await compareRuns(runs, {
            ...runs[0]?.options,
            baseline: options.baseline,
            cwd: io.cwd,
            onWarning: (text) => surroundings.onEvent({ type: "warning", text }),
          });
          if (ui.json) ui.resultJson(comparison);
          else ui.result(comparisonTable(comparison, ui.out, ui.width));
          if (options.output === undefined) return;
          const { writeFileAtomic } = await import("@prismrec/core/base");
          const { renderComparison } = await import("../report/comparison.js");
          const file = resolve(io.cwd, options.output);
          await writeFileAtomic(file, renderComparison(comparison));
          ui.info(`Wrote ${shortPath(file, io.cwd)}.`);
        } finally {
          for (const run of runs) await run.close();
        }
      }),
    );
}
