// Tables of settings from the schemas that validate them.
import { z } from "zod";

/**
 * @typedef {{ type?: string, const?: unknown, enum?: unknown[], description?: string, default?: unknown,
 *   properties?: Record<string, Property>, anyOf?: Property[], items?: Property }} Property
 * @typedef {{ path: string, type: string, default: string, what: string }} Setting
 */

/** Text as a cell of a table. @param {string} text */
export const cell = (text) => text.replaceAll("|", "\\|");

/** @param {Property} property @returns {string} */
function kind(property) {
  if (property.const !== undefined) return JSON.stringify(property.const);
  if (property.anyOf !== undefined) return [...new Set(property.anyOf.map(kind))].join(" or ");
  if (property.enum !== undefined) return property.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (property.type === "array" && property.items !== undefined) return `list of ${kind(property.items)}`;
  return property.type ?? "";
}

/**
 * @param {string} prefix
 * @param {Property} schema
 * @returns {Setting[]}
 */
function under(prefix, schema) {
  return Object.entries(schema.properties ?? {}).flatMap(([name, property]) => {
    const path = prefix === "" ? name : `${prefix}.${name}`;
    if (property.properties !== undefined) return under(path, property);
    const choices = property.anyOf ?? [];
    if (choices.some((choice) => choice.properties !== undefined)) {
      return choices.flatMap((choice) => under(path, choice));
    }
    const value = property.default === undefined ? "" : `\`${JSON.stringify(property.default)}\``;
    return [{ path, type: kind(property), default: value, what: property.description ?? "" }];
  });
}

/** Every setting of a schema, nested ones by their path. @param {z.ZodType} schema @returns {Setting[]} */
export function settingsOf(schema) {
  return under("", /** @type {Property} */ (z.toJSONSchema(schema, { io: "input" })));
}

/** The table of a schema's settings; nothing where it has none. @param {z.ZodType} schema @returns {string[]} */
export const settingTable = (schema) => tableOf(settingsOf(schema));

/** The same of a part of a JSON schema. @param {Property} part @returns {string[]} */
export const partTable = (part) => tableOf(under("", part));

/** @param {Setting[]} settings @returns {string[]} */
function tableOf(settings) {
  const rows = settings.map(
    (setting) => `| \`${setting.path}\` | ${cell(setting.type)} | ${cell(setting.default)} | ${cell(setting.what)} |`,
  );
  if (rows.length === 0) return [];
  return ["| setting | type | default | what |", "|---|---|---|---|", ...new Set(rows), ""];
}
