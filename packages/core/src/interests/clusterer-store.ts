import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { PrismrecError } from "../base/errors.js";
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
        const bytes = new Uint8Array(signatures.data.buffer, signatures.data.byteOffset, signatures.data.byteLength);
        await writeFile(join(dir, SIGNATURES), bytes);
        return { ...rest, cols: signatures.cols, sha256: createHash("sha256").update(bytes).digest("hex") };
      }
    }
  };
  await writeFile(join(dir, DESCRIPTION), `${JSON.stringify(await describe(clusterer.state()))}\n`);
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
  const { itemIds, cols } = stored;
  const bytes = await readFile(join(dir, SIGNATURES)).catch((cause: unknown) => {
    throw damaged(dir, `${SIGNATURES} cannot be read`, cause);
  });
  if (
    bytes.byteLength !== itemIds.length * cols * 4 ||
    createHash("sha256").update(bytes).digest("hex") !== stored.sha256
  ) {
    throw damaged(dir, `${SIGNATURES} is not the file that was written (${bytes.byteLength} bytes)`);
  }
  const saved = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  const data = new Float32Array(catalog.size * cols);
  let matched = 0;
  itemIds.forEach((externalId, row) => {
    const id = catalog.idOf(externalId);
    if (id === undefined) return;
    matched++;
    data.set(saved.subarray(row * cols, (row + 1) * cols), (id - 1) * cols);
  });
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
    signatures: { data, rows: catalog.size, cols },
    facets: stored.facets,
    threshold: stored.threshold,
    minSilhouette: stored.minSilhouette,
    labelFacets: stored.labelFacets,
  });
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
