// docs/reference/service.md: every verb of the service with what it takes and answers, from the schemas that it validates
// with, and its settings.

import { Service, serviceSettingsSchema } from "@prismrec/service";
import { eventSchema, requestSchemas } from "../../packages/service/dist/schemas.js";
import { cell, settingTable } from "../lib/setting-tables.mjs";

/** @typedef {{ description?: string, type?: string, properties?: Record<string, Schema>, anyOf?: Schema[], items?: Schema }} Schema */

/** The schema that says most of what an answer holds: an item of a list, the one that is not null. @param {Schema} schema @returns {Schema} */
function inner(schema) {
  const alternative = schema.anyOf?.find(({ type }) => type !== "null");
  return schema.items === undefined ? (alternative ?? schema) : inner(schema.items);
}

/** @param {string} prefix @param {Schema} schema @returns {string[]} */
function answerRows(prefix, schema) {
  return Object.entries(schema.properties ?? {}).flatMap(([name, property]) => {
    const list = property.items !== undefined;
    const path = `${prefix}${name}${list ? "[]" : ""}`;
    const what = property.description ?? property.items?.description ?? "";
    const row = what === "" ? [] : [`| \`${path}\` | ${cell(what)} |`];
    return [...row, ...answerRows(`${path}.`, inner(property))];
  });
}

/** What a request may hold. @param {import("zod").ZodType} schema @returns {string[]} */
const requestTable = (schema) => settingTable(schema).map((line) => line.replace("| setting |", "| in the request |"));

export async function servicePage() {
  const service = await Service.create({
    open: () => Promise.reject(new Error("nothing is served to describe the verbs")),
    version: "0",
  });
  const settings = serviceSettingsSchema.parse({});
  const schemas = requestSchemas(settings);
  /** @type {Record<string, import("zod").ZodType>} */
  const bodies = {
    "/v1/recommend": schemas.recommend,
    "/v1/recommend/batch": schemas.batch,
    "/v1/similar": schemas.similar,
    "/v1/events": schemas.events,
  };
  const { paths } = /** @type {{ paths: Record<string, Record<string, any>> }} */ (
    /** @type {unknown} */ (service.app.swagger())
  );
  await service.close();
  const verbs = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, verb]) => ({ path, name: `${method.toUpperCase()} ${path}`, verb })),
  );
  const sections = verbs.flatMap(({ path, name, verb }) => {
    const body = bodies[path];
    const answer = verb.responses?.["200"]?.content?.["application/json"]?.schema ?? {};
    const answers = path.endsWith("/batch") ? [] : answerRows("", answer);
    return [
      `## ${name}`,
      "",
      `${verb.summary}.`,
      "",
      ...(body === undefined ? [] : requestTable(body)),
      ...(path === "/v1/events" ? ["Each of `events`:", "", ...requestTable(eventSchema)] : []),
      ...(answers.length === 0 ? [] : ["| in the answer | is |", "|---|---|", ...answers, ""]),
    ];
  });
  return [
    "# The service",
    "",
    "Generated from the schemas by `node tools/generate-docs.mjs`; `GET /openapi.json` has them in full, within the limits of the service that is asked.",
    "[Serving](../guides/serving.md) shows each with `curl`. `GET /metrics` is for Prometheus, and `GET /` is the page.",
    "",
    ...sections,
    "## Settings",
    "",
    "Of `Service.create({ settings })`; [`prismrec serve`](commands.md#serve) has flags for most.",
    "",
    ...settingTable(serviceSettingsSchema),
  ].join("\n");
}
