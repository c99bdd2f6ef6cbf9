import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fromFileError } from "../../runtime/file-errors.js";

/** A file that can be read more than once. */
export interface SpooledFile extends AsyncDisposable {
  readonly path: string;
}

/**
 * A pipe, FIFO or character device is copied, once, into a temporary file that goes when the result is disposed of;
 * any other path stays as it is. Throws FILE_NOT_FOUND, IO or DISK_FULL; an abort rejects with its reason. Neither
 * leaves a temporary file.
 */
export async function spoolIfPipe(path: string, signal?: AbortSignal): Promise<SpooledFile> {
  let isPipe: boolean;
  try {
    const info = await stat(path);
    isPipe = info.isFIFO() || info.isCharacterDevice() || info.isSocket();
  } catch (error) {
    throw fromFileError(error, path, "read");
  }
  if (!isPipe) return { path, [Symbol.asyncDispose]: async () => {} };
  const dir = await mkdtemp(join(tmpdir(), "prismrec-"));
  const copy = join(dir, basename(path));
  const remove = (): Promise<void> => rm(dir, { recursive: true, force: true });
  try {
    await pipeline(createReadStream(path), createWriteStream(copy, { flags: "wx" }), { signal });
  } catch (error) {
    await Promise.allSettled([remove()]);
    signal?.throwIfAborted();
    throw fromFileError(error, copy, "write");
  }
  return { path: copy, [Symbol.asyncDispose]: remove };
}
