import { existsSync } from "node:fs";
import { basename } from "node:path";
import { isPrismrecError, PrismrecError, sha256File } from "@prismrec/core/base";
import type { Dataset, ImportReport } from "@prismrec/core/data";
import { openTable, spoolIfPipe, withDuckDb } from "@prismrec/core/data/import";
import { learnedTargets } from "@prismrec/trainer";
import type { RawSettings } from "../config/load.js";
import { count, shellQuote } from "../format.js";
import type { OnEvent, UpdatedTraining } from "./events.js";
import { importStage, withoutUndefined } from "./import.js";
import {
  dropInputs,
  isKept,
  keptCopy,
  readForgotten,
  TABLES,
  type TableColumns,
  type TableName,
  tableSettings,
  tablesOf,
  takeIn,
} from "./inputs.js";
import { approveFormer, dropFormer, readParts, writeAsked, writeFormer, writeParts, writeTuned } from "./lineage.js";
import { numbered } from "./outside-files.js";
import { handOnPrior, PRIOR_STAGE } from "./prior.js";
import { openRun, type Run, type StageResult } from "./run.js";
import { RunDirectory } from "./run-directory/run-directory.js";
import { storedSettings } from "./settings-file.js";
import type { Stage } from "./stage.js";
import { ownStage } from "./stages.js";
import type { TrainedModel } from "./train.js";

/** Files that come to those that a run was made from. */
export type UpdateFiles = Readonly<Partial<Record<TableName, readonly string[]>>>;

export interface UpdateOptions {
  readonly signal?: AbortSignal;
  readonly onEvent?: OnEvent;
}

export interface UpdateResult {
  readonly run: string;
  /** false: what was given held nothing new, and the run is as it was. */
  readonly updated: boolean;
  /** What the dataset holds more than before; fewer users or items than before is negative, as where a core moves. */
  readonly added: { readonly users: number; readonly items: number; readonly events: number };
  /** Of each file of interactions that came: its rows, those that the run had already, and events that can be used. */
  readonly files: NonNullable<ImportReport["files"]>;
  readonly training: readonly UpdatedTraining[];
  readonly stages: readonly StageResult[];
}

type Tables = Readonly<Record<TableName, readonly string[]>>;

/**
 * Brings further data into a finished run: everything is made again beside the run, models go on from what they have learned,
 * and the run becomes the new one when all of it is there. Until then, and where it fails, the run is as it was; an update
 * that was interrupted goes on when it is begun again, with the same files or with none.
 *
 * @throws PrismrecError RUN_INVALID for a folder without a finished run, or a run whose inputs are gone; INVALID_ARGUMENT where
 *   there is nothing to update with; FILE_NOT_FOUND, DATA_FORMAT and what the stages throw; an aborted signal rejects with
 *   its reason
 */
export async function updateRun(dir: string, files: UpdateFiles, options: UpdateOptions = {}): Promise<UpdateResult> {
  const update = await Update.begin(dir, options);
  try {
    return await update.run(files);
  } finally {
    await update.close();
  }
}

class Update {
  private constructor(
    readonly directory: RunDirectory,
    readonly former: Run,
    readonly settings: RawSettings,
    readonly options: UpdateOptions,
  ) {}

