import { existsSync } from "node:fs";
import { join } from "node:path";
import {
  isPrismrecError,
  PrismrecError,
  readJson,
  type StageSpec,
  sha256File,
  writeJsonAtomic,
} from "@prismrec/core/base";
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
import { AnswerCache, CLUSTERERS, createClusterer, ensureModel, LlamaCppModel } from "@prismrec/llm";
import { z } from "zod";
import { NO_MODEL, type Settings } from "../config/schema.js";
import { count, percent, shellQuote } from "../terminal/format.js";
import { plain } from "../terminal/style.js";
import { type Imported, withoutUndefined } from "./import.js";
import {
  announce,
  isUnwritable,
  type Pipeline,
  requireManifest,
  requireStage,
  runOptions,
  runStage,
  type StageOutput,
} from "./pipeline.js";
import { readArrays, writeArrays } from "./tensors.js";

const NAME = "cluster";
/** 2: histories are asked about by their content. */
const VERSION = 2;
const REPORT = "cluster.json";
/** Who split the histories: the little of the report that decides whether the stage is still what it would be now. */
const CHOICE = "choice.json";
const CLUSTERER = "clusterer";
/** Share of items with a title below which a language model has next to nothing to read. */
const FEW_TITLES = 0.05;
const PARTS = ["train", "valid", "test"] as const;

const choiceSchema = z.object({
  /** undefined: nobody splits the histories, and the run has no semantic side. */
  clusterer: z.string().optional(),
  model: z.object({ path: z.string(), hash: z.string() }).optional(),
});

const reportSchema = z.object({
  ...choiceSchema.shape,
  fingerprint: z.string().optional(),
  /** Most items of a history that the clusterer itself takes; undefined: any number. */
  maxItems: z.int().optional(),
  facets: z.array(z.string()).optional(),
  threshold: z.union([z.number(), z.string()]).optional(),
  clusters: z.object({ mean: z.number(), singletonShare: z.number(), users: z.int() }).optional(),
  /** Why the run goes on with less than was hoped for. */
  notice: z.string().optional(),
  labels: z.object(Object.fromEntries(PARTS.map((part) => [part, z.array(z.array(z.string()))]))).optional(),
});
type ClusterReport = z.infer<typeof reportSchema>;

/** The finished stage and who made it, its output unread. */
export interface ClusterStage extends StageOutput {
  readonly choice: z.infer<typeof choiceSchema>;
}

export interface Clustered extends ClusterStage {
  readonly report: ClusterReport;
  /** undefined where the run has no semantic side. */
  readonly partitions: Partitions | undefined;
}

/** Who is to split the histories, and with which model. */
export interface Choice {
  readonly clusterer: (typeof CLUSTERERS)[number]["name"] | undefined;
  readonly model?: { readonly path: string; readonly hash: string };
  readonly notice?: string;
}

/**
 * The clusterer of the settings with the model it needs; where none is named, the one that the best language model at
 * hand allows, else categories, else none, with a notice. A clusterer or a model that was named is never replaced.
 */
export async function chooseClusterer(pipeline: Pipeline, hasCategories: boolean): Promise<Choice> {
  const { settings, signal, ui } = pipeline;
  const definition = CLUSTERERS.find(({ name }) => name === settings.clusterer);
  if (settings.clusterer !== undefined && definition === undefined) {
    throw new PrismrecError("CONFIG_INVALID", `there is no clusterer called ${settings.clusterer}`, {
      expected: CLUSTERERS.map(({ name }) => name).join(", "),
      received: settings.clusterer,
    });
  }
  const needs = definition?.needs ?? "model";
  if (needs === "model" || needs === "embedding-model") {
    const notices: string[] = [];
    const wanted = settings.model === NO_MODEL ? undefined : settings.model;
    const found =
      settings.model === NO_MODEL
        ? undefined
        : await ensureModel({
            ...(wanted === undefined ? {} : { model: wanted }),
            fetch: settings.fetchModel && needs === "model",
            onNotice: (line) => {
              notices.push(line);
              ui.info(`  ${plain(line)}`);
            },
            ...runOptions(pipeline),
          });
    if (found !== undefined) {
      const model = { path: found.path, hash: await sha256File(found.path, signal) };
      return { clusterer: definition?.name ?? "facets", model };
    }
    if (definition !== undefined) {
      throw new PrismrecError("MODEL_UNSUPPORTED", `the clusterer ${definition.name} needs a language model`, {
        expected: "a GGUF file",
        received: notices.at(-1) ?? "none found",
        hint: "Give one with --model FILE, or choose --clusterer category.",
      });
    }
    const notice = hasCategories
      ? "no language model: interests come from the items' categories"
      : "no language model and no categories: the model learns without semantic interests";
    if (notices.length === 0) ui.warn(`${notice} (give a GGUF file with --model for interests read from titles)`);
    return { clusterer: hasCategories ? "category" : undefined, notice };
  }
  return { clusterer: definition?.name };
}

