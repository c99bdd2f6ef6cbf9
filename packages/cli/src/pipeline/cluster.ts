import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { isPrismrecError, PrismrecError, writeJsonAtomic } from "@prismrec/core/base";
import type { Catalog, Dataset } from "@prismrec/core/data";
import {
  type Clusterer,
  type HistoryLimits,
  isPortable,
  openClusterer,
  type Partitions,
  type PartitionTable,
  partitionDataset,
  saveClusterer,
} from "@prismrec/core/interests";
import {
  AnswerCache,
  type AskedFacets,
  type ClustererContext,
  type ClustererReport,
  clustererNamed,
  createClusterer,
  ensureModel,
  identifyModel,
  inspectGguf,
  isModelAddress,
  type LanguageModel,
  openLanguageModel,
  parseModelUri,
  probeModel,
} from "@prismrec/llm";
import { z } from "zod";
import { NO_LLM, type Settings, settingsSchema } from "../config/schema.js";
import { count, percent, shellQuote } from "../format.js";
import { answersFile } from "./answers.js";
import { importStage, withoutUndefined } from "./import.js";
import { readAsked } from "./lineage.js";
import { readDocument } from "./read-document.js";
import { readingOrderOf } from "./reading-order.js";
import { checkRecordedKinds, readRecordedKinds } from "./recorded-kinds.js";
import { isUnwritable } from "./settings-file.js";
import { defineStage, type StageContext, type StageOutput, type StagePlan } from "./stage.js";
import { readArrays, writeArrays } from "./tensors.js";

/** 2: histories are asked about by their content. */
const VERSION = 2;
const REPORT = "cluster.json";
/** Who split the histories: the little of the report that decides whether the stage is still what it would be now. */
const CHOICE = "choice.json";
const CLUSTERER = "clusterer";
const AGAIN = "Run the cluster stage again.";
/** Share of items with a title below which a language model has next to nothing to read. */
const FEW_TITLES = 0.05;
/** Smaller models are not asked to partition before a run: they cannot, and it is the slow part of the test. */
const LARGE_MODEL_BYTES = 2 ** 31;
const PARTS = ["train", "valid", "test"] as const;

const modelSchema = z.object({ path: z.string(), hash: z.string() });
const choiceSchema = z.object({
  /** undefined: nobody splits the histories, and the run has no semantic side. */
  clusterer: z.string().optional(),
  model: modelSchema.optional(),
  embedder: modelSchema.optional(),
  /** A language model that was tested and is not used. */
  refused: modelSchema.optional(),
});

const reportSchema = z.object({
  ...choiceSchema.shape,
  fingerprint: z.string().optional(),
  /** Most items of a history that the clusterer itself takes; undefined: any number. */
  maxItems: z.int().optional(),
  facets: z.array(z.string()).optional(),
  /** All that items were asked about, for an update that asks new ones the same. */
  asked: z
    .object({
      preset: z.string(),
      facets: z.array(z.object({ word: z.string(), source: z.enum(["user", "preset", "category", "model"]) })),
    })
    .optional(),
  threshold: z.union([z.number(), z.string()]).optional(),
  /** What the items were taken for, and what showed it. */
  domain: z.object({ name: z.string(), because: z.string() }).optional(),
  /** Items of which nothing was to be known, and how many of them go by their categories. */
  unread: z.object({ items: z.int(), byCategory: z.int() }).optional(),
  clusters: z.object({ mean: z.number(), singletonShare: z.number(), users: z.int() }).optional(),
  /** Why the run goes on with less than was hoped for. */
  notice: z.string().optional(),
  labels: z.object(Object.fromEntries(PARTS.map((part) => [part, z.array(z.array(z.string()))]))).optional(),
});
type ClusterReport = z.infer<typeof reportSchema>;

/** A clusterer with whatever it holds open (a language model), until it is disposed of. */
export interface OpenClusterer extends AsyncDisposable {
  readonly clusterer: Clusterer;
}

/** The finished stage and who made it; the partitions are read when they are asked for. */
export interface Clustered extends StageOutput {
  readonly choice: z.infer<typeof choiceSchema>;
  /** How much of a history is read. */
  readonly limits: Required<HistoryLimits>;
  contents(): Promise<ClusterContents>;
  /**
   * The clusterer itself, for histories that are not in the run (synthesized users, new users).
   *
   * @throws PrismrecError RUN_INVALID where there is none, or its language model is another one now
   */
  openClusterer(): Promise<OpenClusterer>;
}

