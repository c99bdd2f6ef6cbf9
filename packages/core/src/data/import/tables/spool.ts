import { closeSync, constants, createReadStream, createWriteStream, open as openFile, type Stats } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { fromFileError } from "../../../base/file-errors.js";

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
  let info: Stats;
  try {
    info = await stat(path);
  } catch (error) {
    throw fromFileError(error, path, "read");
  }
  const isStream = info.isFIFO() || info.isSocket();
  if (!isStream && !info.isCharacterDevice()) return { path, [Symbol.asyncDispose]: async () => {} };
  const dir = await mkdtemp(join(tmpdir(), "prismrec-"));
  const copy = join(dir, basename(path));
  const remove = (): Promise<void> => rm(dir, { recursive: true, force: true });
  try {
    await pipeline(await openPipe(path, isStream, signal), createWriteStream(copy, { flags: "wx" }), { signal });
  } catch (error) {
    await Promise.allSettled([remove()]);
    signal?.throwIfAborted();
    throw fromFileError(error, copy, "write");
  }
  return { path: copy, [Symbol.asyncDispose]: remove };
}

/**
 * The bytes of a pipe, read on the event loop so that an abort need not wait for its writer. What the process has open
 * already is read through its descriptor: a socket, as which a parent may hand over standard input, has no other way.
 */
async function openPipe(path: string, isStream: boolean, signal: AbortSignal | undefined): Promise<Readable> {
  const descriptor = /^\/(?:dev|proc\/self)\/(?:fd\/(\d+)|stdin)$/.exec(path);
  if (!isStream) return createReadStream(path);
  const fd = descriptor === null ? await openFifo(path, signal) : Number(descriptor[1] ?? 0);
  return new Socket({ fd, readable: true, writable: false });
}

/** Opening a FIFO waits for a writer; an abort becomes that writer for a moment, else the process could not end. */
async function openFifo(path: string, signal: AbortSignal | undefined): Promise<number> {
  const wake = (): void => {
    // An error says that nobody waits: the FIFO has been opened, or is gone.
    openFile(path, constants.O_WRONLY | constants.O_NONBLOCK, (error, fd) => {
      if (error === null) closeSync(fd);
    });
  };
  signal?.throwIfAborted();
  signal?.addEventListener("abort", wake, { once: true });
  try {
    const fd = await promisify(openFile)(path, "r");
    if (signal?.aborted) closeSync(fd);
    signal?.throwIfAborted();
    return fd;
  } finally {
    signal?.removeEventListener("abort", wake);
  }
}
