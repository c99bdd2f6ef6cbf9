import { readFile } from "node:fs/promises";
import { PrismrecError } from "@prismrec/core/errors";
import type { ModelProbe } from "@prismrec/llm";
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
      "Asks a language model about a small catalog of known groups, in every way that its engine allows, and says what it " +
        "can be used for, which clusterer to use with it, and what your own data would take. About two minutes.",
    )
    .option("--catalog <n>", "items of your catalog, for the estimate", wholeNumber)
    .option("--users <n>", "users of your data, for the estimate", wholeNumber)
    .option("--histories <n>", "histories that the model is asked to partition; 0 leaves that out", wholeNumber, 8);
  withLanguageModel(command)
    .addHelpText("after", "\nExample:\n  prismrec probe --llm model.gguf --catalog 9700 --users 610")
    .action((options: { catalog?: number; users?: number; histories: number }, own: Command) =>
      withSession(io, own, async ({ ui, signal, settings }) => {
        const { ensureModel, LlamaCppModel, openLanguageModel, probeModel } = await import("@prismrec/llm");
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
            histories: options.histories,
            signal,
            onProgress: ui.progress,
          });
          const modelBytes = await memoryOf(model instanceof LlamaCppModel ? model.processes() : []);
          if (ui.json) ui.resultJson(forMachines(probe, modelBytes));
          else ui.result(describe(probe, modelBytes, ui.width));
        } finally {
          await model.close();
        }
      }),
    );
}

/** Strategies by name, each with whether it is usable and why. */
function forMachines({ strategies, ...probe }: ModelProbe, modelBytes: number | undefined): object {
  return {
    ...probe,
    ...(modelBytes === undefined ? {} : { modelBytes }),
    strategies: Object.fromEntries(strategies.map(({ clusterer, ...strategy }) => [clusterer, strategy])),
  };
}

/** Memory of these processes, what they share counted once; undefined where the system does not say. */
async function memoryOf(processes: readonly number[]): Promise<number | undefined> {
  let kilobytes = 0;
  for (const pid of processes) {
    const text = await readFile(`/proc/${pid}/smaps_rollup`, "utf8").catch(() => "");
    const own = /^Pss:\s+(\d+) kB$/m.exec(text)?.[1];
    if (own === undefined) return undefined;
    kilobytes += Number(own);
  }
  return processes.length === 0 ? undefined : kilobytes * 1024;
}

function describe(probe: ModelProbe, modelBytes: number | undefined, width: number): string {
  const rows = probe.strategies.map((strategy) => [
    strategy.clusterer,
    strategy.usable ? "✔ usable" : "✖ refused",
    strategy.auc?.toFixed(2) ?? "",
    `${strategy.planted.mean.toFixed(2)} / ${strategy.shuffled.mean.toFixed(2)}`,
    strategy.stability.mean.toFixed(2),
    strategy.perSecond === undefined
      ? ""
      : `${strategy.perSecond.toFixed(1)} ${strategy.clusterer === "partition" ? "histories" : "items"}/s`,
    [
      ...(strategy.hours === undefined ? [] : [duration(strategy.hours * 3600)]),
      ...(strategy.bytes === undefined ? [] : [megabytes(strategy.bytes)]),
    ].join(", "),
  ]);
  rows.push([
    "title-words",
    "no model",
    probe.titleWords.auc.toFixed(2),
    probe.titleWords.planted.mean.toFixed(2),
    "",
    "",
    "",
  ]);
  const table = formatTable(
    [
      { title: "clusterer" },
      { title: "" },
      { title: "AUC", align: "right" },
      { title: "known groups / shuffled", align: "right" },
      { title: "stability", align: "right" },
      { title: "speed", align: "right" },
      { title: "your data", align: "right" },
    ],
    rows,
    width,
  );
  const reasons = probe.strategies.map(({ clusterer, why }) => `  ${clusterer}: ${plain(why)}`);
  const figures = [
    plain(probe.model),
    ...(probe.tokensPerSecond === undefined ? [] : [`${probe.tokensPerSecond.toFixed(0)} tokens/s`]),
    ...(modelBytes === undefined ? [] : [`${megabytes(modelBytes)} of memory`]),
    `tested in ${duration(probe.seconds)}`,
  ];
  return [table, ...reasons, "", `Use --clusterer ${probe.recommended} (${figures.join(", ")}).`].join("\n");
}

function megabytes(bytes: number): string {
  return `${Math.max(1, Math.round(bytes / 2 ** 20))} MB`;
}

function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError("Give a whole number.");
  return Number(text);
}
