import { PrismrecError } from "@prismrec/core/errors";
import type { Command } from "commander";
import type { Check } from "../doctor/check.js";
import type { Io } from "../io.js";
import { withLanguageModel } from "../options.js";
import { withSession } from "../session.js";
import type { Style } from "../terminal/style.js";

export function addDoctor(program: Command, io: Io): void {
  const command = program
    .command("doctor")
    .summary("what works here, what does not, and what to do about it")
    .description(
      "Looks at Node, the addon, the processor, GPU, llama.cpp, models and Python. Exits with 4 where something must be put right.",
    );
  withLanguageModel(command).action((_options, own: Command) =>
    withSession(io, own, async ({ ui, settings }) => {
      const { checkMachine } = await import("../doctor/checks.js");
      const { llm } = await settings();
      const checks = await checkMachine(io, typeof llm === "string" ? llm : undefined);
      const failed = checks.filter(({ status }) => status === "failed");
      if (ui.json) ui.resultJson({ ok: failed.length === 0, checks });
      else ui.result(checkList(checks, ui.out));
      if (failed.length === 0) return;
      throw new PrismrecError("DEVICE_UNAVAILABLE", `${failed.map(({ name }) => name).join(", ")} must be put right`, {
        hint: failed.map(({ remedy }) => remedy).find((remedy) => remedy !== undefined) ?? "See the list above.",
      });
    }),
  );
}

const MARKS = { ok: "✔", missing: "·", failed: "✖" } as const;

function checkList(checks: readonly Check[], style: Style): string {
  const width = Math.max(...checks.map(({ name }) => name.length));
  const paint = { ok: style.good, missing: style.warn, failed: style.bad };
  const lines = checks.flatMap(({ name, status, text, remedy }) => [
    `${paint[status](MARKS[status])} ${name.padEnd(width)}  ${text}`,
    ...(remedy === undefined ? [] : [`  ${" ".repeat(width)}  ${style.dim(`→ ${remedy}`)}`]),
  ]);
  const works = checks.every(({ status }) => status !== "failed");
  return [...lines, "", works ? "Everything a run needs is here." : "Something must be put right first."].join("\n");
}