export interface ClusterContents {
  readonly report: ClusterReport;
  /** undefined where the run has no semantic side. */
  readonly partitions: Partitions | undefined;
  /** What a control is held to: no more of a history than the run's own clusterer takes, so that the two compare. */
  readonly controlLimits: Required<HistoryLimits>;
}

/** Whether the items' categories decide which of them are together: they cannot judge the interests then. */
export function readsCategories({ clusterer, model }: Clustered["choice"]): boolean {
  return clusterer === "category" || (clusterer === "shuffled" && model === undefined);
}

type ModelFile = z.infer<typeof modelSchema>;

/** Who is to split the histories, and with which models. */
interface Choice {
  readonly clusterer: string | undefined;
  readonly model?: ModelFile;
  readonly embedder?: ModelFile;
  readonly refused?: ModelFile;
  readonly notice?: string;
  /** What items were asked about in the state of the run before its update. */
  readonly asked?: AskedFacets;
}

const settings = settingsSchema.pick({
  clusterer: true,
  cluster: true,
  llm: true,
  embedder: true,
  kinds: true,
  fetchModel: true,
  llmServer: true,
  llmCache: true,
  crowd: true,
  seed: true,
});
type ClusterSettings = z.infer<typeof settings>;
type Context = Pick<StageContext<ClusterSettings>, "settings" | "directory" | "signal" | "options" | "note" | "warn">;

interface ClusterPlan extends StagePlan {
  readonly choice: Choice;
}

/** Splits every history into interests, as far as it may be seen. */
export const clusterStage = defineStage<Clustered, typeof settings, ClusterPlan>({
  name: "cluster",
  summary: "splits every history into interests, with a language model or another clusterer",
  version: VERSION,
  command: "cluster",
  reads: [importStage],
  settings,
  files: [
    {
      setting: "llm",
      isNone: (llm) => llm === NO_LLM || isModelAddress(llm),
      check: async (path) => void (await inspectGguf(path)),
    },
    { setting: "embedder", isNone: isModelAddress, check: async (path) => void (await inspectGguf(path)) },
    { setting: "kinds", check: checkRecordedKinds },
  ],
  async plan(context, made) {
    if (made !== undefined) {
      const choice = await readChoice(made.dir);
      const now = await chosenNow(context, choice);
      return { ...decisive(context.settings, now, made.manifest.inputs.asked), choice };
    }
    const { dataset, report } = await context.open(importStage);
    const choice = await chooseClusterer(context, dataset.catalog);
    const reads = choice.model !== undefined || choice.embedder !== undefined;
    if (reads && report.titleShare < FEW_TITLES) {
      context.warn(
        `a language model is to read titles, but ${percent(report.titleShare)} of the items have one: give a file ` +
          "of items with --items, or its title column with --item-title",
      );
    }
    const before = await readAsked(context.directory, choice.model?.hash);
    const asked = before === undefined ? {} : { asked: before.asked };
    return {
      ...decisive(context.settings, choice, before?.fingerprint),
      choice: { ...choice, ...asked },
    };
  },
  async run(context, dir, { choice }) {
    const { dataset } = await context.open(importStage);
    const write = async (report: ClusterReport): Promise<void> => {
      const { clusterer, model, embedder, refused } = choice;
      await writeJsonAtomic(join(dir, CHOICE), { clusterer, model, embedder, refused });
      await writeJsonAtomic(join(dir, REPORT), report);
    };
    const notice = choice.notice === undefined ? {} : { notice: choice.notice };
    if (choice.clusterer === undefined) return write(notice);
    await using source = await openSource(context, dataset, choice);
    const { clusterer, facets, asked, threshold, unread } = source;
    if (unread !== undefined) {
      const of = { clusterer: clusterer.name, all: dataset.catalog.size, run: context.directory.path };
      context.warn(unreadNotice(unread, source.budgetSpent === true, of));
    }
    const partitions = await partitionDataset(dataset, clusterer, {
      ...historyLimits(context.settings),
      ...context.options,
    });
    if (isPortable(clusterer)) await saveClusterer(clusterer, join(dir, CLUSTERER));
    await savePartitions(dir, partitions);
    await write({
      clusterer: clusterer.name,
      fingerprint: clusterer.fingerprint,
      ...(clusterer.maxItems === undefined ? {} : { maxItems: clusterer.maxItems }),
      ...(choice.model === undefined ? {} : { model: choice.model }),
      ...(choice.embedder === undefined ? {} : { embedder: choice.embedder }),
      ...(source.domain === undefined ? {} : { domain: source.domain }),
      ...(facets === undefined ? {} : { facets: [...facets] }),
      ...(asked === undefined ? {} : { asked: { ...asked, facets: [...asked.facets] } }),
      ...(threshold === undefined ? {} : { threshold }),
      ...(unread === undefined ? {} : { unread }),
      clusters: describeClusters(partitions.train),
      labels: {
        train: partitions.train.labels.map((labels) => [...labels]),
        valid: partitions.valid.labels.map((labels) => [...labels]),
        test: partitions.test.labels.map((labels) => [...labels]),
      },
      ...notice,
    });
  },
  async open(context, finished, { choice }) {
    let contents: Promise<ClusterContents> | undefined;
    return {
      ...finished,
      choice,
      limits: historyLimits(context.settings),
      contents: () => {
        contents ??= readContents(finished.dir, context.settings);
        return contents;
      },
      openClusterer: async () => {
        const { dataset } = await context.open(importStage);
        return openStageClusterer(context, finished.dir, dataset, choice);
      },
    };
  },
  async describe(_context, clustered, reused) {
    const { clusterer, clusters, model, notice, unread } = (await clustered.contents()).report;
    const by = model === undefined ? clusterer : `${clusterer}, ${modelName(model.path)}`;
    return {
      summary:
        clusterer === undefined || clusters === undefined
          ? "no semantic interests"
          : `${clusters.mean.toFixed(1)} interests per user (${by ?? ""}); ` +
            `${count(100 * clusters.singletonShare)} % hold one item` +
            (unread === undefined ? "" : `; ${count(unread.items)} items not read`),
      notes: notice === undefined || !reused ? [] : [{ text: notice, when: "always" }],
    };
  },
});