/** Splits every history into interests, as far as it may be seen. */
export async function runCluster(pipeline: Pipeline, imported: Imported): Promise<Clustered> {
  const { settings, ui } = pipeline;
  const { dataset } = imported;
  const hasCategories = dataset.catalog.items.some(({ categories }) => categories.length > 0);
  const choice = await chooseClusterer(pipeline, hasCategories);
  if (choice.model !== undefined && imported.report.titleShare < FEW_TITLES) {
    ui.warn(
      `a language model is to read titles, but ${percent(imported.report.titleShare)} of the items have one: give a file ` +
        "of items with --items, or its title column with --item-title",
    );
  }
  const { clusterer: name, model: read } = choice;
  const spec = clusterSpec(pipeline, imported, name, read?.hash);
  const output = await runStage(pipeline, NAME, spec, async (dir) => {
    const write = async (report: ClusterReport): Promise<void> => {
      await writeJsonAtomic(join(dir, CHOICE), { clusterer: name, model: read });
      await writeJsonAtomic(join(dir, REPORT), report);
    };
    const notice = choice.notice === undefined ? {} : { notice: choice.notice };
    if (choice.clusterer === undefined) return write(notice);
    await using source = await openSource(pipeline, imported, choice);
    const { clusterer, facets, threshold } = source;
    const partitions = await partitionDataset(dataset, clusterer, {
      ...historyLimits(settings),
      ...runOptions(pipeline),
    });
    if (isPortable(clusterer)) await saveClusterer(clusterer, join(dir, CLUSTERER));
    await savePartitions(dir, partitions);
    await write({
      clusterer: clusterer.name,
      fingerprint: clusterer.fingerprint,
      ...(clusterer.maxItems === undefined ? {} : { maxItems: clusterer.maxItems }),
      ...(choice.model === undefined ? {} : { model: choice.model }),
      ...(facets === undefined ? {} : { facets: [...facets] }),
      ...(threshold === undefined ? {} : { threshold }),
      clusters: describeClusters(partitions.train),
      labels: {
        train: partitions.train.labels.map((labels) => [...labels]),
        valid: partitions.valid.labels.map((labels) => [...labels]),
        test: partitions.test.labels.map((labels) => [...labels]),
      },
      ...notice,
    });
  });
  const clustered = await load({ ...output, choice });
  const { clusterer, clusters, model } = clustered.report;
  const by = model === undefined ? clusterer : `${clusterer}, ${modelName(model.path)}`;
  await announce(
    pipeline,
    NAME,
    clusterer === undefined || clusters === undefined
      ? "no semantic interests"
      : `${clusters.mean.toFixed(1)} interests per user (${plain(by ?? "")}); ` +
          `${count(100 * clusters.singletonShare)} % hold one item`,
    output.reused,
  );
  if (clustered.report.notice !== undefined && output.reused) ui.info(`  ${clustered.report.notice}`);
  return clustered;
}

export async function openCluster(pipeline: Pipeline, imported: StageOutput): Promise<Clustered> {
  return load(await findCluster(pipeline, imported));
}

/** The finished stage, its output unread. */
export async function findCluster(pipeline: Pipeline, imported: StageOutput): Promise<ClusterStage> {
  await requireManifest(pipeline, NAME);
  const path = join(pipeline.run.stageDir(NAME), CHOICE);
  const parsed = choiceSchema.safeParse(await readJson(path, "RUN_INVALID"));
  if (!parsed.success) throw damaged(path, parsed.error);
  const choice = parsed.data;
  const { clusterer, hash } = await chosenNow(pipeline, choice);
  return { ...(await requireStage(pipeline, NAME, clusterSpec(pipeline, imported, clusterer, hash))), choice };
}

function clusterSpec(
  { settings }: Pipeline,
  imported: StageOutput,
  clusterer: string | undefined,
  modelHash: string | undefined,
): StageSpec {
  return {
    inputs: { import: imported.fingerprint, ...(modelHash === undefined ? {} : { model: modelHash }) },
    config: { clusterer: clusterer ?? null, ...clusterConfig(settings) },
    seed: settings.seed,
    version: `${VERSION}.${CLUSTERERS.find(({ name }) => name === clusterer)?.version ?? 1}`,
  };
}

/**
 * Whom the settings name now, as far as they name anybody: what they leave open is as it was chosen. The model that was
 * read is not looked at again; another one that is named is.
 */
async function chosenNow(
  { settings, signal }: Pipeline,
  made: ClusterStage["choice"],
): Promise<{ readonly clusterer: string | undefined; readonly hash: string | undefined }> {
  const { model: named } = settings;
  const path = named === NO_MODEL ? undefined : named;
  const clusterer = settings.clusterer ?? (path !== undefined && made.model === undefined ? "facets" : made.clusterer);
  const needs = CLUSTERERS.find(({ name }) => name === clusterer)?.needs;
  if ((needs !== "model" && needs !== "embedding-model") || named === NO_MODEL) return { clusterer, hash: undefined };
  const same = path === undefined || path === made.model?.path;
  return { clusterer, hash: same ? made.model?.hash : await sha256File(path, signal) };
}

