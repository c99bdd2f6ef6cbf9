import { isDeepStrictEqual } from "node:util";
import { type DevicePreference, suggest } from "@prismrec/core/base";
import { PrismrecError } from "@prismrec/core/errors";
import { type Command, InvalidArgumentError, Option } from "commander";
import { absolutePaths, isRecord, mergeSettings, type RawSettings, readConfig, renamed } from "./config/load.js";
import { CLUSTERER_NAMES, DOMAIN_NAMES } from "./config/schema.js";
import { DEFAULT_BASELINES, DEFAULT_MODEL, MODEL_NAMES, modelNamed, PRIOR_NAMES } from "./pipeline/models.js";

/** A flag that sets one setting; the environment variable is PRISMREC_ and the flag in capitals. */
interface SettingFlag {
  readonly flags: string;
  readonly description: string;
  /** Where the value goes in the settings, e.g. `core.minimum`. */
  readonly path: string;
  /** @param previous what the flag said before, where it is given again */
  readonly parse?: (text: string, previous: unknown) => unknown;
  readonly choices?: readonly string[];
  /** What `parse` reads, as it is typed; absent: the value itself. */
  readonly format?: (value: unknown) => string;
}

const wholeNumber = (text: string): number => {
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(Number(text)))
    throw new InvalidArgumentError("Give a whole number.");
  return Number(text);
};

const anyNumber = (text: string): number => {
  if (text.trim() === "" || !Number.isFinite(Number(text))) throw new InvalidArgumentError("Give a number.");
  return Number(text);
};

const list =
  (allowed: readonly string[]) =>
  (text: string): string[] => {
    const names = text.split(",").map((name) => name.trim());
    const wrong = names.find((name) => !allowed.includes(name));
    if (wrong !== undefined) throw new InvalidArgumentError(`Give some of ${allowed.join(", ")}, joined by commas.`);
    return names;
  };

const BUDGET_UNITS = { m: "maxSeconds", t: "maxTokens", c: "maxCalls" } as const;

/** "10m,500c" as the setting `cluster.budget`. */
function budget(text: string): Record<string, number> {
  const limits: Record<string, number> = {};
  for (const part of text.split(",")) {
    const [, number = "", unit = ""] = /^\s*(\d+(?:\.\d+)?)([mtc])\s*$/.exec(part) ?? [];
    const value = Number(number);
    const isWhole = unit === "m" || Number.isInteger(value);
    if (unit === "" || value <= 0 || !isWhole) {
      throw new InvalidArgumentError("Give minutes, tokens or calls: 10m, 20000t, 500c, or some joined by commas.");
    }
    limits[BUDGET_UNITS[unit as keyof typeof BUDGET_UNITS]] = unit === "m" ? 60 * value : value;
  }
  return limits;
}

function budgetText(value: unknown): string {
  const limits = isRecord(value) ? value : {};
  const part = (name: string, unit: string, scale = 1): string[] =>
    typeof limits[name] === "number" ? [`${limits[name] / scale}${unit}`] : [];
  return [...part("maxSeconds", "m", 60), ...part("maxTokens", "t"), ...part("maxCalls", "c")].join(",");
}

/** A file, or several where the flag is given several times. */
const oneMoreFile = (text: string, previous: unknown): unknown =>
  previous === undefined ? text : [previous, text].flat();

export const GLOBAL_SETTINGS = {
  threads: {
    flags: "--threads <n>",
    description: "threads in all (default: what the machine grants)",
    path: "threads",
    parse: wholeNumber,
  },
  seed: {
    flags: "--seed <n>",
    description: "seed of everything that is drawn (default: 1)",
    path: "seed",
    parse: wholeNumber,
  },
} as const satisfies Record<string, SettingFlag>;

