import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { PrismrecError, sha256File, writeJsonAtomic } from "@prismrec/core/base";
import type { Dataset, SplitPart } from "@prismrec/core/data";
import { InterestModel, type Model, PriorModel } from "@prismrec/core/models";
import { type StoredTensor, writeSafetensors } from "@prismrec/core/nn";
import type { AskedFacets } from "@prismrec/llm";
import { type WarmStart, warmStartOf } from "@prismrec/trainer";
import { z } from "zod";
import type { Settings } from "../config/schema.js";
import { damaged, readDocument } from "./read-document.js";
import type { RunDirectory } from "./run-directory/run-directory.js";
import type { Made } from "./stage.js";
import { readTensors } from "./tensors.js";

/** What the state of a run before its last update hands on; no file of it is needed to serve. */
const PARTS = "parts.json";
const FORMER = "former.json";
const ASKED = "asked.json";
const TUNED = "tuned.json";
const PRIOR = "prior.json";
/** How to do without a file of these that is damaged. */
const REMOVE = "Remove it, and run the pipeline again: what it says is then found anew.";

const SPLIT_PARTS = ["train", "valid", "test"] as const;
const partsSchema = z.object({
  /** What the parts were drawn by. */
  drawn: z.unknown(),
  parts: z.object({ train: z.array(z.string()), valid: z.array(z.string()), test: z.array(z.string()) }),
});
const formerSchema = z.object({ dataset: z.string() });

export interface KnownParts {
  readonly parts: ReadonlyMap<string, SplitPart>;
  readonly fingerprint: string;
}

type SplitSettings = Pick<Settings, "split" | "splitFile">;

/** What decides who is drawn into which part; undefined where nobody is drawn. */
function drawOf({ split, splitFile }: SplitSettings): unknown {
  const { protocol, seed, trainShare, validShare } = split;
  return protocol === "user-disjoint" && splitFile === undefined ? { seed, trainShare, validShare } : undefined;
}

/** The parts that users have from before, where they were drawn as they would be now. Throws RUN_INVALID. */
export async function readParts(directory: RunDirectory, settings: SplitSettings): Promise<KnownParts | undefined> {
  const path = join(directory.lineage, PARTS);
  const draw = drawOf(settings);
  if (draw === undefined || !existsSync(path)) return undefined;
  const { drawn, parts } = await readDocument(path, partsSchema, REMOVE);
  if (!isDeepStrictEqual(drawn, draw)) return undefined;
  return {
    parts: new Map(SPLIT_PARTS.flatMap((part) => parts[part].map((id) => [id, part] as const))),
    fingerprint: await sha256File(path),
  };
}

/**
 * Writes down who is in which part of a dataset, and who was before, for the states of a run that come after.
 *
 * @param isOut users who are not to be written down
 */
export async function writeParts(
  directory: RunDirectory,
  settings: SplitSettings,
  { log, split }: Dataset,
  before: ReadonlyMap<string, SplitPart> | undefined,
  isOut: (userId: string) => boolean = () => false,
): Promise<void> {
  const drawn = drawOf(settings);
  if (drawn === undefined) return;
  const parts = new Map(before);
  for (const part of SPLIT_PARTS) for (const user of split[part].users) parts.set(log.userIds[user]!, part);
  const of = (part: SplitPart): string[] =>
    [...parts].flatMap(([id, own]) => (own === part && !isOut(id) ? [id] : [])).sort();
  await writeJsonAtomic(join(directory.lineage, PARTS), {
    drawn,
    parts: { train: of("train"), valid: of("valid"), test: of("test") },
  });
}

const askedSchema = z.object({
  /** Hash of the language model that was asked. */
  model: z.string(),
  preset: z.string(),
  facets: z.array(z.object({ word: z.string(), source: z.enum(["user", "preset", "category", "model"]) })),
});

/** Writes down what items were asked about, so that only new ones are read in the states of a run that come after. */
export function writeAsked(directory: RunDirectory, model: string, { preset, facets }: AskedFacets): Promise<void> {
  return writeJsonAtomic(join(directory.lineage, ASKED), {
    model,
    preset,
    facets: facets.map(({ word, source }) => ({ word, source })),
  } satisfies z.infer<typeof askedSchema>);
}

/** What items were asked about before by a language model, with a fingerprint; undefined where they were not. Throws RUN_INVALID. */
export async function readAsked(
  directory: RunDirectory,
  model: string | undefined,
): Promise<{ readonly asked: AskedFacets; readonly fingerprint: string } | undefined> {
  const path = join(directory.lineage, ASKED);
  if (model === undefined || !existsSync(path)) return undefined;
  const { model: of, ...asked } = await readDocument(path, askedSchema, REMOVE);
  return of === model ? { asked, fingerprint: await sha256File(path) } : undefined;
}

const tunedSchema = z.object({ chosen: z.array(z.string()), settings: z.record(z.string(), z.unknown()) });
export type TunedSettings = z.infer<typeof tunedSchema>;

/** Writes down which settings validation has chosen, for the states of a run that come after: they are not tried again. */
export function writeTuned(directory: RunDirectory, { chosen, settings }: TunedSettings): Promise<void> {
  return writeJsonAtomic(join(directory.lineage, TUNED), { chosen, settings } satisfies TunedSettings);
}

