import { mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { readJson, syncFolder, writeJsonAtomic } from "../../base/atomic-file.js";
import { isPrismrecError, PrismrecError } from "../../base/errors.js";
import { fromFileError } from "../../base/file-errors.js";
import { hashJson } from "../../base/hash.js";
import type { Catalog } from "../../data/types.js";
import type { StoredTensor } from "./safetensors.js";
import { readSafetensors, type TensorPlace, writeSafetensors } from "./safetensors-file.js";

const TENSORS = "tensors.safetensors";
const MANIFEST = "manifest.json";

const manifestSchema = z.object({
  format: z.literal("prismrec-checkpoint"),
  version: z.literal(1),
  kind: z.string(),
  tensors: z.object({ bytes: z.int(), sha256: z.string() }),
  content: z.record(z.string(), z.unknown()),
});

/** Named tensors and a JSON manifest, stored as one folder. */
export interface Checkpoint {
  /** What the folder holds, e.g. `training` or `model`. */
  readonly kind: string;
  readonly content: Readonly<Record<string, unknown>>;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

/**
 * Writes a checkpoint folder whole or not at all: into a temporary neighbour, then renamed; a folder of that name is
 * replaced.
 *
 * @throws PrismrecError DISK_FULL, IO
 */
export async function writeCheckpoint(dir: string, checkpoint: Checkpoint): Promise<void> {
  const temporary = join(dirname(dir), `.${basename(dir)}.${process.pid}.tmp`);
  const former = `${temporary}.old`;
  try {
    await rm(temporary, { recursive: true, force: true });
    await mkdir(temporary, { recursive: true });
    const tensors = await writeSafetensors(join(temporary, TENSORS), checkpoint.tensors);
    await writeJsonAtomic(join(temporary, MANIFEST), {
      format: "prismrec-checkpoint",
      version: 1,
      kind: checkpoint.kind,
      tensors: { ...tensors },
      content: checkpoint.content,
    });
    await rm(former, { recursive: true, force: true });
    if (await exists(dir)) await rename(dir, former);
    await rename(temporary, dir);
    await rm(former, { recursive: true, force: true });
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw isPrismrecError(error) ? error : fromFileError(error, dir, "write");
  }
  await syncFolder(dirname(dir));
}

/**
 * Reads a checkpoint folder and verifies it against its manifest.
 *
 * @param place as of `readSafetensors`: after a failure the content of these arrays is undefined
 * @throws PrismrecError FILE_NOT_FOUND; DATA_FORMAT for a manifest or tensor file that is cut short or changed;
 *   CHECKPOINT_INCOMPATIBLE for another kind
 */
export async function readCheckpoint(dir: string, kind: string, place?: TensorPlace): Promise<Checkpoint> {
  const path = join(dir, MANIFEST);
  const parsed = manifestSchema.safeParse(await readJson(path, "DATA_FORMAT"));
  if (!parsed.success) {
    throw new PrismrecError("DATA_FORMAT", `${path} is no checkpoint manifest`, {
      received: z.prettifyError(parsed.error),
      hint: "Name the folder of a checkpoint or of a trained model.",
    });
  }
  const manifest = parsed.data;
  if (manifest.kind !== kind) {
    throw new PrismrecError("CHECKPOINT_INCOMPATIBLE", `${dir} holds something else`, {
      expected: kind,
      received: manifest.kind,
    });
  }
  const file = join(dir, TENSORS);
  const { bytes, sha256 } = manifest.tensors;
  const changed = (received: string): PrismrecError =>
    new PrismrecError("DATA_FORMAT", `${file} is not what its manifest describes`, {
      expected: `${bytes} bytes, sha256 ${sha256}`,
      received,
      hint: "The file was cut short or changed; remove this folder and go on from an earlier one, or train again.",
    });
  const size = await fileSize(file);
  if (size !== bytes) throw changed(`${size} bytes`);
  const read = await readSafetensors(file, place);
  if (read.sha256 !== sha256) throw changed(`${read.bytes} bytes, sha256 ${read.sha256}`);
  return { kind, content: manifest.content, tensors: read.tensors };
}

/** Checkpoint folders `<dir>/<number>`, newest last. */
export async function listCheckpoints(dir: string): Promise<{ readonly step: number; readonly path: string }[]> {
  let names: string[];
  try {
    names = await readdir(dir);
  } catch (error) {
    const typed = fromFileError(error, dir, "read");
    if (typed.code === "FILE_NOT_FOUND") return [];
    throw typed;
  }
  return names
    .filter((name) => /^\d+$/.test(name))
    .map((name) => ({ step: Number(name), path: join(dir, name) }))
    .sort((a, b) => a.step - b.step);
}

/** Identity of a catalog: its external ids in dense order. Two catalogs that differ here give ids another meaning. */
export function catalogFingerprint(catalog: Catalog): string {
  return hashJson(catalog.items.map((item) => item.id));
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    const typed = fromFileError(error, path, "read");
    if (typed.code === "FILE_NOT_FOUND") return false;
    throw typed;
  }
}

async function fileSize(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    throw fromFileError(error, path, "read");
  }
}