export const SETTING_FLAGS = {
  interactions: {
    flags: "-i, --interactions <file>",
    description: "events: CSV, TSV, JSONL or Parquet with user, item and, where known, time (again: a later file)",
    path: "interactions",
    parse: oneMoreFile,
  },
  items: {
    flags: "--items <file>",
    description: "items: id, title, categories (again: a later file)",
    path: "items",
    parse: oneMoreFile,
  },
  users: {
    flags: "--users <file>",
    description: "users: id, and whatever is known of them (again: a later file)",
    path: "users",
    parse: oneMoreFile,
  },
  splitFile: {
    flags: "--split-file <file>",
    description: "fixes the split: columns user and part (train, valid, test)",
    path: "splitFile",
  },
  truth: {
    flags: "--truth <file>",
    description: "known interests (columns item and interest), to measure how well they are recovered",
    path: "truth",
  },
  model: {
    flags: "-m, --model <name>",
    description: `the run's own model: ${MODEL_NAMES.join(", ")} (default: ${DEFAULT_MODEL})`,
    path: "model",
  },
  effort: {
    flags: "--effort <how>",
    description: "what may be spent on choosing settings of the run's own network by validation (default: standard)",
    path: "effort",
    choices: ["quick", "standard", "thorough"],
  },
  preset: {
    flags: "--preset <name>",
    description: "paper: the method whole, nothing chosen by validation and no prior",
    path: "preset",
    choices: ["paper"],
  },
  prior: {
    flags: "--prior <name>",
    description: `linear model added to the run's own network: auto, none, ${PRIOR_NAMES.join(", ")} (default: auto)`,
    path: "prior",
    choices: ["auto", "none", ...PRIOR_NAMES],
  },
  llm: {
    flags: "--llm <model>",
    description: "language model: a GGUF file, or http://HOST/v1#MODEL of a server (none: go without)",
    path: "llm",
  },
  llmBudget: {
    flags: "--llm-budget <most>",
    description: "what the language model may take: minutes, tokens, calls, e.g. 10m, 20000t, 500c (or 10m,500c)",
    path: "cluster.budget",
    parse: (text) => budget(text),
    format: (value) => budgetText(value),
  },
  clusterer: {
    flags: "--clusterer <name>",
    description: `who splits histories into interests: ${CLUSTERER_NAMES.join(", ")}, or several as in kinds+title-words`,
    path: "clusterer",
    parse: clustererName,
  },
  embedder: {
    flags: "--embedder <file>",
    description: "embedding model, a GGUF file: for embedding, and to compare what kinds says of items",
    path: "embedder",
  },
  kinds: { flags: "--kinds <file>", description: "what recorded-kinds goes by: columns id and kind", path: "kinds" },
  domain: {
    flags: "--domain <name>",
    description: "what the items are (default: as their columns and titles say)",
    path: "cluster.domain",
    choices: DOMAIN_NAMES,
  },
  llmCache: {
    flags: "--llm-cache <dir>",
    description: "keep the language model's answers here (default: in the run directory)",
    path: "llmCache",
  },
  minCore: {
    flags: "--min-core <n>",
    description: "fewest events of a user and of an item (default: 5)",
    path: "core.minimum",
    parse: wholeNumber,
  },
  protocol: {
    flags: "--protocol <name>",
    description: "how users are split (default: user-disjoint)",
    path: "split.protocol",
    choices: ["user-disjoint", "leave-one-out", "user-ratio", "temporal"],
  },
  splitSeed: {
    flags: "--split-seed <n>",
    description: "seed of the split (default: 2026)",
    path: "split.seed",
    parse: wholeNumber,
  },
  userColumn: { flags: "--user-column <name>", description: "column of the user's id", path: "columns.user" },
  itemColumn: { flags: "--item-column <name>", description: "column of the item's id", path: "columns.item" },
  timeColumn: {
    flags: "--time-column <name>",
    description: "column of the time (two: date,time; none: no times)",
    path: "columns.timestamp",
  },
  ratingColumn: { flags: "--rating-column <name>", description: "column of ratings", path: "columns.rating" },
  minRating: {
    flags: "--min-rating <n>",
    description: "leave rows out that are rated lower",
    path: "minRating",
    parse: anyNumber,
  },
  eventColumn: { flags: "--event-column <name>", description: "column of the kind of event", path: "columns.event" },
  events: {
    flags: "--events <names>",
    description: "kinds of events that count, e.g. view,cart,buy (default: all)",
    path: "events",
    parse: (text) => text.split(",").map((name) => name.trim()),
  },
  since: {
    flags: "--since <time>",
    description: "leave events before this date or time out",
    path: "since",
  },
  until: {
    flags: "--until <time>",
    description: "leave events from this date or time on out",
    path: "until",
  },
  repeats: {
    flags: "--repeats <which>",
    description: "events of a repeated user and item that are kept (default: earliest)",
    path: "repeats",
    choices: ["earliest", "keep"],
  },
  order: {
    flags: "--order <how>",
    description: "order of a user's events without times (default: random)",
    path: "order",
    choices: ["random", "file"],
  },
  ties: {
    flags: "--ties <how>",
    description: "order of a user's events of one time (default: file)",
    path: "ties",
    choices: ["file", "random"],
  },
  dateOrder: {
    flags: "--date-order <order>",
    description: "how dates such as 01/02/2019 are read",
    path: "dateOrder",
    choices: ["day-first", "month-first"],
  },
  itemIdColumn: { flags: "--item-id <name>", description: "id column of the items file", path: "columns.itemId" },
  titleColumn: { flags: "--item-title <name>", description: "title column of the items file", path: "columns.title" },
  categoriesColumn: {
    flags: "--item-categories <name>",
    description: "categories column of the items file",
    path: "columns.categories",
  },
  categorySeparator: {
    flags: "--category-separator <text>",
    description: "between the categories of one item (default: |)",
    path: "categorySeparator",
  },
  epochs: {
    flags: "--epochs <n>",
    description: "most epochs of the run's own model (default: until validation stops improving)",
    path: "train.stopping.epochs",
    parse: wholeNumber,
  },
  trainAll: {
    flags: "--train-all",
    description: "serve a model trained on everybody, once validation has said how long",
    path: "trainAll",
  },
  device: {
    flags: "--device <name>",
    description: "where losses of training and exact search run: cpu, cuda (a GPU), auto (default: cpu)",
    path: "device",
    choices: ["cpu", "cuda", "auto"],
  },
  baselines: {
    flags: "--baselines <names>",
    description: `what the run's own model is held against (default: ${DEFAULT_BASELINES.join(",")})`,
    path: "baselines",
    parse: list(MODEL_NAMES),
  },
} as const satisfies Record<string, SettingFlag>;

