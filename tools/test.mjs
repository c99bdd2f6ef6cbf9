// The whole test suite: sets up what is missing, runs every runner, and ends with one line "N passed, N failed".
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { arm } from "./arm.mjs";
import { bootstrap } from "./bootstrap.mjs";
import { cudaGates } from "./cuda-gates.mjs";
import { nativeTests } from "./lib/native-tests.mjs";
import { run, since } from "./lib/run.mjs";
import { sanitize } from "./sanitize.mjs";

/** @typedef {import("./lib/native-tests.mjs").Counts} Counts */

/**
 * A check that either holds or does not counts as one test.
 * @param {string} command
 * @param {string[]} args
 * @returns {() => Promise<Counts>}
 */
const check = (command, args) => async () => {
  const { code, output } = await run(command, args);
  if (code !== 0) process.stderr.write(output);
  return { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, skipped: 0 };
};

/** TypeScript tests of every workspace. @returns {Promise<Counts>} */
async function vitest() {
  const folder = await mkdtemp(join(tmpdir(), "prismrec-test-"));
  try {
    const file = join(folder, "vitest.json");
    const { code } = await run(
      "npx",
      ["vitest", "run", "--reporter=default", "--reporter=json", `--outputFile=${file}`],
      {
        echo: true,
      },
    );
    const report = JSON.parse(await readFile(file, "utf8"));
    const failedFiles = report.testResults.filter(
      (/** @type {{ status: string, assertionResults: unknown[] }} */ result) =>
        result.status === "failed" && result.assertionResults.length === 0,
    ).length;
    const failed = report.numFailedTests + failedFiles;
    return {
      passed: report.numPassedTests,
      failed: code !== 0 && failed === 0 ? 1 : failed,
      skipped: report.numPendingTests + report.numTodoTests,
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** @type {[string, () => Promise<Counts>][]} */
const runners = [
  ["lint and module boundaries", check("npx", ["biome", "check", "--error-on-warnings", "."])],
  ["types of the packages", check("npx", ["tsc", "-b"])],
  ["types of the tools and native tests", check("npx", ["tsc", "-p", "tools"])],
  ["reference documents", check("node", ["tools/generate-docs.mjs", "--check"])],
  ["bindings against the addon", check("node", ["tools/check-binding.mjs"])],
  [
    "native, CUDA kernels on a pretended GPU too",
    () => nativeTests("test", { define: ["PRISMREC_CUDA_HOST=ON"], jobs: availableParallelism() }),
  ],
  ["CUDA kernels, static", cudaGates],
  ["native under sanitizers", sanitize],
  ["native on ARM, emulated", arm],
  ["typescript", vitest],
];

/** @type {Counts} */
const total = { passed: 0, failed: 0, skipped: 0 };
try {
  await bootstrap();
  for (const [name, runner] of runners) {
    const start = performance.now();
    const counts = await runner();
    process.stdout.write(
      `${name}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped (${since(start)})\n`,
    );
    total.passed += counts.passed;
    total.failed += counts.failed;
    total.skipped += counts.skipped;
  }
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  total.failed += 1;
}
if (total.skipped > 0) {
  process.stdout.write(`${total.skipped} tests were skipped; the lines above say which and why\n`);
  if (process.env.PRISMREC_FORBID_SKIPS === "1") total.failed += total.skipped;
}
process.stdout.write(`${total.passed} passed, ${total.failed} failed\n`);
process.exitCode = total.failed > 0 ? 1 : 0;
