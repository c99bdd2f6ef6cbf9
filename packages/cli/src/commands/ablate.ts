import { type Command, InvalidArgumentError } from "commander";
import type { Io } from "../io.js";
import { withSettings } from "../options.js";
import { withSession } from "../session.js";
import { suggest } from "../suggest.js";
import { DEFAULT_VARIANTS, VARIANT_NAMES, VARIANTS, type VariantName } from "../variants.js";

export function addAblate(program: Command, io: Io): void {
  const command = program
    .command("ablate")
    .summary("train ldmi without its parts and with control clusters")
    .description(
      "Trains ldmi and its variants on the run's own data, each under every seed, and compares them on the test users. " +
        "Every trial is kept: run it again and it continues.",
    )
    .argument("<run>", "run directory")
    .option("--seeds <list>", "seeds of the model, joined by commas (default: 1,2,3)", seeds)
    .option("--variants <list>", `variants, joined by commas (default: ${DEFAULT_VARIANTS.join(",")})`, variants);
  withSettings(command, ["epochs"])
    .addHelpText(
      "after",
      `
Variants:
${VARIANT_NAMES.map((name) => `  ${name.padEnd(14)} ${VARIANTS[name].description}`).join("\n")}

Example:
  prismrec ablate runs/ml --seeds 1,2,3 --variants ldmi,shuffled --json`,
    )
    .action((dir: string, options: { seeds?: number[]; variants?: VariantName[] }, command: Command) =>
      withSession(io, command, async (session) => {
        const { ablationTable, runAblation, openCluster, openCrowd, openImport } = await import(
          "../pipeline/stages.js"
        );
        // The stages are the run's, under its own settings; what is given here is the trials' alone.
        await using own = await session.read(dir);
        const imported = await openImport(own);
        const clustered = await openCluster(own, imported);
        const crowded = await openCrowd(own, imported, clustered);
        await using trials = await session.open(dir, { keep: false });
        const ablation = await runAblation(
          trials,
          { imported, clustered, crowded },
          options.variants ?? DEFAULT_VARIANTS,
          options.seeds ?? [1, 2, 3],
        );
        if (session.ui.json) session.ui.resultJson(ablation);
        else session.ui.result(ablationTable(ablation, session.ui.width));
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

function variants(text: string): VariantName[] {
  return text.split(",").map((name) => {
    const known = VARIANT_NAMES.find((candidate) => candidate === name.trim());
    if (known !== undefined) return known;
    const near = suggest(name.trim(), VARIANT_NAMES);
    throw new InvalidArgumentError(
      near === undefined ? `There is no variant ${name}.` : `There is no variant ${name} (did you mean ${near}?).`,
    );
  });
}
