import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { isPrismrecError, sha256File, systemCode } from "@prismrec/core/base";
import { modelFolder } from "./discovery.js";
import { type GgufInfo, inspectGguf } from "./gguf.js";
import { KNOWN_MODELS } from "./known-models.js";

/** A model that can be had, or that lies in the user's folder. */
export interface ListedModel {
  readonly name: string;
  /** Where it lies; absent: it is not here. */
  readonly path?: string;
  readonly bytes?: number;
  readonly licence?: string;
  /** Clusterers that its kind of model can serve; whether its answers mean anything is for `prismrec probe` to say. */
  readonly serves: readonly ("facets" | "partition" | "embedding")[];
  readonly use?: string;
  /** Of a known model that is here: whether its SHA-256 is the right one, where it was looked at. */
  readonly checked?: boolean;
  /** Why the file cannot be used. */
  readonly fault?: string;
}

/**
 * The known models and all others in the user's folder, by name.
 *
 * @param check whether the SHA-256 of known models is looked at: seconds for a large one
 */
export async function listModels({
  env = process.env,
  check = false,
  signal,
}: {
  readonly env?: NodeJS.ProcessEnv;
  readonly check?: boolean;
  readonly signal?: AbortSignal;
} = {}): Promise<ListedModel[]> {
  const folder = modelFolder(env);
  const names = (await readdir(folder).catch(noFolder)).filter((name) => name.endsWith(".gguf")).sort();
  const known = KNOWN_MODELS.map(async ({ name, file, bytes, sha256, licence, use }): Promise<ListedModel> => {
    const about = { name, bytes, licence, use };
    if (!names.includes(file)) return { ...about, serves: ["facets", "partition"] };
    const path = join(folder, file);
    const checked = check ? { checked: (await sha256File(path, signal)) === sha256 } : {};
    return { ...about, ...(await describe(path)), ...checked };
  });
  const others = names
    .filter((name) => KNOWN_MODELS.every(({ file }) => file !== name))
    .map(async (name): Promise<ListedModel> => ({ name, ...(await describe(join(folder, name))) }));
  return Promise.all([...known, ...others]);
}

async function describe(path: string): Promise<Omit<ListedModel, "name" | "use">> {
  let info: GgufInfo;
  try {
    info = await inspectGguf(path);
  } catch (error) {
    if (!isPrismrecError(error)) throw error;
    return { path, serves: [], fault: error.received ?? error.message };
  }
  return {
    path,
    bytes: info.bytes,
    ...(info.licence === undefined ? {} : { licence: info.licence }),
    serves: info.architecture.includes("bert") ? ["embedding"] : ["facets", "partition"],
  };
}

function noFolder(error: unknown): string[] {
  if (systemCode(error) === "ENOENT") return [];
  throw error;
}
