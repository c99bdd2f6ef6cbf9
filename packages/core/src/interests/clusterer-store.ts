import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { PrismrecError } from "../base/errors.js";
import { isSparse, type Matrix, type SparseMatrix } from "../base/matrix.js";
import type { Catalog } from "../data/types.js";
import { RandomClusterer, ShuffledClusterer } from "./controls.js";
import type { ClustererState, PortableClusterer } from "./portable.js";
import { SignatureClusterer } from "./signature-clusterer.js";
import type { Clusterer } from "./types.js";

const DESCRIPTION = "clusterer.json";
const SIGNATURES = "signatures.f32";

const signatureSchema = z.object({
  kind: z.literal("signatures"),
  name: z.string(),
  fingerprint: z.string(),
  facets: z.array(z.string()),
  itemIds: z.array(z.string()),
  cols: z.number().int().positive(),
  /** Entries of sparse rows; absent: every row is whole. */
  entries: z.number().int().min(0).optional(),
  sha256: z.string(),
  threshold: z.union([z.number(), z.literal("silhouette")]),
  minSilhouette: z.number(),
  labelFacets: z.number().int().positive(),
});
const randomSchema = z.object({ kind: z.literal("random"), seed: z.number() });
const shuffledSchema = z.object({
  kind: z.literal("shuffled"),
  seed: z.number(),
  /** Anything that can be saved, a shuffled one too. */
  get inner(): z.ZodUnion<readonly [typeof signatureSchema, typeof randomSchema, typeof shuffledSchema]> {
    return fileSchema;
  },
});
const fileSchema = z.union([signatureSchema, randomSchema, shuffledSchema]);
type Stored = z.infer<typeof fileSchema>;

/** Writes what `openClusterer` needs into `dir`: a description and, where there are signatures, their numbers. */
export async function saveClusterer(clusterer: PortableClusterer, dir: string): Promise<void> {
  await mkdir(dir, { recursive: true });
  const describe = async (state: ClustererState): Promise<unknown> => {
    switch (state.kind) {
      case "random":
        return state;
      case "shuffled":
        return { kind: state.kind, seed: state.seed, inner: await describe(state.inner) };
      case "signatures": {
        const { signatures, ...rest } = state;
        const bytes = bytesOf(signatures);
        await writeFile(join(dir, SIGNATURES), bytes);
        return {
          ...rest,
          cols: signatures.cols,
          ...(isSparse(signatures) ? { entries: signatures.values.length } : {}),
          sha256: createHash("sha256").update(bytes).digest("hex"),
        };
      }
    }
  };
  await writeFile(join(dir, DESCRIPTION), `${JSON.stringify(await describe(clusterer.state()))}\n`);
}

/** Whole rows as they are; sparse ones as the ends of all rows, the columns and the values of their entries. */
function bytesOf(signatures: Matrix | SparseMatrix): Uint8Array {
  const parts = isSparse(signatures)
    ? [signatures.indptr.subarray(1), signatures.indices, signatures.values]
    : [signatures.data];
  return Buffer.concat(parts.map(({ buffer, byteOffset, byteLength }) => Buffer.from(buffer, byteOffset, byteLength)));
}

/**
 * Opens a saved clusterer over a catalog; items are matched by external id, and an item the clusterer has never read
 * gets a signature that says nothing. Throws RUN_INVALID for damaged files, CHECKPOINT_INCOMPATIBLE for another catalog.
 */
export async function openClusterer(dir: string, catalog: Catalog): Promise<Clusterer> {
  const parsed = fileSchema.safeParse(await readJson(join(dir, DESCRIPTION)));
  if (!parsed.success) {
    throw damaged(dir, z.prettifyError(parsed.error));
  }
  const open = async (stored: Stored): Promise<Clusterer> => {
    switch (stored.kind) {
      case "random":
        return new RandomClusterer(stored.seed);
      case "shuffled":
        return new ShuffledClusterer(await open(stored.inner), stored.seed);
      case "signatures":
        return openSignatures(stored, dir, catalog);
    }
  };
  return open(parsed.data);
}

