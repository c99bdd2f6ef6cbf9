import { suggest } from "@prismrec/core/base";
import { type Command, InvalidArgumentError } from "commander";
import type { Io } from "../io.js";
import { withSettings } from "../options.js";
import { DEFAULT_MODEL, MODEL_NAMES } from "../pipeline/models.js";
import { withSession } from "../session.js";
import { defaultVariants, variantsOf } from "../variants.js";

export function addAblate(program: Command, io: Io): void {
  const command = program
    .command("ablate")
    .summary("train the run's own model without its parts and with control clusters")
    .description(
      "Trains the run's own model and its variants on the run's data, each under every seed, and compares them on the test users. " +
        "The baselines are trained under the same seeds and compared with the whole model, user by user. Every trial is " +
        "kept: run it again and it continues.",
    )
    .argument("<run>", "run directory")
    .option("--seeds <list>", "seeds of the model, joined by commas (default: 1,2,3)", seeds)
    .option(
      "--variants <list>",
      `variants, joined by commas (default: ${defaultVariants(DEFAULT_MODEL).join(",")})`,
      variants,
    );
  withSettings(command, ["epochs", "baselines", "device"])
    .addHelpText(
      "after",
      `
Variants:
${Object.entries(variantsOf(DEFAULT_MODEL))
  .map(([name, { description }]) => `  ${name.padEnd(14)} ${description}`)
  .join("\n")}

Examples:
  prismrec ablate runs/ml --seeds 1,2,3 --variants ${DEFAULT_MODEL},shuffled --json
  prismrec ablate runs/ml --seeds 1,2,3,4,5 --variants ${DEFAULT_MODEL} --baselines ease,sasrec`,
    )
    .action((dir: string, options: { seeds?: number[]; variants?: string[] }, command: Command) =>
      withSession(io, command, async (session) => {
        const [{ runAblation }, { ablationBaselines, ablationTable }] = await Promise.all([
          import("../pipeline/ablate.js"),
          import("../terminal/results.js"),
        ]);
        // The stages are the run's, under its own settings; what is given here is the trials' alone.
        await using run = await session.read(dir);
        const { model } = run.settings;
        const names = options.variants ?? defaultVariants(model);
        const ablation = await runAblation(run, await session.settings(dir), names, options.seeds ?? [1, 2, 3]);
        if (session.ui.json) session.ui.resultJson(ablation);
        else {
          const parts = [
            ablationTable(ablation, model, session.ui.width),
            ablationBaselines(ablation, model, session.ui.width),
          ];
          session.ui.result(parts.filter((part) => part !== undefined).join("\n\n"));
        }
      }),
    );
}

function seeds(text: string): number[] {
  const numbers = text.split(",").map(Number);
  if (numbers.some((seed) => !Number.isSafeInteger(seed) || seed < 0)) {
    throw new InvalidArgumentError("Give whole numbers joined by commas, for example 1,2,3.");
  }
  return [...new Set(numbers)];
}

/** Whether the run's model has such a variant is known once the run is. */
function variants(text: string): string[] {
  const names = [...new Set([...MODEL_NAMES, ...Object.keys(variantsOf(DEFAULT_MODEL))])];
  return text.split(",").map((name) => {
    const known = names.find((candidate) => candidate === name.trim());
    if (known !== undefined) return known;
    const near = suggest(name.trim(), names);
    throw new InvalidArgumentError(
      near === undefined ? `There is no variant ${name}.` : `There is no variant ${name} (did you mean ${near}?).`,
    );
  });
}
