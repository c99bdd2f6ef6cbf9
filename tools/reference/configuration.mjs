// docs/reference/configuration.md: every setting of a run, from the schema that validates them, with its flag.
import { settingsSchema } from "prismrec/pipeline";
import { GLOBAL_SETTINGS, SETTING_FLAGS } from "../../packages/cli/dist/options.js";
import { cell, settingsOf } from "../lib/setting-tables.mjs";

/** The long form of the flag that gives each setting, by the setting's path. @type {Map<string, string>} */
const flags = new Map(
  [...Object.values(GLOBAL_SETTINGS), ...Object.values(SETTING_FLAGS)].map(({ flags, path }) => [
    path,
    /--[a-z-]+/.exec(flags)?.[0] ?? "",
  ]),
);

export function configurationPage() {
  const rows = settingsOf(settingsSchema).map(({ path, type, default: value, what }) => {
    const flag = flags.get(path);
    return `| \`${path}\` | ${cell(type)} | ${cell(value)} | ${flag === undefined ? "" : `\`${flag}\``} | ${cell(what)} |`;
  });
  return [
    "# Configuration",
    "",
    "Generated from the schema by `node tools/generate-docs.mjs`. These are the members of `prismrec.config.json` and of what `fit` takes as",
    "`settings`; a dot is a nested object. A flag stands above the environment variable of its name (`--min-core`: `PRISMREC_MIN_CORE`), that",
    "above the file, that above the default. Unknown settings are refused, with the likely one. What a model can be told is in",
    "[training](training.md), what each stage goes by in [stages](pipeline.md), every flag in [commands](commands.md).",
    "",
    "| setting | type | default | flag | what |",
    "|---|---|---|---|---|",
    ...rows,
    "",
  ].join("\n");
}
