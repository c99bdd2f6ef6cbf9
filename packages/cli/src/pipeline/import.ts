import { stat } from "node:fs/promises";
import { fromFileError, PrismrecError, type StageSpec, sha256File, systemCode } from "@prismrec/core/base";
import { DATASET_FORMAT, type Dataset, type ImportReport, loadDataset, saveDataset } from "@prismrec/core/data";
import { IMPORT_VERSION, type ImportOptions, importDataset, spoolInputs } from "@prismrec/core/data/import";
import { count, percent } from "../terminal/format.js";
import { plain } from "../terminal/style.js";
import type { Ui } from "../terminal/ui.js";
import {
  announce,
  findStage,
  type Pipeline,
  requireManifest,
  requireStage,
  runOptions,
  runStage,
  type StageOutput,
} from "./pipeline.js";

export interface Imported extends StageOutput {
  readonly dataset: Dataset;
  readonly report: ImportReport;
}

const NAME = "import";
const VERSION = `${IMPORT_VERSION}.${DATASET_FORMAT}`;

/** Reads the files named in the settings into the run's dataset. */
export async function runImport(pipeline: Pipeline): Promise<Imported> {
  const { signal, ui } = pipeline;
  await using spooled = await spoolInputs(importOptions(pipeline), signal);
  const { options } = spooled;
  const inputs: Record<string, string> = { interactions: await sha256File(options.interactions, signal) };
  if (options.items !== undefined) inputs.items = await sha256File(options.items, signal);
  if (options.split?.file !== undefined) inputs.splitFile = await sha256File(options.split.file, signal);
  const work = async (dir: string): Promise<void> => {
    const { dataset, report } = await importDataset(options, runOptions(pipeline));
    await saveDataset(dataset, report, dir);
  };
  // Files that turn out not to be readable are none that the run was made from.
  const output = await runStage(pipeline, NAME, importSpec(options, inputs), work, { settingsAfter: true });
  const imported = await load(output);
  const { kept, split: parts, drops, timing, warnings } = imported.report;
  await announce(
    pipeline,
    NAME,
    `${count(kept.users)} users, ${count(kept.items)} items, ${count(kept.events)} events; ` +
      `${count(parts.train)} train, ${count(parts.valid)} valid, ${count(parts.test)} test (${parts.protocol})`,
    output.reused,
  );
  describeReading(ui, imported.report);
  for (const drop of drops) {
    ui.detail(`  dropped ${count(drop.count)} rows of ${drop.file}: ${drop.reason}`);
    for (const { row, text } of drop.examples) ui.detail(`    row ${count(row)}: ${plain(text)}`);
  }
  if (drops.length > 0 && !ui.verbose) {
    const reasons = drops.map((drop) => `${count(drop.count)} ${drop.reason}`).join(", ");
    ui.info(`  rows left out: ${reasons} (--verbose shows which)`);
  }
  if (parts.leftOut > 0) ui.info(`  ${count(parts.leftOut)} users are in no part of the split`);
  if (timing.withinMinuteShare > 0.5) {
    ui.info(
      `  ${percent(timing.withinMinuteShare, 0)} of events lie within a minute of the one before: their order may be ` +
        "that of data entry, not of taste",
    );
  }
  for (const warning of warnings) ui.warn(plain(warning));
  return imported;
}

/**
 * The import of a run that is gone on with: that of before where its files have gone since, or come through a pipe, and
 * can be read no second time.
 */
export async function continueImport(pipeline: Pipeline): Promise<Imported> {
  const { interactions, items, splitFile } = pipeline.settings;
  for (const path of [interactions, items, splitFile]) {
    if (path === undefined || (await isFile(path))) continue;
    const made = (await pipeline.run.manifest(NAME))?.inputs;
    const found = made && (await findStage(pipeline, NAME, importSpec(importOptions(pipeline), made)));
    if (found === undefined) break;
    pipeline.ui.warn(`${plain(path)} cannot be read again: going on with what was imported from it`);
    return load(found);
  }
  return runImport(pipeline);
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch (error) {
    if (systemCode(error) === "ENOENT") return false;
    throw fromFileError(error, path, "read");
  }
}

/** What was read of the interactions, what was guessed, and what was passed over. */
function describeReading(ui: Ui, { columns, order, passedOver, notes, minRating, events }: ImportReport): void {
  const named = { user: columns.user, item: columns.item, time: columns.timestamp };
  const taken = Object.entries({ ...named, rating: columns.rating, event: columns.event })
    .filter(([, column]) => column !== undefined)
    .map(([role, column]) => `${role} "${column}"`);
  const times = columns.timestamp === undefined ? "no times" : `${percent(order.timedShare)} of rows have a time`;
  ui.info(plain(`  columns: ${taken.join(", ")}; ${times}`));
  if (minRating !== undefined) ui.info(`  rows rated ${minRating} or more count, all alike`);
  if (events !== undefined) {
    const rows = events.map(({ name, rows }) => `${count(rows)} ${name}`);
    ui.info(plain(`  events that count, all alike: ${rows.join(", ")}`));
  }
  for (const note of notes) ui.info(plain(`  ${note}`));
  if (passedOver.length > 0) {
    const offers = passedOver.map(({ column, flag }) => `"${column}" (${flag})`);
    ui.info(plain(`  passed over: ${offers.join(", ")}`));
  }
}

/** The dataset of a run that has been imported; the files it was read from need not be there any more. */
export async function openImport(pipeline: Pipeline): Promise<Imported> {
  const { inputs } = await requireManifest(pipeline, NAME);
  return load(await requireStage(pipeline, NAME, importSpec(importOptions(pipeline), inputs)));
}

function importSpec(options: ImportOptions, inputs: Readonly<Record<string, string>>): StageSpec {
  const { interactions: _interactions, items: _items, split, ...reading } = options;
  const { file: _file, ...protocol } = split ?? {};
  return { inputs, config: { ...reading, split: protocol }, version: VERSION };
}

async function load({ dir, fingerprint }: StageOutput): Promise<Imported> {
  return { dir, fingerprint, ...(await loadDataset(dir)) };
}

function importOptions({ settings }: Pipeline): ImportOptions {
  const { interactions, items, splitFile, columns, categorySeparator, core, split, repeats, ties } = settings;
  const { minRating, events, order, dateOrder } = settings;
  if (interactions === undefined) {
    throw new PrismrecError("CONFIG_INVALID", "there are no interactions to read");
  }
  return {
    interactions,
    ...(items === undefined ? {} : { items }),
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