export type SettingName = keyof typeof SETTING_FLAGS;

export function settingOption(flag: SettingFlag): Option {
  const option = new Option(flag.flags, flag.description);
  if (flag.choices !== undefined) option.choices(flag.choices);
  if (flag.parse !== undefined) option.argParser(flag.parse);
  return option.env(`PRISMREC_${option.name().replaceAll("-", "_").toUpperCase()}`);
}

/** Where a command that answers searches: the flag of the setting, of the process alone. */
export interface DeviceFlag {
  readonly device?: DevicePreference;
}

export const deviceOption = (): Option => settingOption(SETTING_FLAGS.device);

/** Adds the flags of these settings to a command. */
export function withSettings(command: Command, names: readonly SettingName[]): Command {
  for (const name of names) command.addOption(settingOption(SETTING_FLAGS[name]));
  return command;
}

/** `--llm`, and the flag's old name, which still takes a file and is in no help. */
export function withLanguageModel(command: Command): Command {
  withSettings(command, ["llm"]);
  return command.addOption(settingOption(SETTING_FLAGS.model).hideHelp());
}

/**
 * What flags, environment and configuration file say together, the first before the second before the third. `stored`
 * are the settings of the run that a command works on: they stand below all of these, and in the place of the
 * configuration file of the current folder, which may be about another run.
 */
export async function gatherSettings(
  command: Command,
  cwd: string,
  {
    stored,
    onNotice = () => undefined,
  }: { readonly stored?: RawSettings; readonly onNotice?: (text: string) => void } = {},
): Promise<RawSettings> {
  const { config } = command.optsWithGlobals<{ config?: string }>();
  const file = stored !== undefined && config === undefined ? {} : await readConfig(config, cwd, onNotice);
  return mergeSettings(stored ?? {}, file, absolutePaths(fromFlags(command, cwd, onNotice), cwd));
}

