import { randomBytes } from "node:crypto";
import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { PrismrecError } from "./errors.js";
import { fromFileError, systemCode } from "./file-errors.js";

/** What a file is written from: the whole, or pieces one after the other. */
export type FileContent = string | Uint8Array | Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>;

/**
 * Writes a file so that a reader, or a process killed at any point, sees the old content or the new, never a part:
 * temporary file in the same folder, fsync, rename, fsync of the folder. On failure the old file stands and the
 * temporary one is removed. Throws DISK_FULL or IO, or what the content rejects with. The folder
 * is made when it is missing.
 */
export async function writeFileAtomic(path: string, content: FileContent): Promise<void> {
  await replaceFile(path, async (temporary) => {
    const file = await open(temporary, "wx");
    try {
      if (typeof content === "string" || content instanceof Uint8Array) await file.writeFile(content);
      else for await (const part of content) await file.writeFile(part);
      await file.sync();
    } finally {
      await file.close();
    }
  });
}

/** `writeFileAtomic` where `write` makes the temporary file, which must be on the disk when its promise settles. */
export async function replaceFile(path: string, write: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = `${path}.${process.pid}-${randomBytes(4).toString("hex")}.tmp`;
  try {
    await mkdir(dirname(path), { recursive: true });
    await write(temporary);
    await rename(temporary, path);
  } catch (error) {
    // A temporary file that cannot be removed either must not hide why the write failed.
    await Promise.allSettled([rm(temporary, { force: true })]);
    // What the content itself rejected with, such as an abort, is not a failure of the file.
    throw systemCode(error) === undefined ? error : fromFileError(error, path, "write");
  }
  await syncFolder(dirname(path));
}

/** `writeFileAtomic` of a value as indented JSON. */
export async function writeJsonAtomic(path: string, value: unknown): Promise<void> {
  await writeFileAtomic(path, `${JSON.stringify(value, undefined, 2)}\n`);
}

/** Reads and parses JSON; `code` is thrown when the content is not JSON (FILE_NOT_FOUND and IO as usual). */
export async function readJson(path: string, code: "DATA_FORMAT" | "RUN_INVALID" | "CONFIG_INVALID"): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    throw fromFileError(error, path, "read");
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new PrismrecError(code, `${path} is not valid JSON`, {
      received: error instanceof Error ? error.message : String(error),
      cause: error,
    });
  }
}

/** Makes a rename or a new entry in a folder durable, where the platform can sync folders. */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } catch (error) {
    throw fromFileError(error, path, "write");
  } finally {
    await folder.close();
  }
}
