import { cp, mkdir, readdir, rename, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fromFileError, PrismrecError, systemCode } from "@prismrec/core/base";
import { CONFIG_FILE } from "../config/load.js";
import type { Run } from "../pipeline/run.js";
import { MARKER } from "../pipeline/run-directory/run-format.js";
import { withReads } from "../pipeline/stage.js";

/**
 * Copies what serving reads of a run, its settings included, so that the copy is a run that can be opened. The copy is
 * made beside its place and moved there when it is whole.
 *
 * @throws PrismrecError INVALID_ARGUMENT for a folder that holds something; IO, DISK_FULL
 */
export async function saveRun(run: Run, dir: string): Promise<void> {
  const target = resolve(dir);
  if ((await entriesOf(target)).length > 0) {
    throw new PrismrecError("INVALID_ARGUMENT", `${target} holds something already`, {
      expected: "an empty folder, or none",
      received: target,
      hint: "Save into a new folder, and swap the two when it is there.",
    });
  }
  const index = run.stages.find(({ name }) => name === "index");
  const needed = index === undefined ? new Set<string>() : withReads(index, run.stages);
  const partial = join(dirname(target), `.${process.pid}.${Date.now()}.partial`);
  try {
    await mkdir(partial, { recursive: true });
    const sources = [
      [MARKER, join(run.path, MARKER)],
      [CONFIG_FILE, run.directory.settingsFile],
      ...[...needed].map((name) => [name, run.directory.stageDir(name)] as const),
    ] as const;
    for (const [name, source] of sources) {
      await cp(source, join(partial, name), { recursive: true }).catch((error: unknown) => {
        // A stage that was left out has no folder.
        if (systemCode(error) !== "ENOENT") throw error;
      });
    }
    await rm(target, { recursive: true, force: true });
    await rename(partial, target);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    throw error instanceof PrismrecError ? error : fromFileError(error, target, "write");
  }
}

async function entriesOf(dir: string): Promise<string[]> {
  try {
    return await readdir(dir);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return [];
    throw fromFileError(error, dir, "read");
  }
}
