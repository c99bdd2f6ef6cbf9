import { existsSync } from "node:fs";
import { isPrismrecError, PrismrecError, readJson, systemCode } from "@prismrec/core/base";
import { absolutePaths, isRecord, portablePaths, type RawSettings, renamed } from "../config/load.js";
import { inputsOf, placeOfSettings } from "./run-directory/run-directory.js";

/**
 * The settings a run directory was made with, paths made absolute; nothing where it has none. Throws RUN_INVALID.
 *
 * @param path where they are kept, of a run that is made beside another
 */
export async function storedSettings(dir: string, path = placeOfSettings(dir)): Promise<RawSettings> {
  if (!existsSync(path)) return {};
  const value = await readJson(path, "RUN_INVALID");
  if (isRecord(value)) {
    const { $schema: _, ...settings } = value;
    return absolutePaths(renamed(settings, dir).settings, dir);
  }
  throw new PrismrecError("RUN_INVALID", `${path} does not hold settings`, { hint: "Run the pipeline again." });
}

/** Settings as a run keeps them: its own inputs are named as they lie in it, so that it can be moved. */
export function settingsToKeep(settings: RawSettings, dir: string): RawSettings {
  return portablePaths(settings, dir, inputsOf(dir));
}

/** Whether a run could not be written to: somebody else does, or the disk or its owner does not let it. */
export function isUnwritable(error: unknown): error is PrismrecError {
  if (isPrismrecError(error, "RUN_LOCKED")) return true;
  return isPrismrecError(error, "IO") && ["EROFS", "EACCES", "EPERM"].includes(systemCode(error.cause) ?? "");
}
