import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const WRITER = fileURLToPath(new URL("../../../../tools/tiny-gguf.mjs", import.meta.url));

/** Tiny random models in a temporary folder. For tests only. */
export interface TinyModels {
  readonly dir: string;
  readonly llama: string;
  readonly bert: string;
  remove(): Promise<void>;
}

export async function tinyModels(): Promise<TinyModels> {
  const dir = await mkdtemp(join(tmpdir(), "prismrec-models-"));
  const write = async (kind: "llama" | "bert"): Promise<string> => {
    const path = join(dir, `tiny-${kind}.gguf`);
    await promisify(execFile)(process.execPath, [WRITER, "--out", path, "--kind", kind]);
    return path;
  };
  return { dir, llama: await write("llama"), bert: await write("bert"), remove: () => rm(dir, { recursive: true }) };
}
