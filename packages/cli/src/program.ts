import { Command } from "commander";
import { type AddCommand, addCommands } from "./commands/index.js";
import type { Io } from "./io.js";
import { GLOBAL_SETTINGS, settingOption } from "./options.js";
import { VERSION } from "./version.js";

const EXIT_CODES = `
Exit codes: 0 ok · 1 unexpected · 2 usage or configuration · 3 data ·
4 environment · 5 threshold missed · 130 interrupted · 141 nobody reads the
output any more · 143 terminated
Settings: flag > environment (PRISMREC_SEED, …) > prismrec.config.json > default`;

/**
 * The whole command line. Nothing in it ends the process: faults are thrown as CommanderError, and printed before that
 * for people; under `json` printing them is left to the caller.
 */
export function createProgram(
  io: Io,
  { json, commands = [] }: { readonly json: boolean; readonly commands?: readonly AddCommand[] },
): Command {
  const program = new Command("prismrec")
    .description("Multi-interest recommenders that name the interest behind every recommendation")
    .version(VERSION, "-V, --version")
    .option("--json", "print the result as one JSON document")
    .option("-q, --quiet", "print nothing but the result, warnings and errors")
    .option("-v, --verbose", "say more; stack traces with errors")
    .option("--no-color", "no colours (also NO_COLOR)")
    .option("--no-progress", "no progress")
    .option("--config <file>", "configuration (default: ./prismrec.config.json where there is one)")
    .addOption(settingOption(GLOBAL_SETTINGS.threads))
    .addOption(settingOption(GLOBAL_SETTINGS.seed))
    .addHelpText("after", EXIT_CODES)
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError("(prismrec --help lists everything)");
  addCommands(program, io);
  for (const add of commands) add(program, io);
  for (const command of [program, ...program.commands]) {
    command
      .exitOverride()
      .configureOutput({
        writeOut: (text) => void io.stdout.write(text),
        writeErr: (text) => void (json || io.stderr.write(text)),
        getOutHasColors: () => false,
        getErrHasColors: () => false,
      })
      .configureHelp({ showGlobalOptions: true });
  }
  return program;
}