  static async begin(dir: string, options: UpdateOptions): Promise<Update> {
    await requireRun(dir);
    const directory = await RunDirectory.open(dir);
    try {
      const former = await openRun(directory.path, undefined, { ...options, directory, readOnly: true });
      return new Update(directory, former, await storedSettings(directory.path), options);
    } catch (error) {
      await directory.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.former.close();
    await this.directory.close();
  }

  async run(files: UpdateFiles): Promise<UpdateResult> {
    const { directory, former } = this;
    const path = directory.path;
    const { dataset, report } = await former.open("import");
    // What is to be gone on from has to be there.
    await former.open("train");
    const base = await keptInputs(former, this.settings, this.options.signal);
    const beside = directory.beside();
    const begun = existsSync(beside.settingsFile)
      ? tablesOf(await storedSettings(path, beside.settingsFile))
      : undefined;
    const pending = mapTables((table) => (begun?.[table] ?? []).filter((file) => !base[table].includes(file)));
    const goesOn = TABLES.some((table) => pending[table].length > 0);
    if (!goesOn && TABLES.every((table) => (files[table] ?? []).length === 0)) {
      throw new PrismrecError("INVALID_ARGUMENT", "there is nothing to update the run with", {
        expected: "a file of interactions, of items or of users",
        received: "none, and no update that was interrupted",
      });
    }
    if (goesOn) this.#note(`the update with ${namesOf(pending)} was interrupted: it goes on`);
    const columns = { named: withoutUndefined(former.settings.columns), userColumn: report.columns.user };
    const there = mapTables((table) => [...base[table], ...pending[table]]);
    const taken = await this.#takeIn(files, columns, there);
    const added = mapTables((table) => [...pending[table], ...taken[table]]);
    const untouched = async (): Promise<UpdateResult> => {
      await directory.discardBeside();
      await dropInputs(path, Object.values(base).flat());
      const none = { users: 0, items: 0, events: 0 };
      return { run: path, updated: false, added: none, files: [], training: [], stages: [] };
    };
    if (TABLES.every((table) => added[table].length === 0)) {
      this.#note("nothing new: the run is as it was");
      return untouched();
    }
    const tables = mapTables((table) => [...base[table], ...added[table]]);
    const known = await readParts(directory, former.settings);
    await writeParts(beside, former.settings, dataset, known?.parts);
    await handOnAsked(former, beside);
    await handOnTuned(former, beside);
    const settings = { ...this.settings, ...tableSettings(tables) };
    await using next = await openRun(path, settings, { ...this.options, directory: beside, continued: true });
    const readable = goesOn && (await beside.manifest("import")) !== undefined;
    let imported: { readonly dataset: Dataset; readonly report: ImportReport };
    try {
      await next.run({ to: "import" });
      imported = await next.open("import");
    } catch (error) {
      // What cannot be read is none of the run's files; what an update before could read goes on without it.
      if (!readable) await directory.discardBeside();
      await dropInputs(path, Object.values(readable ? there : base).flat());
      throw error;
    }
    const came = (imported.report.files ?? []).slice(base.interactions.length);
    if (added.items.length + added.users.length === 0 && came.every(({ events }) => events === 0)) {
      for (const { name, rows } of came) this.#note(`${name}: its ${count(rows)} rows bring no event that is new`);
      this.#note("nothing new: the run is as it was");
      return { ...(await untouched()), files: came };
    }
    await this.#handOn(next, dataset, imported.dataset);
    const reported = (await former.manifest("report")) !== undefined;
    const stages = await next.run({ from: "cluster", ...(reported ? {} : { to: "index" }) });
    const training = await this.#compare(next);
    await next.close();
    await former.close();
    await directory.takeOver();
    await dropInputs(path, Object.values(tables).flat());
    return {
      run: path,
      updated: true,
      added: {
        users: imported.report.kept.users - report.kept.users,
        items: imported.report.kept.items - report.kept.items,
        events: imported.report.kept.events - report.kept.events,
      },
      files: came,
      training,
      stages,
    };
  }

  /** Copies of the files that are new; one that is empty, or whose content the run has, is passed over and said so. */
  async #takeIn(files: UpdateFiles, columns: TableColumns, there: Tables): Promise<Tables> {
    const { path } = this.directory;
    const { signal } = this.options;
    const forgotten = await readForgotten(path);
    const taken: Record<TableName, string[]> = { interactions: [], items: [], users: [] };
    try {
      for (const table of TABLES) {
        for (const file of files[table] ?? []) {
          await using spooled = await spoolIfPipe(file, signal);
          if (!(await hasRows(spooled.path, signal))) {
            this.#note(`${basename(file)} holds no rows`);
            continue;
          }
          const copy = await takeIn(path, spooled.path, table, columns, forgotten, signal);
          if (there[table].includes(copy) || taken[table].includes(copy)) {
            this.#note(`${basename(file)} is a part of the run already`);
          } else taken[table].push(copy);
        }
      }
    } catch (error) {
      await dropInputs(path, Object.values(there).flat());
      throw error;
    }
    return taken;
  }

  /** Writes down what the former models have learned, for those that may go on from it. */
  async #handOn(next: Run, before: Dataset, now: Dataset): Promise<void> {
    const beside = next.directory;
    const stages = trainingStages(this.former);
    await dropFormer(
      beside,
      stages.map(({ name }) => name),
    );
    const asked = learnedTargets(before, now);
    if (asked.length > 0) {
      next.warn(
        `${count(asked.length)} users are to be asked for what was learned from them before, as where rows come late: ` +
          "models are trained anew, not from what they have learned",
      );
    }
    for (const stage of stages) {
      // The model that learns from everybody is asked nothing.
      if (asked.length > 0 && stage.name !== "train-all") continue;
      const trained = await this.former.find(stage);
      if (trained !== undefined) await writeFormer(beside, stage.name, await trained.model(), before);
    }
    await approveFormer(beside, now);
  }

  /** What each training took, and what it took before. */
  async #compare(next: Run): Promise<UpdatedTraining[]> {
    const found: UpdatedTraining[] = [];
    for (const stage of trainingStages(next)) {
      const curve = await (await next.find(stage))?.curve();
      const manifest = await next.manifest(stage);
      if (manifest === undefined) continue;
      const before = await (await this.#formerOf(stage))?.curve();
      const warm = manifest.inputs.former !== undefined;
      const training: UpdatedTraining = {
        stage: stage.name,
        warm,
        ...(curve === undefined ? {} : { steps: curve.steps, bestEpoch: curve.bestEpoch }),
        ...(before === undefined ? {} : { former: { steps: before.steps, bestEpoch: before.bestEpoch } }),
      };
      found.push(training);
      if (curve === undefined) continue;
      this.options.onEvent?.({ type: "updated-training", training });
    }
    return found;
  }

  #formerOf(stage: Stage<TrainedModel>): Promise<TrainedModel | undefined> {
    const own = trainingStages(this.former).find(({ name }) => name === stage.name);
    return own === undefined ? Promise.resolve(undefined) : this.former.find(own);
  }

  #note(text: string): void {
    this.options.onEvent?.({ type: "note", text, when: "always" });
  }
}