/** Only what flags and environment variables of this command set. Throws INVALID_ARGUMENT for a model that is none. */
export function fromFlags(command: Command, cwd: string, onNotice: (text: string) => void): RawSettings {
  const given = flagValues(command);
  const { model } = given;
  if (typeof model !== "string") return given;
  const { settings, notice } = renamed(given, cwd);
  if (notice !== undefined) {
    onNotice(`--model names the model to train from now on: ${model} is taken as --llm ${model}`);
    return settings;
  }
  const { model: _, ...others } = given;
  const hidden = command.options.some(({ long, hidden }) => long === "--model" && hidden);
  const named = command.getOptionValueSourceWithGlobals("model") === "cli";
  if (modelNamed(model) !== undefined && !hidden) return given;
  // The environment speaks to every command.
  if (modelNamed(model) !== undefined && !named) return others;
  const near = suggest(model, MODEL_NAMES);
  throw new PrismrecError("INVALID_ARGUMENT", `--model: there is no ${hidden ? "language " : ""}model ${model}`, {
    expected: hidden ? "a GGUF file, given with --llm" : `one of ${MODEL_NAMES.join(", ")}`,
    received: model,
    hint: near === undefined || hidden ? "A language model is named with --llm FILE." : `Did you mean ${near}?`,
  });
}

function flagValues(command: Command): RawSettings {
  const settings: Record<string, unknown> = {};
  const all: readonly SettingFlag[] = [...Object.values(GLOBAL_SETTINGS), ...Object.values(SETTING_FLAGS)];
  for (const flag of all) {
    const attribute = new Option(flag.flags).attributeName();
    const source = command.getOptionValueSourceWithGlobals(attribute);
    if (source !== "cli" && source !== "env") continue;
    const value: unknown = command.optsWithGlobals()[attribute];
    place(settings, flag.path.split("."), value);
  }
  return settings;
}

function place(settings: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [first, ...rest] = path;
  if (first === undefined) throw new PrismrecError("INTERNAL", "a setting without a name");
  if (rest.length === 0) {
    settings[first] = value;
    return;
  }
  const inner: Record<string, unknown> = {};
  place(inner, rest, value);
  Object.assign(settings, mergeSettings(settings, { [first]: inner }));
}

/** The flags that give these settings, each with its value if it takes one; `complete` is false where a setting has no flag. */
export function asFlags(settings: RawSettings): {
  readonly flags: readonly (readonly string[])[];
  readonly complete: boolean;
} {
  const flags: (readonly string[])[] = [];
  const expressed: Record<string, unknown> = {};
  const all: readonly SettingFlag[] = [...Object.values(SETTING_FLAGS), ...Object.values(GLOBAL_SETTINGS)];
  for (const flag of all) {
    const path = flag.path.split(".");
    const value = path.reduce<unknown>((inside, key) => (isRecord(inside) ? inside[key] : undefined), settings);
    if (value === undefined || flag.format?.(value) === "") continue;
    const option = new Option(flag.flags);
    const long = option.long ?? "";
    if (!option.required) {
      // A switch can only say yes.
      if (value !== true) continue;
      flags.push([long]);
      place(expressed, path, value);
      continue;
    }
    // Names are joined by commas; files, whose names may hold some, are given one by one.
    const values = !Array.isArray(value) || flag.parse === oneMoreFile ? [value].flat() : [value.join(",")];
    const typed = flag.format ?? String;
    for (const one of values) flags.push([long, typed(one)]);
    place(expressed, path, value);
  }
  const { out: _, ...rest } = settings;
  return { flags, complete: isDeepStrictEqual(expressed, rest) };
}

/** A clusterer's name, or several joined, of which each is one. */
function clustererName(text: string): string {
  const wrong = text
    .split("+")
    .find((part) => !CLUSTERER_NAMES.some((name) => part.replace(/^shuffled:/, "") === name));
  if (wrong === undefined) return text;
  const near = suggest(wrong, CLUSTERER_NAMES);
  throw new InvalidArgumentError(
    `Allowed choices are ${CLUSTERER_NAMES.join(", ")}, or several joined by +.${near === undefined ? "" : ` Did you mean ${near}?`}`,
  );
}

/** A whole number from 1 on, of a flag. */
export function positive(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1) throw new InvalidArgumentError("Give a whole number from 1 on.");
  return number;
}

/** A number from 0 to 1, of a flag. */
export function fraction(text: string): number {
  const number = Number(text);
  if (text.trim() === "" || !(number >= 0 && number <= 1)) throw new InvalidArgumentError("Give a number from 0 to 1.");
  return number;
}
