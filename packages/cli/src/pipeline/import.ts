import { basename } from "node:path";
import { hashJson, PrismrecError } from "@prismrec/core/base";
import { DATASET_FORMAT, type Dataset, type ImportReport, loadDataset, saveDataset } from "@prismrec/core/data";
import { IMPORT_VERSION, type ImportOptions, importDataset, pathsOf, spoolInputs } from "@prismrec/core/data/import";
import type { z } from "zod";
import { settingsSchema } from "../config/schema.js";
import { count, percent } from "../format.js";
import { dropInputs, isFile, isKept, keepInputs, readForgotten, tablesOf } from "./inputs.js";
import { readParts } from "./lineage.js";
import { numbered } from "./outside-files.js";
import { storedSettings } from "./settings-file.js";
import { type Description, defineStage, type StageOutput, type StagePlan } from "./stage.js";

export interface Imported extends StageOutput {
  readonly dataset: Dataset;
  readonly report: ImportReport;
}

const settings = settingsSchema.pick({
  interactions: true,
  items: true,
  users: true,
  splitFile: true,
  columns: true,
  categorySeparator: true,
  minRating: true,
  events: true,
  since: true,
  until: true,
  repeats: true,
  order: true,
  ties: true,
  dateOrder: true,
  core: true,
  split: true,
});
type ImportSettings = z.infer<typeof settings>;

interface ImportPlan extends StagePlan {
  /** With the files of which a copy is kept for as long as the plan is, where they come through pipes. */
  readonly options: ImportOptions;
}

/** Reads the files named in the settings into the run's dataset. */
export const importStage = defineStage<Imported, typeof settings, ImportPlan>({
  name: "import",
  summary: "reads interactions, items and users, leaves rare users and items out and splits the users",
  version: `${IMPORT_VERSION}.${DATASET_FORMAT}`,
  command: "import",
  reads: [],
  settings,
  files: [{ setting: "interactions" }, { setting: "items" }, { setting: "users" }, { setting: "splitFile" }],
  // Files that turn out not to be readable are none that the run was made from.
  keepsSettings: "end",
  async unreadable(context) {
    const { interactions, items, users } = tablesOf(context.settings);
    for (const path of [...interactions, ...items, ...users, context.settings.splitFile]) {
      if (path !== undefined && !(await isFile(path))) {
        return `${path} cannot be read again: going on with what was imported from it`;
      }
    }
    return undefined;
  },
  async plan(context, made) {
    const named = importOptions(context.settings);
    if (made !== undefined) {
      const { parts, forgotten } = made.manifest.inputs;
      const inputs = withoutUndefined({ parts, forgotten });
      return { ...decisive(named), files: filesOf(named), inputs, options: named };
    }
    const { directory, signal } = context;
    const known = await readParts(directory, context.settings);
    const forgotten = await readForgotten(directory.path);
    const spooled = await spoolInputs(named, signal);
    const options: ImportOptions = {
      ...spooled.options,
      ...(known === undefined ? {} : { split: { ...named.split, known: known.parts } }),
      ...(forgotten === undefined ? {} : { forgotten }),
    };
    const inputs = withoutUndefined({
      parts: known?.fingerprint,
      forgotten: forgotten === undefined ? undefined : hashJson(forgotten.hashes),
    });
    const close = async (): Promise<void> => spooled[Symbol.asyncDispose]();
    return { ...decisive(options), files: filesOf(options), inputs, options, [Symbol.asyncDispose]: close };
  },
  async run({ directory, settings, options: run, signal, warn }, dir, { options }) {
    const { dataset, report } = await importDataset(options, run);
    await saveDataset(dataset, report, dir);
    const columns = { named: options.columns ?? {}, userColumn: report.columns.user };
    const kept = await keepInputs(directory.path, options, columns, signal);
    // An update that was begun has taken in some of its own.
    if (directory.hasBeside) return;
    const needed = new Set([...kept, ...Object.values(tablesOf(settings)).flat()]);
    const before = Object.values(tablesOf(await storedSettings(directory.path, directory.settingsFile))).flat();
    const left = before
      .filter((path) => isKept(directory.path, path) && !needed.has(path))
      .map((path) => basename(path));
    if (left.length > 0)
      warn(`left out, as they are not named any more: ${left.join(", ")}, which the run was made from`);
    await dropInputs(directory.path, needed);
  },
  open: async (_context, finished) => ({ ...finished, ...(await loadDataset(finished.dir)) }),
  describe: async (_context, { report }) => describe(report),
});

