// Writes docs/reference from what the program itself goes by: training.md from the schemas that the trainer validates
// with, models.md from the registry, pipeline.md from the list of stages, configuration.md from the schema of a run's
// settings, commands.md from the definitions that parse the command line, metrics.md from the ranking metrics, service.md
// from the schemas of its verbs, rules.md and variants.md from those of the documents that it reads. --check fails where one is stale.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isNetwork, MODELS } from "@prismrec/core/models";
import { presetSettings, trainingSchema } from "@prismrec/trainer";
import { settingsSchema, stagesOf } from "prismrec/pipeline";
import { root } from "./lib/run.mjs";
import { settingTable } from "./lib/setting-tables.mjs";
import { commandsPage } from "./reference/commands.mjs";
import { configurationPage } from "./reference/configuration.mjs";
import { metricsPage } from "./reference/metrics.mjs";
import { modelsPage } from "./reference/models.mjs";
import { servicePage } from "./reference/service.mjs";
import { rulesPage, rulesSchemaFile, variantsPage, variantsSchemaFile } from "./reference/serving-documents.mjs";

const networks = MODELS.filter(isNetwork);
const presets = networks.flatMap((model) =>
  model.recipe.presets.map((preset) => {
    const settings = JSON.stringify(presetSettings(model, preset));
    return `| ${model.name} | \`${preset.name}\` | \`${settings}\` |`;
  }),
);
const training = [
  "# Training settings",
  "",
  "Generated from the schemas by `node tools/generate-docs.mjs`. Unknown settings are refused. `ldmi` takes the preset `recipe-v` where the",
  "median training history has ten events or more, else `sparse-short`; your settings go on top.",
  "",
  ...networks.flatMap((model) => [`## ${model.name}`, "", ...settingTable(trainingSchema(model))]),
  "## Presets",
  "",
  "| model | name | settings |",
  "|---|---|---|",
  ...presets,
  "",
].join("\n");

const stages = stagesOf(settingsSchema.parse({}));

/** @param {(typeof stages)[number]} stage */
function stageSection(stage) {
  const files = stage.files ?? [];
  return [
    `## ${stage.name}`,
    "",
    `It ${stage.summary}.`,
    "",
    `- Reads: ${stage.reads.length === 0 ? "no other stage" : stage.reads.map(({ name }) => `\`${name}\``).join(", ")}`,
    ...(files.length === 0 ? [] : [`- Files of yours: ${files.map(({ setting }) => `\`${setting}\``).join(", ")}`]),
    ...(stage.command === undefined ? [] : [`- Command: \`prismrec ${stage.command}\``]),
    `- Version: ${stage.version}`,
    "",
    ...settingTable(stage.settings),
  ];
}

const pipeline = [
  "# Stages of a run",
  "",
  "Generated from the list of stages by `node tools/generate-docs.mjs`, for the default model and baselines; every further model has a stage",
  "`train-NAME`. A stage is made again when its version, its settings, the output of a stage that it reads or the content of a file of yours has",
  "changed, and only then. Settings are those of `prismrec.config.json`.",
  "",
  `Order: ${stages.map(({ name }) => name).join(" → ")}`,
  "",
  ...stages.flatMap(stageSection),
].join("\n");

const pages = {
  "models.md": modelsPage(),
  "training.md": training,
  "pipeline.md": pipeline,
  "configuration.md": configurationPage(),
  "commands.md": commandsPage(),
  "metrics.md": metricsPage(),
  "service.md": await servicePage(),
  "rules.md": rulesPage(),
  "rules.schema.json": rulesSchemaFile(),
  "variants.md": variantsPage(),
  "variants.schema.json": variantsSchemaFile(),
};

let stale = false;
for (const [name, text] of Object.entries(pages)) {
  const file = join(root, "docs", "reference", name);
  if (process.argv.includes("--check")) {
    if ((await readFile(file, "utf8").catch(() => "")) === text) continue;
    process.stderr.write(`docs/reference/${name} is not what the program says: run node tools/generate-docs.mjs\n`);
    stale = true;
  } else {
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
  }
}
if (stale) process.exitCode = 1;
