import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type DevicePreference, PrismrecError, suggest } from "@prismrec/core/base";
import type { RawSettings } from "../config/load.js";
import type { OnEvent } from "../pipeline/events.js";
import { withoutUndefined } from "../pipeline/import.js";
import { readForgotten, TABLES, withoutForgotten } from "../pipeline/inputs.js";
import { openRun, type Run } from "../pipeline/run.js";
import { inputsOf } from "../pipeline/run-directory/run-directory.js";
import { open } from "./open.js";
import type { Recommender } from "./recommender.js";
import { type Rows, writeRows } from "./rows.js";

/** What is learned from. Columns are found by their usual names, or named by `settings.columns`. */
export interface FitData {
  /** One event a row: user, item and, where there are any, time, kind of event, rating. */
  readonly interactions: Rows;
  /** One item a row: id, title, categories, and whatever filters are to ask for. */
  readonly items?: Rows;
  /** One user a row: id, and whatever is known of users. */
  readonly users?: Rows;
}

export interface FitOptions {
  /** The model by name (`docs/reference/models.md`); default `ldmi`. */
  readonly model?: string;
  /**
   * The language model that reads titles: a GGUF file, or "none". Absent: the best that is at hand, as for the command
   * line.
   */
  readonly llm?: string;
  /** Run directory: kept, and taken up again by a second call. Absent: a temporary one, which goes with the recommender. */
  readonly dir?: string;
  /** Serve a model of every event of every user, nobody held out, once validation has said how long to train. */
  readonly trainAll?: boolean;
  /** What may be spent on choosing settings by validation; default "standard", twice the steps of one training. */
  readonly effort?: "quick" | "standard" | "thorough";
  /** Seed of everything that is drawn; default 1. */
  readonly seed?: number;
  /** Where the losses of training and exact search run: "cpu" (default), "cuda" (a GPU) or "auto". */
  readonly device?: DevicePreference;
  /** Further settings, as a configuration file has them (`docs/reference/configuration.md`). */
  readonly settings?: RawSettings;
  readonly signal?: AbortSignal;
  /** Told of everything while the stages run; nothing is ever printed. */
  readonly onEvent?: OnEvent;
}

/**
 * Imports, clusters, trains and indexes: from interactions to a recommender in one call. With `dir`, what is there and
 * unchanged is taken over, an interrupted training goes on, and `open(dir)` or the command line serve the same answers.
 *
 * @throws PrismrecError CONFIG_INVALID, INVALID_ARGUMENT, FILE_NOT_FOUND, DATA_FORMAT, DATA_EMPTY, RUN_LOCKED, IO,
 *   DISK_FULL, TRAINING_DIVERGED; an aborted signal rejects with its reason
 */
export async function fit(data: FitData, options: FitOptions = {}): Promise<Recommender> {
  const { signal, onEvent } = options;
  signal?.throwIfAborted();
  checkNames("the data of fit", data, TABLES);
  checkNames("fit", options, [
    "model",
    "llm",
    "dir",
    "trainAll",
    "effort",
    "seed",
    "device",
    "settings",
    "signal",
    "onEvent",
  ]);
  const temporary = options.dir === undefined ? await mkdtemp(join(tmpdir(), "prismrec-")) : undefined;
  const dir = resolve(options.dir ?? temporary ?? "");
  const discard = async (): Promise<void> => {
    if (temporary !== undefined) await rm(temporary, { recursive: true, force: true });
  };
  try {
    {
      const events = onEvent === undefined ? {} : { onEvent };
      const settings = settingsOf(data, options, dir);
      await using run = await openRun(dir, settings, { ...(signal === undefined ? {} : { signal }), ...events });
      await writeInputs(data, run, signal);
      await run.run({ to: "index" });
    }
    const { device } = options;
    return await open(dir, {
      ...(signal === undefined ? {} : { signal }),
      ...(device === undefined ? {} : { device }),
      onClose: discard,
    });
  } catch (error) {
    await discard();
    throw error;
  }
}

const inputFile = (dir: string, table: string): string => join(inputsOf(dir), `${table}.jsonl`);

function settingsOf(data: FitData, options: FitOptions, dir: string): RawSettings {
  const { model, llm, seed, trainAll, effort, device } = options;
  const given = Object.entries({ model, llm, seed, trainAll, effort, device }).filter(
    ([, value]) => value !== undefined,
  );
  const files = TABLES.flatMap((table) => {
    const rows = data[table];
    if (rows === undefined) return [];
    return [[table, typeof rows === "string" ? resolve(rows) : inputFile(dir, table)] as const];
  });
  return { ...options.settings, ...Object.fromEntries(given), ...Object.fromEntries(files) };
}

/** Rows become files of the run, written by nobody else meanwhile. */
async function writeInputs(data: FitData, run: Run, signal: AbortSignal | undefined): Promise<void> {
  const { directory, settings } = run;
  const forgotten = await readForgotten(directory.path);
  const named = withoutUndefined(settings.columns);
  for (const table of TABLES) {
    const rows = data[table];
    if (rows === undefined || typeof rows === "string") continue;
    await directory.lock();
    const path = inputFile(directory.path, table);
    await writeRows(path, rows, table, signal);
    if (forgotten === undefined || table === "items") continue;
    await withoutForgotten(path, path, table, { named, userColumn: named.user ?? "user" }, forgotten, signal);
  }
}

/** What TypeScript checks, for programs without it: a name that means nothing would be passed over in silence. */
function checkNames(what: string, given: object, known: readonly string[]): void {
  const unknown = Object.keys(given).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  const near = suggest(unknown, known);
  throw new PrismrecError("INVALID_ARGUMENT", `${what} has no ${unknown}`, {
    expected: known.join(", "),
    received: unknown,
    ...(near === undefined ? {} : { hint: `Did you mean ${near}?` }),
  });
}