/**
 * The clusterer of the settings with the models it needs; where none is named, what a short test of the best language model at
 * hand allows, else categories, else none, with a notice. A clusterer or a model that was named is never replaced.
 */
export async function chooseClusterer(context: Context, catalog: Catalog): Promise<Choice> {
  const { settings, signal } = context;
  const hasCategories = catalog.items.some(({ categories }) => categories.length > 0);
  const definition = settings.clusterer === undefined ? undefined : clustererNamed(settings.clusterer);
  const needs = definition?.needs ?? "model";
  const embedder = settings.embedder === undefined ? {} : { embedder: await modelFile(settings.embedder, signal) };
  // Vectors come from the embedding model where one is named.
  const needsModel = needs === "model" || (needs === "embedding-model" && settings.embedder === undefined);
  if (!needsModel) return { clusterer: definition?.name, ...embedder };
  const notices: string[] = [];
  const found =
    settings.llm === NO_LLM
      ? undefined
      : await ensureModel({
          ...(settings.llm === undefined ? {} : { model: settings.llm }),
          fetch: settings.fetchModel && needs === "model",
          onNotice: (line) => {
            notices.push(line);
            context.note(line);
          },
          ...context.options,
        });
  if (found !== undefined) {
    const model = await modelFile(found.path, signal);
    if (definition !== undefined) return { clusterer: definition.name, model, ...embedder };
    return await chosenByProbe(context, model, hasCategories, embedder);
  }
  if (definition !== undefined) {
    throw new PrismrecError("MODEL_UNSUPPORTED", `the clusterer ${definition.name} needs a language model`, {
      expected: "a GGUF file, or a server that speaks OpenAI's interface",
      received: notices.at(-1) ?? "none found",
      hint: "Give one with --llm, or choose --clusterer category.",
    });
  }
  const notice = hasCategories
    ? "no language model: interests come from the items' categories"
    : "no language model and no categories: the model learns without semantic interests";
  if (notices.length === 0) context.warn(`${notice} (give a GGUF file with --llm for interests read from titles)`);
  return { clusterer: hasCategories ? "category" : undefined, notice };
}

async function modelFile(path: string, signal: AbortSignal): Promise<ModelFile> {
  return { path, hash: await identifyModel(path, signal) };
}