async function openSignatures(
  stored: z.infer<typeof signatureSchema>,
  dir: string,
  catalog: Catalog,
): Promise<SignatureClusterer> {
  const { itemIds, cols, entries } = stored;
  const bytes = await readFile(join(dir, SIGNATURES)).catch((cause: unknown) => {
    throw damaged(dir, `${SIGNATURES} cannot be read`, cause);
  });
  if (
    bytes.byteLength !== 4 * (entries === undefined ? itemIds.length * cols : itemIds.length + 2 * entries) ||
    createHash("sha256").update(bytes).digest("hex") !== stored.sha256
  ) {
    throw damaged(dir, `${SIGNATURES} is not the file that was written (${bytes.byteLength} bytes)`);
  }
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  const rowOf = new Map<number, number>();
  itemIds.forEach((externalId, row) => {
    const id = catalog.idOf(externalId);
    if (id !== undefined) rowOf.set(id, row);
  });
  const matched = rowOf.size;
  if (matched === 0 && catalog.size > 0) {
    throw new PrismrecError("CHECKPOINT_INCOMPATIBLE", "the saved clusters belong to another catalog", {
      expected: `items such as ${JSON.stringify(itemIds[0] ?? "")}`,
      received: `items such as ${JSON.stringify(catalog.items[1]?.id ?? "")}`,
      hint: "run the cluster stage on this dataset",
    });
  }
  return new SignatureClusterer({
    name: stored.name,
    fingerprint: stored.fingerprint,
    catalog,
    signatures:
      entries === undefined
        ? wholeRows(buffer, rowOf, catalog.size, cols)
        : sparseRows(buffer, rowOf, stored, catalog.size),
    facets: stored.facets,
    threshold: stored.threshold,
    minSilhouette: stored.minSilhouette,
    labelFacets: stored.labelFacets,
  });
}

function wholeRows(buffer: ArrayBuffer, rowOf: ReadonlyMap<number, number>, rows: number, cols: number): Matrix {
  const saved = new Float32Array(buffer);
  const data = new Float32Array(rows * cols);
  for (const [id, row] of rowOf) data.set(saved.subarray(row * cols, (row + 1) * cols), (id - 1) * cols);
  return { data, rows, cols };
}

function sparseRows(
  buffer: ArrayBuffer,
  rowOf: ReadonlyMap<number, number>,
  { itemIds, cols, entries = 0 }: z.infer<typeof signatureSchema>,
  rows: number,
): SparseMatrix {
  const ends = new Uint32Array(buffer, 0, itemIds.length);
  const savedIndices = new Uint32Array(buffer, 4 * itemIds.length, entries);
  const savedValues = new Float32Array(buffer, 4 * (itemIds.length + entries), entries);
  const indptr = new Uint32Array(rows + 1);
  const indices: number[] = [];
  const values: number[] = [];
  for (let id = 1; id <= rows; id++) {
    const row = rowOf.get(id);
    if (row !== undefined) {
      for (let e = row === 0 ? 0 : ends[row - 1]!; e < ends[row]!; e++) {
        indices.push(savedIndices[e]!);
        values.push(savedValues[e]!);
      }
    }
    indptr[id] = indices.length;
  }
  return { indptr, indices: Uint32Array.from(indices), values: Float32Array.from(values), rows, cols };
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, "utf8"));
  } catch (cause) {
    throw damaged(path, cause instanceof Error ? cause.message : String(cause), cause);
  }
}

function damaged(path: string, received: string, cause?: unknown): PrismrecError {
  return new PrismrecError("RUN_INVALID", `the saved clusterer in ${path} cannot be used`, {
    expected: `${DESCRIPTION} and ${SIGNATURES} as the cluster stage wrote them`,
    received,
    hint: "run the cluster stage again",
    cause,
  });
}
