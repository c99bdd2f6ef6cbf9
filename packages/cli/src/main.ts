import { PrismrecError } from "@prismrec/core/errors";
import { CommanderError } from "commander";
import type { AddCommand } from "./commands/index.js";
import { exitCodeOf } from "./exit-codes.js";
import { Interrupted } from "./interrupt.js";
import { type Io, processIo } from "./io.js";
import { createProgram } from "./program.js";
import { continueWith, uiFor } from "./session.js";
import { describeError, errorJson } from "./terminal/describe-error.js";
import { flush, OutputClosed, watchOutputs } from "./terminal/outputs.js";

/**
 * The command line as a function: reads `argv` as `process.argv` has it and gives the exit code. Results go to stdout,
 * everything else to stderr; it never ends the process itself. When it resolves, both streams have taken what was
 * written, except after an interruption, which waits for no reader.
 *
 * @param options `commands` of a program's own stand behind the others in help; a name that is taken is an error
 */
export async function main(
  argv: readonly string[],
  io: Io = processIo(),
  { commands = [] }: { readonly commands?: readonly AddCommand[] } = {},
): Promise<number> {
  const args = argv.slice(2);
  // Asked of the arguments themselves: what cannot be parsed has a fault to tell of before its flags are known.
  const json = args.slice(0, args.includes("--") ? args.indexOf("--") : undefined).includes("--json");
  const program = createProgram(io, { json, commands });
  using outputs = watchOutputs(io);
  let error = await run();
  if (error instanceof Interrupted) {
    report(error);
    return exitCodeOf(error);
  }
  await flush(io.stdout);
  if (outputs.failure !== undefined && (error === undefined || exitCodeOf(error) === 0)) error = outputs.failure;
  if (error === undefined) return 0;
  report(error);
  await flush(io.stderr);
  return exitCodeOf(error);

  async function run(): Promise<unknown> {
    try {
      if (args.length === 0) program.help({ error: true });
      await program.parseAsync([...args], { from: "user" });
      return undefined;
    } catch (fault) {
      return fault;
    }
  }

  /** The command that was meant, as far as it can be known. */
  function asked(): string {
    const name = args.find((argument) => program.commands.some((command) => command.name() === argument));
    return name === undefined ? "prismrec" : `prismrec ${name}`;
  }

  function report(fault: unknown): void {
    if (fault instanceof OutputClosed) return;
    const flags = program.opts<{ json?: boolean; verbose?: boolean; color?: boolean }>();
    const ui = uiFor(io, flags);
    if (fault instanceof CommanderError) {
      // commander has printed it for people already.
      if (json && fault.exitCode !== 0) ui.error(errorJson(usageError(fault, asked())));
    } else if (fault instanceof Interrupted) ui.error(continueWith(args));
    else if (ui.json) ui.error(errorJson(fault));
    else ui.error(describeError(fault, ui.err, ui.verbose));
  }
}

/** A fault of the command line itself in the shape of all others; a suggestion stands in brackets on a further line. */
function usageError({ code, message }: CommanderError, command: string): PrismrecError {
  const [first = "", suggestion] = message.split("\n");
  return new PrismrecError(
    "INVALID_ARGUMENT",
    code === "commander.help" ? "there is no command to run" : first.replace(/^error: /, ""),
    { hint: suggestion?.replace(/^\((.*)\)$/, "$1") ?? `${command} --help lists what there is.` },
  );
}