/** The clusterer that a short test of the model allows, said in a line; categories, or nobody, where it allows none. */
async function chosenByProbe(
  context: Context,
  model: ModelFile,
  hasCategories: boolean,
  embedder: Pick<Choice, "embedder">,
): Promise<Choice> {
  const opened = await openNamed(context, model);
  let cache: AnswerCache | undefined;
  try {
    cache = await openAnswers(context, answersOf("kinds"));
    const { recommended, because } = await probeModel(opened, {
      ...(cache === undefined ? {} : { cache }),
      ...((await mayPartition(model.path)) ? {} : { histories: 0 }),
      ...context.options,
    });
    if (recommended !== "category") {
      context.note(`${modelName(model.path)} is used for ${recommended}: ${because}`);
      return { clusterer: recommended, model, ...embedder };
    }
    const instead = hasCategories
      ? "interests come from the items' categories"
      : "the model learns without semantic interests, as the items have no categories either";
    const notice = `${modelName(model.path)} is not used: ${because}; ${instead}`;
    context.warn(`${notice} (--clusterer NAME uses it all the same)`);
    return { clusterer: hasCategories ? "category" : undefined, refused: model, notice, ...embedder };
  } finally {
    await opened.close();
    await cache?.close();
  }
}

/** Whether a model may read whole histories though nobody asked for it: a large one that runs here, so that none leave the machine. */
async function mayPartition(model: string): Promise<boolean> {
  const place = parseModelUri(model);
  return place.kind === "file" && (await stat(place.path)).size >= LARGE_MODEL_BYTES;
}

function openNamed({ settings, signal }: Context, { path }: ModelFile): Promise<LanguageModel> {
  return openLanguageModel(path, { ...withoutUndefined(settings.llmServer), signal });
}

function decisive(
  settings: ClusterSettings,
  { clusterer, model, embedder, refused }: Choice,
  asked: string | undefined,
): StagePlan {
  const { budget, ...others } = settings.cluster;
  // What a budget does not do for is answered in another way: with another budget more may be read.
  const config = { ...others, ...(Object.keys(budget).length === 0 ? {} : { budget }) };
  return {
    config: { clusterer: clusterer ?? null, ...config },
    seed: settings.seed,
    version: `${VERSION}.${clusterer === undefined ? 1 : (clustererNamed(clusterer).version ?? 1)}`,
    files: readsRecorded(clusterer) && settings.kinds !== undefined ? { kinds: settings.kinds } : {},
    inputs: withoutUndefined({ model: model?.hash, embedder: embedder?.hash, refused: refused?.hash, asked }),
  };
}

function readsRecorded(clusterer: string | undefined): boolean {
  return clusterer?.includes("recorded-kinds") === true;
}

/**
 * Whom the settings name now, as far as they name anybody: what they leave open is as it was chosen. The models that were
 * read are not looked at again; others that are named are.
 */
async function chosenNow({ settings, signal }: Context, made: Choice): Promise<Choice> {
  const unlessSame = async (file: string | undefined, before: ModelFile | undefined): Promise<ModelFile | undefined> =>
    file === undefined || file === before?.path ? before : modelFile(file, signal);
  const embedder = await unlessSame(settings.embedder, made.embedder);
  const goesWithout = settings.llm === NO_LLM;
  const model = goesWithout ? undefined : await unlessSame(settings.llm, made.model ?? made.refused);
  if (settings.clusterer === undefined) {
    // A model that is named where none was to be had is one to test.
    const isRefused = made.refused !== undefined;
    const models = { embedder, model: isRefused ? undefined : model, refused: isRefused ? model : undefined };
    return { clusterer: made.clusterer, ...withoutUndefined(models) };
  }
  const { needs } = clustererNamed(settings.clusterer);
  const needsModel = needs === "model" || (needs === "embedding-model" && settings.embedder === undefined);
  const models = { embedder, model: needsModel ? model : undefined };
  return { clusterer: settings.clusterer, ...withoutUndefined(models) };
}

/** The clusterer that a stage in `dir` has saved, else the one that made it, with the language model it was made with. */
export async function openStageClusterer(
  context: Context,
  dir: string,
  dataset: Dataset,
  { clusterer, model, embedder }: Choice,
): Promise<OpenClusterer> {
  const saved = await openSavedClusterer(dir, dataset.catalog);
  if (saved !== undefined) return saved;
  if (clusterer === undefined) throw new PrismrecError("RUN_INVALID", "this run has no clusterer");
  for (const file of [model, embedder]) {
    if (file === undefined || (await identifyModel(file.path, context.signal)) === file.hash) continue;
    throw new PrismrecError("RUN_INVALID", `${file.path} is not the language model that read this run's histories`, {
      expected: `a model of the identity ${file.hash}`,
      received: "another one",
      hint: `Put it back, or cluster with the new one: prismrec cluster ${shellQuote(context.directory.path)}.`,
    });
  }
  return openSource(context, dataset, { clusterer, ...withoutUndefined({ model, embedder }) });
}

