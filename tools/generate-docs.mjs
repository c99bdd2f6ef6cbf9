// Writes docs/reference/training.md from the schemas that the trainer validates with; --check fails where it is stale.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isNetwork, MODELS } from "@prismrec/core/models";
import { presetSettings, trainingSchema } from "@prismrec/trainer";
import { z } from "zod";
import { root } from "./lib/run.mjs";

/**
 * @typedef {{ type?: string, const?: unknown, enum?: unknown[], description?: string, default?: unknown,
 *   properties?: Record<string, Property>, anyOf?: Property[] }} Property
 */

/** @param {Property} property */
function kind(property) {
  if (property.const !== undefined) return JSON.stringify(property.const);
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
    if (property.anyOf !== undefined) return property.anyOf.flatMap((choice) => rows(path, choice));
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
const text = [
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

const file = join(root, "docs", "reference", "training.md");
if (process.argv.includes("--check")) {
  const current = await readFile(file, "utf8").catch(() => "");
  if (current !== text) {
    process.stderr.write("docs/reference/training.md is not what the schemas say: run node tools/generate-docs.mjs\n");
    process.exitCode = 1;
  }
} else {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, text);
}
