import { CommanderError } from "commander";
import { exitCodeOf } from "./exit-codes.js";
import { Interrupted } from "./interrupt.js";
import { type Io, processIo } from "./io.js";
import { createProgram } from "./program.js";
import { continueWith, uiFor } from "./session.js";
import { describeError, errorJson } from "./terminal/describe-error.js";

/**
 * The command line as a function: reads `argv` as `process.argv` has it and gives the exit code. Results go to stdout,
 * everything else to stderr; it never ends the process itself.
 */
export async function main(argv: readonly string[], io: Io = processIo()): Promise<number> {
  const args = argv.slice(2);
  const program = createProgram(io);
  try {
    if (args.length === 0) {
      program.outputHelp({ error: true });
      return 2;
    }
    await program.parseAsync([...args], { from: "user" });
    return 0;
  } catch (error) {
    // commander has printed its own faults already.
    if (!(error instanceof CommanderError)) report(error);
    return exitCodeOf(error);
  }

  function report(error: unknown): void {
    const flags = program.opts<{ json?: boolean; verbose?: boolean; color?: boolean }>();
    const ui = uiFor(io, flags);
    if (error instanceof Interrupted) ui.error(continueWith(args));
    else if (ui.json) ui.error(errorJson(error));
    else ui.error(describeError(error, ui.err, ui.verbose));
  }
}