/** The clusterer that names interests with no language model; undefined where `dir` holds none. */
export async function openSavedClusterer(dir: string, catalog: Catalog): Promise<OpenClusterer | undefined> {
  const saved = join(dir, CLUSTERER);
  if (!existsSync(saved)) return undefined;
  return { clusterer: await openClusterer(saved, catalog), [Symbol.asyncDispose]: async () => undefined };
}

interface Source extends OpenClusterer {
  readonly facets?: readonly string[];
  readonly asked?: AskedFacets;
  readonly threshold?: number | "silhouette";
  readonly unread?: NonNullable<ClustererReport["unread"]>;
  readonly budgetSpent?: boolean;
  readonly domain?: NonNullable<ClustererReport["domain"]>;
}

async function openSource(context: Context, dataset: Dataset, choice: Choice): Promise<Source> {
  const opened = await openReader(context, dataset, choice);
  const { cache, clustererContext, close } = opened;
  try {
    const { clusterer, report } = await createClusterer(choice.clusterer ?? "category", clustererContext);
    await cache?.flush();
    const dropped = report.dropped ?? [];
    if (dropped.length > 0) {
      const pairs = dropped.map(({ word, collidesWith }) => `${word} (like ${collidesWith})`);
      context.note(`facets the model cannot tell apart, left out: ${pairs.join(", ")}`, "verbose");
    }
    if (report.domain !== undefined) {
      context.note(`items are read as ${report.domain.name}: ${report.domain.because} (--domain says otherwise)`);
    }
    const { asked, threshold, unread, budgetSpent, domain } = report;
    return {
      clusterer,
      ...withoutUndefined({
        facets: report.facets?.map(({ word }) => word),
        asked,
        threshold,
        unread,
        budgetSpent,
        domain,
      }),
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    if (isPrismrecError(error, "PARTITION_DEGENERATE")) context.warn(error.message);
    throw error;
  }
}

/** The language model of a choice with its kept answers, and all that a clusterer is made from. */
export async function openReader(
  context: Context,
  dataset: Dataset,
  choice: Choice,
): Promise<{
  readonly clustererContext: ClustererContext;
  readonly cache: AnswerCache | undefined;
  readonly close: () => Promise<void>;
}> {
  const { settings, signal } = context;
  const { cut, facets, maxFacets, textMode, domain } = settings.cluster;
  const budget = withoutUndefined(settings.cluster.budget);
  const held: { close(): Promise<void> }[] = [];
  const close = async (): Promise<void> => {
    for (const one of held.splice(0)) await one.close();
  };
  const openModel = async (file: ModelFile | undefined): Promise<LanguageModel | undefined> => {
    if (file === undefined) return undefined;
    const opened = await openNamed(context, file);
    held.push(opened);
    return opened;
  };
  try {
    const model = await openModel(choice.model);
    const embedder = await openModel(choice.embedder);
    const isRead = model !== undefined || embedder !== undefined;
    let cache: AnswerCache | undefined;
    if (isRead) {
      cache = await openAnswers(context, answersOf(choice.clusterer));
      if (cache !== undefined) held.push(cache);
      const { entries, damaged } = cache?.state() ?? { entries: 0, damaged: 0 };
      if (entries > 0) context.note(`${count(entries)} answers of the model are kept in ${cache?.path}`, "verbose");
      if (damaged > 0) context.warn(`${count(damaged)} damaged answers in ${cache?.path} are asked again`);
    }
    const isLimited = isRead && Object.keys(budget).length > 0;
    const recordedKinds =
      readsRecorded(choice.clusterer) && settings.kinds !== undefined
        ? await readRecordedKinds(settings.kinds, signal)
        : undefined;
    const { seed, crowd } = settings;
    return {
      cache,
      close,
      clustererContext: {
        catalog: dataset.catalog,
        ...withoutUndefined({ model, embedder, cache, recordedKinds }),
        budget,
        ...(isLimited ? { order: await readingOrderOf(dataset, crowd, seed, context.options) } : {}),
        seed,
        ...(choice.asked === undefined ? {} : { asked: choice.asked }),
        ...withoutUndefined({ cut, facets, maxFacets, textMode, domain }),
        ...context.options,
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** How much of a history is read; `taken`: at most so many items. */
export function historyLimits({ cluster }: Pick<Settings, "cluster">, taken?: number): Required<HistoryLimits> {
  const { maxClusters, maxItems } = cluster;
  return { maxClusters, maxItems: Math.min(maxItems, taken ?? maxItems) };
}

/** Answers about items are kept apart from those about histories: only the latter go when a user is forgotten. */
function answersOf(clusterer: string | undefined): string {
  return answersFile((clusterer === undefined ? undefined : clustererNamed(clusterer).asksAbout) ?? "histories");
}

/**
 * The kept answers; a process that only reads the run goes without keeping more where it may not write them, and any without
 * keeping them where nothing here can.
 */
async function openAnswers(context: Context, name: string): Promise<AnswerCache | undefined> {
  const { settings, directory } = context;
  const dir = settings.llmCache ?? (await directory.cacheDir("llm"));
  try {
    return await AnswerCache.open(dir, name);
  } catch (error) {
    if (isPrismrecError(error, "NATIVE_NOT_FOUND")) {
      context.warn(`${error.message}: a run that is stopped asks for them again`);
      return undefined;
    }
    if (directory.locked || !isUnwritable(error)) throw error;
    context.note(`answers of the model are not kept: ${error.message}`, "verbose");
    return AnswerCache.open(dir, name, { readOnly: true });
  }
}

async function readChoice(dir: string): Promise<Choice> {
  const { clusterer, ...models } = await readDocument(join(dir, CHOICE), choiceSchema, AGAIN);
  return { clusterer, ...withoutUndefined(models) };
}

async function readContents(dir: string, settings: ClusterSettings): Promise<ClusterContents> {
  const report = await readDocument(join(dir, REPORT), reportSchema, AGAIN);
  const partitions = report.clusterer === undefined ? undefined : await loadPartitions(dir, report);
  return { report, partitions, controlLimits: historyLimits(settings, report.maxItems) };
}

async function savePartitions(dir: string, partitions: Partitions): Promise<void> {
  const arrays = PARTS.flatMap((part) => [
    [`${part}/indptr`, partitions[part].indptr] as const,
    [`${part}/assign`, partitions[part].assign] as const,
  ]);
  await writeArrays(join(dir, "partitions.safetensors"), Object.fromEntries(arrays));
}

async function loadPartitions(dir: string, report: ClusterReport): Promise<Partitions> {
  const arrays = await readArrays(join(dir, "partitions.safetensors"));
  const table = (part: (typeof PARTS)[number]): PartitionTable => ({
    clusterer: report.clusterer ?? "",
    fingerprint: report.fingerprint ?? "",
    indptr: arrays.get(`${part}/indptr`, Uint32Array),
    assign: arrays.get(`${part}/assign`, Int16Array),
    labels: report.labels?.[part] ?? [],
  });
  return { train: table("train"), valid: table("valid"), test: table("test") };
}

function describeClusters(table: PartitionTable): NonNullable<ClusterReport["clusters"]> {
  let clusters = 0;
  let singletons = 0;
  const users = table.indptr.length - 1;
  for (let r = 0; r < users; r++) {
    const sizes = new Map<number, number>();
    for (const cluster of table.assign.subarray(table.indptr[r]!, table.indptr[r + 1]!)) {
      if (cluster >= 0) sizes.set(cluster, (sizes.get(cluster) ?? 0) + 1);
    }
    clusters += sizes.size;
    for (const size of sizes.values()) if (size === 1) singletons++;
  }
  return {
    mean: users === 0 ? 0 : clusters / users,
    singletonShare: clusters === 0 ? 0 : singletons / clusters,
    users,
  };
}

function unreadNotice(
  { items, byCategory }: NonNullable<ClusterReport["unread"]>,
  budgetSpent: boolean,
  of: { readonly clusterer: string; readonly all: number; readonly run: string },
): string {
  const place = of.clusterer.includes("+") ? "by what else is known of them" : "alone";
  const instead = `${count(byCategory)} of them go by their categories, ${count(items - byCategory)} stand ${place}`;
  const share = `${count(items)} of ${count(of.all)} items`;
  if (!budgetSpent) return `${share} have nothing that ${of.clusterer} could go by: ${instead}`;
  return (
    `the budget is spent: ${share} were not read; ${instead}. With a larger one the others are read: ` +
    `prismrec cluster ${shellQuote(of.run)} --llm-budget …`
  );
}

function modelName(path: string): string {
  const place = parseModelUri(path);
  if (place.kind === "server") return place.model ?? place.base;
  return path.split(/[\\/]/).at(-1) ?? path;
}
