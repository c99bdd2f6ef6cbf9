import { mkdir, mkdtemp, rename, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { fromFileError, PrismrecError, type RunOptions, sha256File } from "@prismrec/core/base";
import pRetry from "p-retry";
import { requireLlamaCpp } from "./engine.js";
import { inspectGguf } from "./gguf.js";

export interface DownloadOptions extends RunOptions {
  /** `hf:USER/REPOSITORY/FILE#REVISION`, or the address of a GGUF file. */
  readonly uri: string;
  /** Folder that the model is put into. */
  readonly dir: string;
  /** Name of the file there (default: its own). */
  readonly file?: string;
  /** Hexadecimal; may be left out where Hugging Face says it of its file. */
  readonly sha256?: string;
  /** For tests, and for mirrors: where Hugging Face is (default: HF_ENDPOINT of the environment, else huggingface.co). */
  readonly endpoint?: string;
}

const HUGGING_FACE = "https://huggingface.co";
/** A server that says nothing for so long is taken not to be there. */
const PATIENCE_SECONDS = 20;
/** A download that brings nothing for so long is given up. */
const STALLED_SECONDS = 60;

interface Source {
  readonly url: string;
  readonly sha256: string;
}

/**
 * Gets a model with node-llama-cpp's downloader, several connections at once: checks its SHA-256 and its header, and only then
 * puts it in its place.
 *
 * @returns its path
 * @throws PrismrecError CONFIG_INVALID for an address without a known SHA-256, FILE_NOT_FOUND, IO, DISK_FULL, MODEL_INVALID for
 *   another file than was expected, LLM_ENGINE_MISSING
 */
export async function downloadModel(options: DownloadOptions): Promise<string> {
  const { uri, dir, signal, endpoint = process.env.HF_ENDPOINT ?? HUGGING_FACE } = options;
  signal?.throwIfAborted();
  requireLlamaCpp();
  const url = addressOf(uri, endpoint);
  const file = options.file ?? basename(decodeURIComponent(new URL(url).pathname));
  const source = await findSource(url, options);
  let temporary: string;
  try {
    await mkdir(dir, { recursive: true });
    temporary = await mkdtemp(join(dir, ".fetch-"));
  } catch (error) {
    throw fromFileError(error, dir, "write");
  }
  try {
    const fetched = await fetchFile(source.url, temporary, file, endpoint, options);
    const found = await sha256File(fetched, signal);
    if (found !== source.sha256) {
      throw new PrismrecError("MODEL_INVALID", "the fetched model is not the one that was expected", {
        expected: `sha256 ${source.sha256}`,
        received: `sha256 ${found} (${(await stat(fetched)).size} bytes)`,
      });
    }
    await inspectGguf(fetched);
    const path = join(dir, file);
    await rename(fetched, path);
    return path;
  } catch (error) {
    signal?.throwIfAborted();
    throw fromFileError(error, url, "read");
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** The address of a file, of a name at Hugging Face too. */
function addressOf(uri: string, endpoint: string): string {
  const [, owner, repository, path, revision = "main"] = /^hf:([^/#]+)\/([^/#]+)\/([^#]+)(?:#(.+))?$/.exec(uri) ?? [];
  const inside = path?.split("/").map(encodeURIComponent).join("/");
  const url =
    owner === undefined ? uri : `${endpoint.replace(/\/+$/, "")}/${owner}/${repository}/resolve/${revision}/${inside}`;
  if (URL.canParse(url) && /^https?:/.test(url) && new URL(url).pathname.endsWith(".gguf")) return url;
  throw new PrismrecError("CONFIG_INVALID", "a model cannot be got from there", {
    expected: "hf:USER/REPOSITORY/FILE.gguf#REVISION or https://HOST/FILE.gguf",
    received: uri,
  });
}

/** Whether the file is there, and its SHA-256; asked before the downloader is, which tries for minutes where nobody answers. */
async function findSource(url: string, { sha256, signal }: DownloadOptions): Promise<Source> {
  const patience = AbortSignal.timeout(1000 * PATIENCE_SECONDS);
  const either = signal === undefined ? patience : AbortSignal.any([signal, patience]);
  let response: Response;
  try {
    // Once more where a connection that was kept has been closed meanwhile.
    response = await pRetry(() => fetch(url, { method: "HEAD", redirect: "manual", signal: either }), {
      retries: 1,
      minTimeout: 100,
      signal: either,
    });
  } catch (error) {
    signal?.throwIfAborted();
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    throw new PrismrecError("IO", `${new URL(url).host} cannot be reached`, {
      received: cause instanceof Error ? cause.message || cause.name : String(cause),
      cause: error,
    });
  }
  const { status, headers } = response;
  if (status >= 400) {
    throw new PrismrecError(status === 404 ? "FILE_NOT_FOUND" : "IO", `${url} is not to be had: HTTP ${status}`);
  }
  const said = /^"?([0-9a-f]{64})"?$/.exec(headers.get("x-linked-etag") ?? "")?.[1];
  const expected = sha256?.toLowerCase() ?? said;
  if (expected === undefined) {
    throw new PrismrecError("CONFIG_INVALID", "the model cannot be checked: nobody says its SHA-256", {
      expected: "--sha256, as its publisher says it",
      received: url,
    });
  }
  return { url, sha256: expected };
}

async function fetchFile(
  url: string,
  dir: string,
  file: string,
  endpoint: string,
  { signal, onProgress }: DownloadOptions,
): Promise<string> {
  const { createModelDownloader } = await import("node-llama-cpp");
  const stop = new AbortController();
  const either = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  let watch: NodeJS.Timeout | undefined;
  const moved = (): void => {
    clearTimeout(watch);
    watch = setTimeout(
      () => stop.abort(new PrismrecError("IO", `${url} has brought nothing for ${STALLED_SECONDS} s`)),
      1000 * STALLED_SECONDS,
    );
  };
  const work = async (): Promise<string> => {
    const downloader = await createModelDownloader({
      modelUri: url,
      dirPath: dir,
      fileName: file,
      skipExisting: false,
      endpoints: { huggingFace: endpoint },
      onProgress: ({ downloadedSize, totalSize }) => {
        moved();
        onProgress?.({ stage: "model", done: downloadedSize, total: totalSize, unit: "bytes" });
      },
    });
    return downloader.download({ signal: either });
  };
  moved();
  // Not every step of the downloader heeds the signal.
  const aborted = new Promise<never>((_, reject) => {
    either.addEventListener("abort", () => reject(either.reason), { once: true });
  });
  try {
    return await Promise.race([work(), aborted]);
  } catch (error) {
    if (error instanceof PrismrecError || either.aborted) throw either.reason ?? error;
    throw new PrismrecError("IO", `${url} could not be fetched whole`, {
      received: error instanceof Error ? error.message : String(error),
      cause: error,
    });
  } finally {
    clearTimeout(watch);
  }
}