/** The run's clusterer, for histories that are not in the run (synthesized users, new users). */
export async function openRunClusterer(
  pipeline: Pipeline,
  imported: Imported,
  clustered: ClusterStage,
): Promise<AsyncDisposable & { readonly clusterer: Clusterer }> {
  const saved = join(clustered.dir, CLUSTERER);
  if (existsSync(saved)) {
    const clusterer = await openClusterer(saved, imported.dataset.catalog);
    return { clusterer, [Symbol.asyncDispose]: async () => undefined };
  }
  const { clusterer, model } = clustered.choice;
  if (clusterer === undefined) throw new PrismrecError("RUN_INVALID", "this run has no clusterer");
  if (model !== undefined && (await sha256File(model.path, pipeline.signal)) !== model.hash) {
    throw new PrismrecError("RUN_INVALID", `${model.path} is not the language model that read this run's histories`, {
      expected: `a file of SHA-256 ${model.hash}`,
      received: "another one",
      hint: `Put it back, or cluster with the new one: prismrec cluster ${shellQuote(pipeline.run.path)}.`,
    });
  }
  return openSource(pipeline, imported, { clusterer, ...(model === undefined ? {} : { model }) });
}

interface Source extends AsyncDisposable {
  readonly clusterer: Clusterer;
  readonly facets?: readonly string[];
  readonly threshold?: number | "silhouette";
}

async function openSource(pipeline: Pipeline, imported: Imported, choice: Choice): Promise<Source> {
  const { settings, signal, ui } = pipeline;
  const { cut, facets, maxFacets, textMode, budget } = settings.cluster;
  const model =
    choice.model === undefined ? undefined : await LlamaCppModel.open({ modelPath: choice.model.path, signal });
  let cache: AnswerCache | undefined;
  const close = async (): Promise<void> => {
    await model?.close();
    await cache?.close();
  };
  try {
    if (model !== undefined) {
      cache = await openAnswers(pipeline, model.hash.slice(0, 16));
      const { entries, damaged } = cache.state();
      if (entries > 0) ui.detail(`  ${count(entries)} answers of the model are kept in ${cache.path}`);
      if (damaged > 0) ui.warn(`${count(damaged)} damaged answers in ${cache.path} are asked again`);
    }
    const { clusterer, report } = await createClusterer(choice.clusterer ?? "category", {
      catalog: imported.dataset.catalog,
      ...(model === undefined ? {} : { model }),
      ...(cache === undefined ? {} : { cache }),
      budget: withoutUndefined(budget),
      seed: settings.seed,
      ...withoutUndefined({ cut, facets, maxFacets, textMode }),
      ...runOptions(pipeline),
    });
    await cache?.flush();
    const dropped = report.dropped ?? [];
    if (dropped.length > 0) {
      const pairs = dropped.map(({ word, collidesWith }) => `${plain(word)} (like ${plain(collidesWith)})`);
      ui.detail(`  facets the model cannot tell apart, left out: ${pairs.join(", ")}`);
    }
    return {
      clusterer,
      ...(report.facets === undefined ? {} : { facets: report.facets.map(({ word }) => word) }),
      ...(report.threshold === undefined ? {} : { threshold: report.threshold }),
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    if (isPrismrecError(error, "PARTITION_DEGENERATE")) ui.warn(plain(error.message));
    throw error;
  }
}

/** How much of a history is read. A control is held to what the run's own clusterer takes, so that the two compare. */
export function historyLimits({ cluster }: Settings, clustered?: Clustered): Required<HistoryLimits> {
  const { maxClusters, maxItems } = cluster;
  return { maxClusters, maxItems: Math.min(maxItems, clustered?.report.maxItems ?? maxItems) };
}

/** The kept answers; a process that only reads the run goes without keeping more where it may not write them. */
async function openAnswers({ settings, run, ui }: Pipeline, name: string): Promise<AnswerCache> {
  const dir = settings.llmCache ?? (await run.cacheDir("llm"));
  try {
    return await AnswerCache.open(dir, name);
  } catch (error) {
    if (run.locked || !isUnwritable(error)) throw error;
    ui.detail(`  answers of the model are not kept: ${plain(error.message)}`);
    return AnswerCache.open(dir, name, { readOnly: true });
  }
}

function clusterConfig(settings: Settings): Record<string, unknown> {
  const { budget: _, ...decisive } = settings.cluster;
  return decisive;
}

function damaged(path: string, error: z.ZodError): PrismrecError {
  return new PrismrecError("RUN_INVALID", `${path} is damaged`, {
    received: z.prettifyError(error),
    hint: "Run the cluster stage again.",
  });
}

async function load({ dir, fingerprint, choice }: ClusterStage): Promise<Clustered> {
  const path = join(dir, REPORT);
  const parsed = reportSchema.safeParse(await readJson(path, "RUN_INVALID"));
  if (!parsed.success) throw damaged(path, parsed.error);
  const partitions = parsed.data.clusterer === undefined ? undefined : await loadPartitions(dir, parsed.data);
  return { dir, fingerprint, choice, report: parsed.data, partitions };
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

function modelName(path: string): string {
  return path.split(/[\\/]/).at(-1) ?? path;
}
