// Writes docs/reference from what the program itself goes by: training.md from the schemas that the trainer validates
// with, pipeline.md from the list of stages. --check fails where one is stale.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isNetwork, MODELS } from "@prismrec/core/models";
import { presetSettings, trainingSchema } from "@prismrec/trainer";
import { settingsSchema, stagesOf } from "prismrec/pipeline";
import { z } from "zod";
import { root } from "./lib/run.mjs";

/**
 * @typedef {{ type?: string, const?: unknown, enum?: unknown[], description?: string, default?: unknown,
 *   properties?: Record<string, Property>, anyOf?: Property[] }} Property
 */

/** @param {Property} property @returns {string} */
function kind(property) {
  if (property.const !== undefined) return JSON.stringify(property.const);
  if (property.anyOf !== undefined) return property.anyOf.map(kind).join(" or ");
  if (property.enum !== undefined) return property.enum.map((value) => JSON.stringify(value)).join(" or ");
  return property.type ?? "";
}

/**
 * @param {string} prefix
 * @param {Property} schema
 * @returns {string[]} one table row per setting
 */
function rows(prefix, schema) {
  return Object.entries(schema.properties ?? {}).flatMap(([name, property]) => {
    const path = prefix === "" ? name : `${prefix}.${name}`;
    if (property.properties !== undefined) return rows(path, property);
    const choices = property.anyOf ?? [];
    if (choices.some((choice) => choice.properties !== undefined))
      return choices.flatMap((choice) => rows(path, choice));
    const value = property.default === undefined ? "" : `\`${JSON.stringify(property.default)}\``;
    return [`| \`${path}\` | ${kind(property)} | ${value} | ${property.description ?? ""} |`];
  });
}

/** @param {string} title @param {z.ZodType} schema */
function table(title, schema) {
  const json = /** @type {Property} */ (z.toJSONSchema(schema, { io: "input" }));
  return [
    `## ${title}`,
    "",
    "| setting | type | default | what |",
    "|---|---|---|---|",
    ...new Set(rows("", json)),
    "",
  ];
}

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
  ...networks.flatMap((model) => table(model.name, trainingSchema(model))),
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
  const settings = /** @type {Property} */ (z.toJSONSchema(stage.settings, { io: "input" }));
  const listed = rows("", settings);
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
    ...(listed.length === 0
      ? []
      : ["| setting | type | default | what |", "|---|---|---|---|", ...new Set(listed), ""]),
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

let stale = false;
for (const [name, text] of Object.entries({ "training.md": training, "pipeline.md": pipeline })) {
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
