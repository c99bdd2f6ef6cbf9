import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { readJson, writeJsonAtomic } from "../base/atomic-file.js";
import { PrismrecError } from "../base/errors.js";
import { fromFileError } from "../base/file-errors.js";
import { hashJson, sha256 } from "../base/hash.js";
import type { RunOptions } from "../base/run-options.js";
import { ExactIndex } from "../ops/similarity-search/exact-index.js";
import type { MultiInterestModel } from "./model.js";

const VECTORS = "vectors.index";
const MANIFEST = "index.json";

const manifestSchema = z.object({
  format: z.literal("prismrec-index"),
  version: z.literal(1),
  items: z.int(),
  dim: z.int(),
  bytes: z.int(),
  /** Of the vectors and the bias that the index was built from. */
  fingerprint: z.string(),
});

type Indexed = Pick<MultiInterestModel, "itemVectors" | "itemBias">;

/** Writes a model's index and whose it is: the description last, so that a folder without it holds no index. */
export async function saveModelIndex(dir: string, index: ExactIndex, model: Indexed): Promise<void> {
  const path = join(dir, VECTORS);
  try {
    await mkdir(dir, { recursive: true });
  } catch (error) {
    throw fromFileError(error, dir, "write");
  }
  await index.save(path);
  await writeJsonAtomic(join(dir, MANIFEST), {
    format: "prismrec-index",
    version: 1,
    items: index.size,
    dim: index.dim,
    bytes: await fileSize(path),
    fingerprint: fingerprintOf(model),
  } satisfies z.infer<typeof manifestSchema>);
}

/** Opens what `saveModelIndex` wrote, or refuses it where it was built from other vectors. */
export async function openModelIndex(dir: string, model: Indexed, run: RunOptions): Promise<ExactIndex> {
  const path = join(dir, MANIFEST);
  const parsed = manifestSchema.safeParse(await readJson(path, "DATA_FORMAT"));
  if (!parsed.success) {
    throw new PrismrecError("DATA_FORMAT", `${path} does not describe an index`, {
      received: z.prettifyError(parsed.error),
      hint: "Save the index again.",
    });
  }
  const { fingerprint, bytes, items, dim } = parsed.data;
  const own = fingerprintOf(model);
  if (fingerprint !== own) {
    throw new PrismrecError("CHECKPOINT_INCOMPATIBLE", `the index in ${dir} belongs to another model`, {
      expected: `the index of item vectors ${own}`,
      received: `that of ${fingerprint}`,
      hint: "Save the index of this model, or serve without a saved one.",
    });
  }
  const vectors = join(dir, VECTORS);
  const size = await fileSize(vectors);
  if (size === bytes) {
    const index = await ExactIndex.open(vectors, run);
    if (index.size === items && index.dim === dim) return index;
    index.dispose();
  }
  throw new PrismrecError("DATA_FORMAT", `${vectors} is not what its description says`, {
    expected: `${bytes} bytes, [${items}, ${dim}]`,
    received: `${size} bytes`,
    hint: "Save the index again.",
  });
}

function fingerprintOf(model: Indexed): string {
  const { data, rows, cols } = model.itemVectors();
  const bias = model.itemBias();
  return hashJson({ shape: [rows, cols], vectors: hash(data), bias: bias === undefined ? null : hash(bias) });
}

function hash({ buffer, byteOffset, byteLength }: Float32Array): string {
  return sha256(new Uint8Array(buffer, byteOffset, byteLength));
}

async function fileSize(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    throw fromFileError(error, path, "read");
  }
}
