import type { ImportOptions } from "./import.js";
import { type SpooledFile, spoolIfPipe } from "./tables/spool.js";

/** The files of a table that may be in several. */
export function pathsOf(files: string | readonly string[] | undefined): readonly string[] {
  if (files === undefined) return [];
  return typeof files === "string" ? [files] : files;
}

/** Import options whose files can all be read more than once; copies of pipes go when this is disposed of. */
export interface SpooledInputs extends AsyncDisposable {
  readonly options: ImportOptions;
}

/**
 * Copies what comes through a pipe, because an import reads its files to hash, to judge and to load them. Throws
 * FILE_NOT_FOUND, IO or DISK_FULL, and leaves no copy behind then.
 */
export async function spoolInputs(options: ImportOptions, signal?: AbortSignal): Promise<SpooledInputs> {
  const opened: SpooledFile[] = [];
  const dispose = async (): Promise<void> => {
    for (const file of opened) await file[Symbol.asyncDispose]();
  };
  const spool = async (path: string): Promise<string> => {
    const file = await spoolIfPipe(path, signal);
    opened.push(file);
    return file.path;
  };
  try {
    const { interactions, items, users, split } = options;
    const all = async (paths: string | readonly string[]): Promise<string[]> => {
      const spooled: string[] = [];
      for (const path of pathsOf(paths)) spooled.push(await spool(path));
      return spooled;
    };
    return {
      options: {
        ...options,
        interactions: await all(interactions),
        ...(items === undefined ? {} : { items: await all(items) }),
        ...(users === undefined ? {} : { users: await all(users) }),
        ...(split?.file === undefined ? {} : { split: { ...split, file: await spool(split.file) } }),
      },
      [Symbol.asyncDispose]: dispose,
    };
  } catch (error) {
    await dispose();
    throw error;
  }
}
