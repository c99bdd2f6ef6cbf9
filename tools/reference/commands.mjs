// docs/reference/commands.md: every command with its arguments and flags, from the definitions that parse them.

import { processIo } from "../../packages/cli/dist/io.js";
import { createProgram } from "../../packages/cli/dist/program.js";
import { cell } from "../lib/setting-tables.mjs";

/** @typedef {import("commander").Command} Command */

/** @param {readonly import("commander").Option[]} options @returns {string[]} */
function flagTable(options) {
  const rows = options
    .filter(({ hidden }) => !hidden)
    .map((option) => {
      const notes = [];
      if (option.argChoices !== undefined) notes.push(option.argChoices.join(", "));
      if (option.defaultValue !== undefined && !option.negate) notes.push(`default: ${option.defaultValue}`);
      const what = [option.description, ...(notes.length === 0 ? [] : [`(${notes.join("; ")})`])].join(" ");
      return `| \`${cell(option.flags)}\` | ${cell(what)} | ${option.envVar === undefined ? "" : `\`${option.envVar}\``} |`;
    });
  return rows.length === 0 ? [] : ["| flag | what | environment |", "|---|---|---|", ...rows, ""];
}

/** What a command's help says after its flags: examples, mostly. @param {Command} command */
function afterHelp(command) {
  /** @type {string[]} */
  const parts = [];
  const write = (/** @type {string} */ part) => void parts.push(part);
  // A command is an emitter, which its types leave out; texts added to its help hang on these events.
  const emitter = /** @type {{ emit(event: string, context: object): void }} */ (/** @type {unknown} */ (command));
  emitter.emit("afterHelp", { error: false, command, write });
  return parts.join("").trim();
}

/** @param {Command} command @returns {string[]} */
function section(command) {
  const after = afterHelp(command);
  const given = command.registeredArguments.map((argument) => `- \`${argument.name()}\`: ${argument.description}`);
  return [
    `## ${command.name()}`,
    "",
    command.description(),
    "",
    "```sh",
    `prismrec ${command.name()} ${command.usage()}`,
    "```",
    "",
    ...(given.length === 0 ? [] : [...given, ""]),
    ...flagTable(command.options),
    ...(after === "" ? [] : ["```", after, "```", ""]),
  ];
}

export function commandsPage() {
  const program = createProgram(processIo(), { json: false });
  const commands = program.commands.filter((command) => command.name() !== "help");
  return [
    "# Commands",
    "",
    "Generated from the command line's own definitions by `node tools/generate-docs.mjs`. A flag stands above the environment variable beside",
    "it, and that above the configuration file ([settings](configuration.md)).",
    "",
    "| command | does |",
    "|---|---|",
    ...commands.map((command) => `| [\`${command.name()}\`](#${command.name()}) | ${cell(command.summary())} |`),
    "",
    "## Flags of every command",
    "",
    ...flagTable(program.options),
    "```",
    afterHelp(program),
    "```",
    "",
    ...commands.flatMap(section),
  ].join("\n");
}