/** Writes down what items were asked about, where a language model was. */
export async function handOnAsked(run: Run, to: RunDirectory): Promise<void> {
  const clustered = await run.find("cluster");
  const { asked, model } = (await clustered?.contents())?.report ?? {};
  if (asked !== undefined && model !== undefined) await writeAsked(to, model.hash, asked);
}

/** What validation has chosen stays: an update trains once. */
async function handOnTuned(run: Run, to: RunDirectory): Promise<void> {
  if (run.stages.some(({ name }) => name === PRIOR_STAGE))
    await handOnPrior(run.directory, await run.find("prior"), to);
  if (!run.stages.some(({ name }) => name === "tune")) return;
  const tuned = await run.find("tune");
  if (tuned !== undefined) await writeTuned(to, tuned.result);
}

/** Throws RUN_INVALID where there is no run to work on; nothing is written. */
export async function requireRun(dir: string): Promise<RawSettings> {
  const settings = await storedSettings(dir);
  if (tablesOf(settings).interactions.length > 0) return settings;
  throw new PrismrecError("RUN_INVALID", `there is no run in ${dir}`, {
    expected: "a run directory",
    received: dir,
    hint: `Begin one: prismrec run --interactions FILE --items FILE --out ${shellQuote(dir)}`,
  });
}

/**
 * The files that a run was made from, as it keeps them; one that it does not keep is taken in where it is still what was
 * imported.
 *
 * @throws PrismrecError RUN_INVALID where one is neither kept nor where it was
 */
export async function keptInputs(run: Run, settings: RawSettings, signal?: AbortSignal): Promise<Tables> {
  const { path } = run.directory;
  const made = await run.manifest(importStage);
  const columns = await columnsOf(run);
  const forgotten = await readForgotten(path);
  const tables = tablesOf(settings);
  const kept: Record<TableName, string[]> = { interactions: [], items: [], users: [] };
  for (const table of TABLES) {
    for (const [name, file] of Object.entries(numbered(table, tables[table]))) {
      const sha256 = made?.inputs[name];
      const copy = isKept(path, file) ? file : sha256 === undefined ? undefined : await keptCopy(path, sha256);
      if (copy !== undefined && existsSync(copy)) {
        kept[table].push(copy);
        continue;
      }
      if (isKept(path, file) || !existsSync(file)) throw lost(path, file);
      if (sha256 !== undefined && (await sha256File(file, signal)) !== sha256) throw lost(path, file);
      kept[table].push(await takeIn(path, file, table, columns, forgotten, signal));
    }
  }
  return kept;
}

/** How the columns of a run's tables are found. */
export async function columnsOf(run: Run): Promise<TableColumns> {
  const imported = await run.find("import");
  return { named: withoutUndefined(run.settings.columns), userColumn: imported?.report.columns.user ?? "user" };
}

function lost(dir: string, file: string): PrismrecError {
  return new PrismrecError("RUN_INVALID", `${basename(file)}, which this run was made from, is not there any more`, {
    expected: "a copy among the run's inputs, or the very file where it was",
    received: file,
    hint: `Put it back, or make the run anew: prismrec run --interactions FILE --out ${shellQuote(dir)}`,
  });
}

/** Whether a table file holds any row. Throws what opening it throws, but for a file that is empty. */
async function hasRows(path: string, signal: AbortSignal | undefined): Promise<boolean> {
  try {
    return await withDuckDb(async (connection) => {
      const table = await openTable(connection, path);
      for await (const [cells = []] of table.read(table.columns, signal, 0)) if (cells.length > 0) return true;
      return table.malformed().count > 0;
    });
  } catch (error) {
    if (isPrismrecError(error, "DATA_EMPTY")) return false;
    throw error;
  }
}

/** The stages of a run that train or fit a model. */
export function trainingStages(run: Run): Stage<TrainedModel>[] {
  const own = ownStage(run.settings).name;
  // Every one of them was made by `trainStage` or `trainAllStage`; a prior is fitted anew for the network that it is added to.
  return run.stages.filter(
    ({ name, command }) => name === own || (command === "train" && name !== PRIOR_STAGE),
  ) as Stage<TrainedModel>[];
}

function mapTables(of: (table: TableName) => readonly string[]): Tables {
  return { interactions: of("interactions"), items: of("items"), users: of("users") };
}

function namesOf(tables: Tables): string {
  return Object.values(tables)
    .flat()
    .map((file) => basename(file))
    .join(", ");
}
