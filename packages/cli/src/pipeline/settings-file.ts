import { existsSync } from "node:fs";
import { join } from "node:path";
import { isPrismrecError, PrismrecError, readJson, systemCode } from "@prismrec/core/base";
import { CONFIG_FILE, isRecord, type RawSettings, renamed } from "../config/load.js";

/** The settings a run directory was made with; nothing where it has none. Throws RUN_INVALID. */
export async function storedSettings(dir: string): Promise<RawSettings> {
  const path = join(dir, CONFIG_FILE);
  if (!existsSync(path)) return {};
  const value = await readJson(path, "RUN_INVALID");
  if (isRecord(value)) {
    const { $schema: _, ...settings } = value;
    return renamed(settings, dir).settings;
  }
  throw new PrismrecError("RUN_INVALID", `${path} does not hold settings`, { hint: "Run the pipeline again." });
}

/** Whether a run could not be written to: somebody else does, or the disk or its owner does not let it. */
export function isUnwritable(error: unknown): error is PrismrecError {
  if (isPrismrecError(error, "RUN_LOCKED")) return true;
  return isPrismrecError(error, "IO") && ["EROFS", "EACCES", "EPERM"].includes(systemCode(error.cause) ?? "");
}
