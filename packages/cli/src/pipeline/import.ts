import { stat } from "node:fs/promises";
import { fromFileError, PrismrecError, systemCode } from "@prismrec/core/base";
import { DATASET_FORMAT, type Dataset, type ImportReport, loadDataset, saveDataset } from "@prismrec/core/data";
import { IMPORT_VERSION, type ImportOptions, importDataset, spoolInputs } from "@prismrec/core/data/import";
import type { z } from "zod";
import { settingsSchema } from "../config/schema.js";
import { count, percent } from "../format.js";
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
    const { interactions, items, users, splitFile } = context.settings;
    for (const path of [interactions, items, users, splitFile]) {
      if (path !== undefined && !(await isFile(path))) {
        return `${path} cannot be read again: going on with what was imported from it`;
      }
    }
    return undefined;
  },
  async plan(context, made) {
    const named = importOptions(context.settings);
    if (made !== undefined) return { ...decisive(named), files: filesOf(named), options: named };
    const spooled = await spoolInputs(named, context.signal);
    const { options } = spooled;
    const close = async (): Promise<void> => spooled[Symbol.asyncDispose]();
    return { ...decisive(options), files: filesOf(options), options, [Symbol.asyncDispose]: close };
  },
  async run(context, dir, { options }) {
    const { dataset, report } = await importDataset(options, context.options);
    await saveDataset(dataset, report, dir);
  },
  open: async (_context, finished) => ({ ...finished, ...(await loadDataset(finished.dir)) }),
  describe: async (_context, { report }) => describe(report),
});

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch (error) {
    if (systemCode(error) === "ENOENT") return false;
    throw fromFileError(error, path, "read");
  }
}

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

function describeReading({ columns, order, passedOver, notes, minRating, events }: ImportReport): string[] {
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
  lines.push(...notes);
  if (passedOver.length > 0) {
    const offers = passedOver.map(({ column, flag }) => `"${column}" (${flag})`);
    lines.push(`passed over: ${offers.join(", ")}`);
  }
  return lines;
}

function decisive(options: ImportOptions): { readonly config: unknown } {
  const { interactions: _interactions, items: _items, users: _users, split, ...reading } = options;
  const { file: _file, ...protocol } = split ?? {};
  return { config: { ...reading, split: protocol } };
}

function filesOf({ interactions, items, users, split }: ImportOptions): Record<string, string> {
  return { interactions, ...withoutUndefined({ items, users, splitFile: split?.file }) };
}

function importOptions(settings: ImportSettings): ImportOptions {
  const { interactions, items, users, splitFile, columns, categorySeparator, core, split, repeats, ties } = settings;
  const { minRating, events, order, dateOrder } = settings;
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
    ...withoutUndefined({ minRating, events, order, dateOrder }),
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
