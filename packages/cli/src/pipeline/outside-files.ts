import { stat } from "node:fs/promises";
import { fromFileError, PrismrecError } from "@prismrec/core/base";
import type { Stage } from "./stage.js";

/** The outside files that the settings of a run name for a stage, by setting. */
export function outsideFiles(stage: Stage, settings: Readonly<Record<string, unknown>>): Record<string, string> {
  const named: Record<string, string> = {};
  for (const { setting, isNone = () => false } of stage.files ?? []) {
    const paths = [settings[setting]].flat().filter(isText);
    Object.assign(
      named,
      numbered(
        setting,
        paths.filter((path) => !isNone(path)),
      ),
    );
  }
  return named;
}

const isText = (value: unknown): value is string => typeof value === "string";

/** The files of one setting: the first under its name, the others under that and a number. */
export function numbered(setting: string, paths: readonly string[]): Record<string, string> {
  return Object.fromEntries(paths.map((path, n) => [n === 0 ? setting : `${setting} ${n + 1}`, path]));
}

/**
 * Whether the outside files of a stage are there and are what they are taken for, as far as a first look shows.
 *
 * @throws PrismrecError FILE_NOT_FOUND, IO, DATA_FORMAT, and what the stage's own checks throw
 */
export async function checkOutsideFiles(stage: Stage, settings: Readonly<Record<string, unknown>>): Promise<void> {
  const checks = new Map(stage.files?.map(({ setting, check }) => [setting, check]));
  for (const [setting, path] of Object.entries(outsideFiles(stage, settings))) {
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
    if (found.isFile()) await checks.get(setting)?.(path);
  }
}
