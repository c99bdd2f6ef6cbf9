import { availableParallelism } from "node:os";
import { pathToFileURL } from "node:url";
import { run, since } from "./run.mjs";

/** @typedef {{ passed: number, failed: number, skipped: number }} Counts */

/** @type {Counts} */
export const none = { passed: 0, failed: 0, skipped: 0 };

/** What to say and to count where a runner lacks something. @param {string} reason @returns {Counts} */
export function skip(reason) {
  process.stdout.write(`skipped: ${reason}\n`);
  return { ...none, skipped: 1 };
}

/**
 * What executables of the C++ tests printed; a failure of the program counts as one at least.
 * @param {string} output
 * @param {number} code
 * @returns {Counts}
 */
export function passedAndFailed(output, code) {
  const counts = { ...none };
  for (const [, passed, failed] of output.matchAll(/(\d+) passed, (\d+) failed/g)) {
    counts.passed += Number(passed);
    counts.failed += Number(failed);
  }
  if (code !== 0 || counts.passed === 0) counts.failed = Math.max(counts.failed, 1);
  return counts;
}

/**
 * Builds the C++ tests in `native/build/<name>` and runs them; every executable prints its own "N passed, N failed".
 * @param {string} name
 * @param {{ define?: string[], env?: NodeJS.ProcessEnv, wrapper?: string[], jobs?: number, only?: string }} [options]
 *   define: for CMake's -D; env: of the tests; wrapper: a command to run them under; jobs: executables at a time;
 *   only: a regular expression that the tests' names match
 * @returns {Promise<Counts>}
 */
export async function nativeTests(name, { define = [], env = {}, wrapper = [], jobs = 1, only = "" } = {}) {
  const build = `native/build/${name}`;
  const start = performance.now();
  for (const args of [
    ["-S", "native", "-B", build, ...["PRISMREC_TESTS=ON", "CMAKE_BUILD_TYPE=Release", ...define].map((d) => `-D${d}`)],
    ["--build", build, "--parallel", String(availableParallelism())],
  ]) {
    const { code, output } = await run("cmake", args);
    if (code !== 0) {
      process.stderr.write(output);
      return { ...none, failed: 1 };
    }
  }
  process.stderr.write(`${name}: built in ${since(start)}\n`);
  const [command = "", ...args] = [...wrapper, "ctest", "--test-dir", build, "--verbose", "--parallel", String(jobs)];
  if (only !== "") args.push("--tests-regex", only);
  const { code, output } = await run(command, args, { env });
  const counts = passedAndFailed(output, code);
  /** @type {Map<string, Set<string>>} */
  const ran = new Map();
  for (const [, variant = "", op = ""] of output.matchAll(/ran: (.*): (\w+)/g)) {
    ran.set(variant, (ran.get(variant) ?? new Set()).add(op));
  }
  for (const [variant, ops] of ran) process.stdout.write(`${name} ran ${variant}: ${[...ops].sort().join(", ")}\n`);
  if (code !== 0 || counts.failed > 0) process.stderr.write(output);
  return counts;
}

/**
 * Runs a runner where its file is the program.
 * @param {string} url
 * @param {() => Promise<Counts>} runner
 */
export async function main(url, runner) {
  if (url !== pathToFileURL(process.argv[1] ?? "").href) return;
  const counts = await runner();
  process.stdout.write(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`);
  process.exitCode = counts.failed > 0 ? 1 : 0;
}
