import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const repositoryRoot = resolve(dirname(fileURLToPath(import.meta.url)), "../../../..");

/**
 * A file or folder of the shared test data (`PRISMREC_SHARED`, else `../shared` beside the repository), or undefined
 * where it is absent: such a test skips and says so. For tests only.
 */
export function sharedPath(...parts: string[]): string | undefined {
  const path = resolve(repositoryRoot, process.env.PRISMREC_SHARED ?? "../shared", join(...parts));
  return existsSync(path) ? path : undefined;
}

/** What a skipped test says about missing shared data. */
export function missingShared(...parts: string[]): string {
  return `needs ${join(...parts)} of the shared test data (PRISMREC_SHARED), which is not here`;
}
