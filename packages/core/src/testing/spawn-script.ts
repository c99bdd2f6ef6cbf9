import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const packageDir = fileURLToPath(new URL("../..", import.meta.url));
const built = fileURLToPath(new URL("../../dist/index.js", import.meta.url));

/** Whether there is a built package for `spawnScript`, and what to add to a test's name where there is none. */
export const hasBuilt = existsSync(built);
export const needsBuilt = hasBuilt ? "" : " (needs the built package)";

/**
 * Runs a module in a process of its own and gives what it prints, read as JSON. The script finds
 * `args` from `process.argv[1]` on; it may import the built package and its dependencies by name.
 */
export async function spawnScript(
  script: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<unknown> {
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script, ...args], {
    cwd: packageDir,
    env: { ...process.env, ...env },
    maxBuffer: 2 ** 26,
  });
  return JSON.parse(stdout);
}