/** What was read, what was guessed, and what was passed over or left out. */
function describe(report: ImportReport): Description {
  const { kept, split: parts, drops, timing, warnings } = report;
  const notes: { text: string; when: "always" | "verbose" | "brief" }[] = [];
  const note = (text: string, when: "always" | "verbose" | "brief" = "always"): void => void notes.push({ text, when });
  for (const line of describeReading(report)) note(line);
  for (const drop of drops) {
    note(`dropped ${count(drop.count)} rows of ${drop.file}: ${drop.reason}`, "verbose");
    for (const { row, text } of drop.examples) note(`  row ${count(row)}: ${text}`, "verbose");
  }
  if (drops.length > 0) {
    const reasons = drops.map((drop) => `${count(drop.count)} ${drop.reason}`).join(", ");
    note(`rows left out: ${reasons} (--verbose shows which)`, "brief");
  }
  if (parts.leftOut > 0) note(`${count(parts.leftOut)} users are in no part of the split`);
  if (timing.withinMinuteShare > 0.5) {
    note(
      `${percent(timing.withinMinuteShare, 0)} of events lie within a minute of the one before: their order may be ` +
        "that of data entry, not of taste",
    );
  }
  return {
    summary:
      `${count(kept.users)} users, ${count(kept.items)} items, ${count(kept.events)} events; ` +
      `${count(parts.train)} train, ${count(parts.valid)} valid, ${count(parts.test)} test (${parts.protocol})`,
    notes,
    warnings,
  };
}

function describeReading({ columns, order, passedOver, notes, minRating, events, files }: ImportReport): string[] {
  const named = { user: columns.user, item: columns.item, time: columns.timestamp };
  const taken = Object.entries({ ...named, rating: columns.rating, event: columns.event })
    .filter(([, column]) => column !== undefined)
    .map(([role, column]) => `${role} "${column}"`);
  const times = columns.timestamp === undefined ? "no times" : `${percent(order.timedShare)} of rows have a time`;
  const lines = [`columns: ${taken.join(", ")}; ${times}`];
  if (minRating !== undefined) lines.push(`rows rated ${minRating} or more count, all alike`);
  if (events !== undefined) {
    const rows = events.map(({ name, rows }) => `${count(rows)} ${name}`);
    lines.push(`events that count, all alike: ${rows.join(", ")}`);
  }
  for (const { name, rows, alreadyThere } of files ?? []) {
    const known = alreadyThere === 0 ? "" : `, ${count(alreadyThere)} of them in an earlier file already: counted once`;
    lines.push(`${name}: ${count(rows)} rows${known}`);
  }
  lines.push(...notes);
  if (passedOver.length > 0) {
    const offers = passedOver.map(({ column, flag }) => `"${column}" (${flag})`);
    lines.push(`passed over: ${offers.join(", ")}`);
  }
  return lines;
}

function decisive(options: ImportOptions): { readonly config: unknown } {
  const {
    interactions: _interactions,
    items: _items,
    users: _users,
    forgotten: _forgotten,
    split,
    ...reading
  } = options;
  const { file: _file, known: _known, ...protocol } = split ?? {};
  return { config: { ...reading, split: protocol } };
}

function filesOf({ interactions, items, users, split }: ImportOptions): Record<string, string> {
  return {
    ...numbered("interactions", pathsOf(interactions)),
    ...numbered("items", pathsOf(items)),
    ...numbered("users", pathsOf(users)),
    ...withoutUndefined({ splitFile: split?.file }),
  };
}

function importOptions(settings: ImportSettings): ImportOptions {
  const { interactions, items, users, splitFile, columns, categorySeparator, core, split, repeats, ties } = settings;
  const { minRating, events, since, until, order, dateOrder } = settings;
  if (interactions === undefined) {
    throw new PrismrecError("CONFIG_INVALID", "there are no interactions to read");
  }
  return {
    interactions,
    ...withoutUndefined({ items, users }),
    columns: withoutUndefined(columns),
    categorySeparator,
    repeats,
    ties,
    ...withoutUndefined({ minRating, events, since, until, order, dateOrder }),
    core,
    split: { ...split, ...(splitFile === undefined ? {} : { file: splitFile }) },
  };
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Drops members that are undefined, which exact optional properties do not allow. */
export function withoutUndefined<T extends object>(value: T): Defined<T> {
  const kept: Defined<T> = {};
  for (const key in value) {
    const member = value[key];
    if (member !== undefined) kept[key] = member as Exclude<T[typeof key], undefined>;
  }
  return kept;
}
