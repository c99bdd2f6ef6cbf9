// Brings a clone to the point where everything runs: dependencies, addon, packages. Does only what is missing.
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { root, run, since } from "./lib/run.mjs";

const MINIMUM_NODE = [20, 19];

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major < MINIMUM_NODE[0] || (major === MINIMUM_NODE[0] && minor < MINIMUM_NODE[1])) {
    throw new Error(`Node ${MINIMUM_NODE.join(".")} or newer is needed, this is ${process.versions.node}`);
  }
}

/** npm writes this file last, so an older or missing one means that the tree is not what the lock file says. */
function dependenciesAreCurrent() {
  const marker = join(root, "node_modules", ".package-lock.json");
  return existsSync(marker) && statSync(marker).mtimeMs >= statSync(join(root, "package-lock.json")).mtimeMs;
}

/**
 * @param {string} what
 * @param {string} command
 * @param {string[]} args
 */
async function step(what, command, args) {
  const start = performance.now();
  process.stderr.write(`${what} …\n`);
  const { code, output } = await run(command, args);
  if (code !== 0) throw new Error(`${what} failed (exit ${code})\n${output}`);
  for (const line of output.split("\n")) if (line.startsWith("notice:")) process.stderr.write(`  ${line}\n`);
  process.stderr.write(`${what} done in ${since(start)}\n`);
}

export async function bootstrap() {
  checkNode();
  if (!dependenciesAreCurrent()) {
    await step("Installing dependencies", "npm", ["install", "--no-audit", "--no-fund"]);
  }
  await step("Building the addon and the packages", "npx", ["nx", "run-many", "-t", "build", "--output-style=stream"]);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  try {
    await bootstrap();
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
    process.exitCode = 4;
  }
}