const keptPriorSchema = z.object({
  chosen: z.object({ prior: z.string(), weight: z.number() }).nullable(),
  /** Those that the chosen one is fitted with; empty where there is none. */
  settings: z.record(z.string(), z.unknown()),
});
export type KeptPrior = z.infer<typeof keptPriorSchema>;

/** Writes down which prior was chosen by more users than validate: they are not asked again in the states that come after. */
export function writePrior(directory: RunDirectory, kept: KeptPrior): Promise<void> {
  return writeJsonAtomic(join(directory.lineage, PRIOR), kept);
}

/** What `writePrior` wrote; undefined where it did not. Throws RUN_INVALID. */
export async function readPrior(directory: RunDirectory): Promise<KeptPrior | undefined> {
  const path = join(directory.lineage, PRIOR);
  return existsSync(path) ? readDocument(path, keptPriorSchema, REMOVE) : undefined;
}

/** Leaves the choices to validation again. */
export async function dropTuned(directory: RunDirectory): Promise<void> {
  for (const file of [TUNED, PRIOR]) await rm(join(directory.lineage, file), { force: true });
}

/** The settings that validation has chosen before; undefined where it has not. Throws RUN_INVALID. */
export async function readTuned(directory: RunDirectory): Promise<TunedSettings | undefined> {
  const path = join(directory.lineage, TUNED);
  return existsSync(path) ? readDocument(path, tunedSchema, REMOVE) : undefined;
}

const weightsFile = ({ lineage }: RunDirectory, stage: string): string => join(lineage, `${stage}.safetensors`);

/**
 * Writes down what a stage's model has learned; false for a model that is not trained by steps.
 *
 * @param directory of the state that is to go on from it
 */
export async function writeFormer(
  directory: RunDirectory,
  stage: string,
  model: Model,
  { catalog }: Dataset,
): Promise<boolean> {
  const network = model instanceof PriorModel ? model.network : model;
  if (!(network instanceof InterestModel)) return false;
  const { parameters, items, itemBias, itemIds } = warmStartOf(network, catalog);
  const ids = Buffer.from(JSON.stringify(itemIds));
  const tensors: (readonly [string, StoredTensor])[] = [
    ["ids", { shape: [ids.length], data: Uint8Array.from(ids) }],
    ["items", { shape: [items.rows, items.cols], data: items.data }],
    ...(itemBias === undefined ? [] : [["item-bias", { shape: [items.rows], data: itemBias }] as const]),
    ...[...parameters].map(([name, data]) => [`network/${name}`, { shape: [data.length], data }] as const),
  ];
  await writeSafetensors(weightsFile(directory, stage), tensors);
  return true;
}

/** Says for which data what was written down is to be gone on from: it has been looked at that nothing of theirs was learned. */
export function approveFormer(directory: RunDirectory, dataset: Dataset): Promise<void> {
  return writeJsonAtomic(join(directory.lineage, FORMER), {
    dataset: dataset.fingerprint,
  } satisfies z.infer<typeof formerSchema>);
}

/** Removes what was learned; who is in which part stays. */
export async function dropFormer(directory: RunDirectory, stages: readonly string[]): Promise<void> {
  await rm(join(directory.lineage, FORMER), { force: true });
  for (const stage of stages) await rm(weightsFile(directory, stage), { force: true });
}

/**
 * The file of what a stage is to go on from, as an outside file of its plan: none where there is none, or where it was written
 * down for other data. Of a stage that is opened, what it was made with counts.
 */
export async function formerFile(
  directory: RunDirectory,
  stage: string,
  dataset: Dataset,
  made: Made | undefined,
): Promise<{ readonly former?: string }> {
  const path = weightsFile(directory, stage);
  if (made !== undefined) return made.manifest.inputs.former === undefined ? {} : { former: path };
  const facts = join(directory.lineage, FORMER);
  if (!existsSync(path) || !existsSync(facts)) return {};
  const approved = await readDocument(facts, formerSchema, REMOVE);
  return approved.dataset === dataset.fingerprint ? { former: path } : {};
}

/** Reads what `writeFormer` wrote. Throws RUN_INVALID, DATA_FORMAT. */
export async function readFormer(path: string): Promise<WarmStart> {
  const tensors = await readTensors(path);
  const floats = (name: string): StoredTensor & { readonly data: Float32Array } => {
    const found = tensors.get(name);
    if (found?.data instanceof Float32Array) return { ...found, data: found.data };
    throw new PrismrecError("RUN_INVALID", `${path} holds no ${name}`, {
      hint: "Remove it: the model is trained anew then.",
    });
  };
  const items = floats("items");
  const [rows = 0, cols = 0] = items.shape;
  const ids = z
    .array(z.string())
    .length(rows)
    .safeParse(JSON.parse(Buffer.from(bytesOf(tensors.get("ids"))).toString()));
  if (!ids.success) throw damaged(path, ids.error, REMOVE);
  return {
    parameters: new Map(
      [...tensors.keys()].flatMap((name) =>
        name.startsWith("network/") ? [[name.slice("network/".length), floats(name).data] as const] : [],
      ),
    ),
    items: { data: items.data, rows, cols },
    ...(tensors.has("item-bias") ? { itemBias: floats("item-bias").data } : {}),
    itemIds: ids.data,
  };
}

function bytesOf(tensor: StoredTensor | undefined): Uint8Array {
  return tensor?.data instanceof Uint8Array ? tensor.data : new Uint8Array();
}
