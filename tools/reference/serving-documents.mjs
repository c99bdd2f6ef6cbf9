// docs/reference/rules.md and variants.md, and the JSON schema of each, from the schemas that the documents are read with.

import { rulesSchema } from "@prismrec/core/recommend";
import { variantsSchema } from "@prismrec/service";
import { z } from "zod";
import { partTable } from "../lib/setting-tables.mjs";

/** @typedef {import("../lib/setting-tables.mjs").Property} Property */

/** @param {z.ZodType} schema @returns {Property} */
const jsonSchema = (schema) => /** @type {Property} */ (z.toJSONSchema(schema, { io: "input" }));

/** @param {Property} schema @param {string} name */
const partOf = (schema, name) => /** @type {Property} */ (schema.properties?.[name]);

/** @param {Property} part @returns {string[]} */
const table = (part) => partTable(part.items ?? part).map((line) => line.replace("| setting |", "| part |"));

/** @param {string} title @param {string[]} lines */
const page = (title, lines) =>
  [
    `# ${title}`,
    "",
    "Generated from the schema by `node tools/generate-docs.mjs`. A part of another name is refused, with a JSON pointer to it.",
    ...lines,
  ].join("\n");

export function rulesPage() {
  const schema = jsonSchema(rulesSchema);
  const sections = ["pin", "bury", "limit", "calibrate"].flatMap((name) => {
    const part = partOf(schema, name);
    const what = part.description ?? "";
    const several = part.items === undefined ? "One" : "A list";
    return [`## ${name}`, "", `${several}: ${what}.`, "", ...table(part)];
  });
  return page("Business rules", [
    "[How lists follow them](../guides/serving.md#rules); [as a JSON schema](rules.schema.json) for an editor (`$schema`).",
    "",
    ...sections,
  ]);
}

export function variantsPage() {
  const schema = jsonSchema(variantsSchema);
  return page("Variants", [
    "[How users are split](../guides/serving.md#variants); [as a JSON schema](variants.schema.json) for an editor (`$schema`).",
    "",
    ...table(schema),
    "Each of `variants`:",
    "",
    ...table(partOf(schema, "variants")),
  ]);
}

/** @param {z.ZodType} schema */
const schemaFile = (schema) => `${JSON.stringify(jsonSchema(schema), null, 2)}\n`;

export const rulesSchemaFile = () => schemaFile(rulesSchema);
export const variantsSchemaFile = () => schemaFile(variantsSchema);
