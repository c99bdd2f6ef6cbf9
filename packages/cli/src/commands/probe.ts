import { PrismrecError } from "@prismrec/core/errors";
import type { ModelProbe, StrategyProbe } from "@prismrec/llm";
import { type Command, InvalidArgumentError } from "commander";
import { duration } from "../format.js";
import type { Io } from "../io.js";
import { withLanguageModel } from "../options.js";
import { withSession } from "../session.js";
import { plain } from "../terminal/style.js";
import { formatTable } from "../terminal/table.js";

export function addProbe(program: Command, io: Io): void {
  const command = program
    .command("probe")
    .summary("find out what a language model can do, and what it would cost")
    .description(
      "Asks a language model about a small catalog of known groups, in both ways there are, and says which clusterer to " +
        "use with it and how long your own data would take.",
    )
    .option("--catalog <n>", "items of your catalog, for the estimate", wholeNumber)
    .option("--users <n>", "users of your data, for the estimate", wholeNumber)
    .option("--histories <n>", "histories that the model is asked to partition; 0 leaves that out", wholeNumber, 12);
  withLanguageModel(command)
    .addHelpText("after", "\nExample:\n  prismrec probe --llm model.gguf --catalog 9700 --users 610")
    .action((options: { catalog?: number; users?: number; histories: number }, own: Command) =>
      withSession(io, own, async ({ ui, signal, settings }) => {
        const { ensureModel, openLanguageModel, probeModel } = await import("@prismrec/llm");
        const { llm: named } = await settings();
        const found = await ensureModel({
          ...(typeof named === "string" ? { model: named } : {}),
          fetch: false,
          signal,
        });
        if (found === undefined) {
          throw new PrismrecError("MODEL_UNSUPPORTED", "there is no language model to probe", {
            expected: "a GGUF file, or a server that speaks OpenAI's interface",
            hint: "Name one with --llm, or get one: prismrec models.",
          });
        }
        const model = await openLanguageModel(found.path, { signal });
        try {
          const probe = await probeModel(model, {
            ...(options.catalog === undefined ? {} : { items: options.catalog }),
            ...(options.users === undefined ? {} : { users: options.users }),
            generateUsers: options.histories,
            signal,
            onProgress: ui.progress,
          });
          if (ui.json) ui.resultJson(probe);
          else ui.result(describe(probe, ui.width));
        } finally {
          await model.close();
        }
      }),
    );
}

function describe(probe: ModelProbe, width: number): string {
  const rows = probe.strategies.map((strategy) => [
    strategy.clusterer,
    strategy.passed ? "✔ usable" : "✖ refused",
    strategy.stability.mean.toFixed(2),
    `${strategy.planted.mean.toFixed(2)} / ${strategy.shuffled.mean.toFixed(2)}`,
    `${strategy.perSecond.toFixed(1)} ${strategy.clusterer === "facets" ? "items" : "histories"}/s`,
    strategy.hours === undefined ? "" : duration(strategy.hours * 3600),
  ]);
  const table = formatTable(
    [
      { title: "clusterer" },
      { title: "" },
      { title: "stability", align: "right" },
      { title: "known groups / shuffled", align: "right" },
      { title: "speed", align: "right" },
      { title: "your data", align: "right" },
    ],
    rows,
    width,
  );
  const reasons = probe.strategies.flatMap((strategy) => explain(strategy));
  const verdict = `Use --clusterer ${probe.recommended} (${plain(probe.model)}, ${probe.tokensPerSecond.toFixed(0)} tokens/s).`;
  return [table, ...reasons, "", verdict].join("\n");
}

function explain({ clusterer, failures }: StrategyProbe): string[] {
  return failures.map((failure) => `  ${clusterer}: ${plain(failure)}`);
}

function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError("Give a whole number.");
  return Number(text);
}
