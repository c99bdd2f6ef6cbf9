import { stat } from "node:fs/promises";
import { fromFileError, PrismrecError } from "@prismrec/core/base";
import type { Stage } from "./stage.js";

/** The outside files that the settings of a run name for a stage, by setting. */
export function outsideFiles(stage: Stage, settings: Readonly<Record<string, unknown>>): Record<string, string> {
  const named: Record<string, string> = {};
  for (const { setting, none } of stage.files ?? []) {
    const path = settings[setting];
    if (typeof path === "string" && path !== none) named[setting] = path;
  }
  return named;
}

/**
 * Whether the outside files of a stage are there and are what they are taken for, as far as a first look shows.
 *
 * @throws PrismrecError FILE_NOT_FOUND, IO, DATA_FORMAT, and what the stage's own checks throw
 */
export async function checkOutsideFiles(stage: Stage, settings: Readonly<Record<string, unknown>>): Promise<void> {
  const paths = outsideFiles(stage, settings);
  for (const { setting, check } of stage.files ?? []) {
    const path = paths[setting];
    if (path === undefined) continue;
    const found = await stat(path).catch((error: unknown) => {
      throw fromFileError(error, path, "read");
    });
    if (found.isDirectory()) {
      throw new PrismrecError("DATA_FORMAT", `${setting} is a folder: ${path}`, {
        expected: "a file",
        received: "a folder",
      });
    }
    // What comes through a pipe can be read once, and not now.
    if (found.isFile()) await check?.(path);
  }
}
