import { existsSync } from "node:fs";
import { dirname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { suggest } from "@prismrec/core/base";
import { PrismrecError } from "@prismrec/core/errors";
import { z } from "zod";
import { MODEL_NAMES, modelNamed } from "../pipeline/models.js";
import { MODEL_ADDRESS, NO_LLM, type Settings, settingsSchema } from "./schema.js";

export const CONFIG_FILE = "prismrec.config.json";

/** Settings as a file or a command line gives them: nothing checked, no defaults. */
export type RawSettings = Readonly<Record<string, unknown>>;

/** Settings that are paths: in a file they start at the file's folder. */
const PATHS = [
  "interactions",
  "items",
  "users",
  "splitFile",
  "truth",
  "out",
  "llm",
  "embedder",
  "kinds",
  "llmCache",
] as const;

/**
 * Reads a configuration file with its paths made absolute. `path` undefined looks for `prismrec.config.json` in `cwd`
 * and gives nothing where there is none. Throws FILE_NOT_FOUND, CONFIG_INVALID.
 */
export async function readConfig(
  path: string | undefined,
  cwd: string,
  onOldName: (notice: string) => void = () => undefined,
): Promise<RawSettings> {
  const file = path === undefined ? join(cwd, CONFIG_FILE) : resolve(cwd, path);
  if (path === undefined && !existsSync(file)) return {};
  const { readJson } = await import("@prismrec/core/base");
  const value = await readJson(file, "CONFIG_INVALID");
  if (!isRecord(value)) {
    throw new PrismrecError("CONFIG_INVALID", `${file} does not hold settings`, {
      expected: "one JSON object",
      received: Array.isArray(value) ? "an array" : typeof value,
    });
  }
  const { settings: current, notice } = renamed(value, dirname(file));
  if (notice !== undefined) onOldName(`${file}: ${notice}`);
  parseSettings(current, file);
  const { $schema: _, ...settings } = current;
  return absolutePaths(settings, dirname(file));
}

/**
 * The settings under their names of now: `model` named the language model's file before it named the model to train, and
 * settings of a model stood under its own name before they stood in `models`. `notice` says so to whoever wrote it. Paths
 * start at `folder`.
 */
export function renamed(
  settings: RawSettings,
  folder: string,
): { readonly settings: RawSettings; readonly notice?: string } {
  const notices: string[] = [];
  let current = settings;
  for (const name of MODEL_NAMES) {
    const { [name]: own, ...others } = current;
    if (own === undefined) continue;
    current = mergeSettings({ models: { [name]: own } }, others);
    notices.push(`settings of ${name} stand in "models" from now on: {"models": {"${name}": {…}}}`);
  }
  const { model, ...others } = current;
  if (typeof model === "string" && isModelFile(model, folder)) {
    current = { llm: model, ...others };
    notices.push(
      `"model" names the model to train from now on; ${model} is taken as the language model, whose setting is "llm"`,
    );
  }
  return { settings: current, ...(notices.length === 0 ? {} : { notice: notices.join("; ") }) };
}

/** Whether what stands in the place of a model's name is a language model's file, as it could before. */
export function isModelFile(text: string, folder: string): boolean {
  if (modelNamed(text) !== undefined) return false;
  return text === NO_LLM || /[\\/]|\.gguf$/i.test(text) || existsSync(resolve(folder, text));
}

export function absolutePaths(settings: RawSettings, folder: string): RawSettings {
  const moved: Record<string, unknown> = { ...settings };
  for (const name of PATHS) {
    if ((name === "llm" || name === "embedder") && isNoFile(name, moved[name])) continue;
    moved[name] = eachPath(moved[name], (path) => (isAbsolute(path) ? path : resolve(folder, path)));
    if (moved[name] === undefined) delete moved[name];
  }
  return moved;
}

/** Whether a model is named by an address, or the language model is none. */
function isNoFile(name: "llm" | "embedder", model: unknown): boolean {
  return (name === "llm" && model === NO_LLM) || (typeof model === "string" && MODEL_ADDRESS.test(model));
}

/** Paths that lie in `inside` as they are seen from `folder`, so that they still hold when the folder has been moved. */
export function portablePaths(settings: RawSettings, folder: string, inside: string): RawSettings {
  const moved: Record<string, unknown> = { ...settings };
  for (const name of PATHS) {
    if (moved[name] === undefined) continue;
    moved[name] = eachPath(moved[name], (path) =>
      path.startsWith(`${inside}${sep}`) ? relative(folder, path).replaceAll("\\", "/") : path,
    );
  }
  return moved;
}

/** One path or several; what is neither is for the schema to refuse. */
function eachPath(value: unknown, change: (path: string) => string): unknown {
  if (typeof value === "string") return change(value);
  if (!Array.isArray(value)) return value;
  return value.map((path: unknown) => (typeof path === "string" ? change(path) : path));
}

/** Later layers win, member by member; arrays are replaced as a whole. */
export function mergeSettings(...layers: readonly RawSettings[]): RawSettings {
  return layers.reduce((below, above) => mergeTwo(below, above), {});
}

function mergeTwo(below: RawSettings, above: RawSettings): RawSettings {
  const merged: Record<string, unknown> = { ...below };
  for (const [key, value] of Object.entries(above)) {
    if (value === undefined) continue;
    const under = merged[key];
    merged[key] = isRecord(value) && isRecord(under) ? mergeTwo(under, value) : value;
  }
  return merged;
}

/**
 * Checks settings and fills in the defaults. Throws CONFIG_INVALID that names every fault and a likely meaning.
 *
 * @param schema with the settings of further stages, where a run has any
 */
export function parseSettings(
  value: RawSettings,
  source: string,
  schema: z.ZodType<Settings> = settingsSchema,
): Settings {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw unusable(source, faultsOf(parsed.error, schema));
}

/** What is wrong with one setting, and what was probably meant. */
export interface Fault {
  readonly text: string;
  readonly meant?: string;
}

export function unusable(source: string, faults: readonly Fault[]): PrismrecError {
  return new PrismrecError("CONFIG_INVALID", `${source} holds settings that cannot be used`, {
    received: faults.map(({ text }) => text).join("\n"),
    hint:
      faults.find(({ meant }) => meant !== undefined)?.meant ??
      'prismrec.config.schema.json, which editors read through "$schema", lists every setting.',
  });
}

/** The faults that a schema found, one each; `below` is where what it reads lies in the settings. */
export function faultsOf(error: z.ZodError, schema: z.ZodType, below: readonly string[] = []): Fault[] {
  return error.issues.flatMap((issue) => {
    const path = [...below, ...issue.path.map(String)];
    if (issue.code !== "unrecognized_keys") {
      return [{ text: `${path.length === 0 ? "settings" : path.join(".")}: ${issue.message}` }];
    }
    const known = knownKeys(schema, issue.path);
    return issue.keys.map((key) => {
      const text = `unknown setting ${[...path, key].join(".")}`;
      const near = suggest(key, known);
      return near === undefined ? { text } : { text, meant: `Did you mean ${[...path, near].join(".")}?` };
    });
  });
}

function knownKeys(of: z.ZodType, path: readonly PropertyKey[]): string[] {
  let schema: unknown = z.toJSONSchema(of, { io: "input" });
  for (const key of path) schema = property(property(schema, "properties"), String(key));
  const properties = property(schema, "properties");
  return isRecord(properties) ? Object.keys(properties) : [];
}

function property(value: unknown, key: string): unknown {
  return isRecord(value) ? value[key] : undefined;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
