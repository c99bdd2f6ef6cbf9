// The C++ tests, a reduced set, under the compiler's sanitizers: addresses and undefined behaviour, then data races; and the
// addon in node with the tests of its border under the first of them.
//   node tools/sanitize.mjs [address,undefined | thread]
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { availableParallelism, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { main, nativeTests, none, skip } from "./lib/native-tests.mjs";
import { has, root, run, since } from "./lib/run.mjs";

const sanitizers = ["address,undefined", "thread"];

/** Whether the compiler links what the sanitizer needs. @param {string} sanitizer */
async function linkable(sanitizer) {
  const folder = await mkdtemp(join(tmpdir(), "prismrec-sanitize-"));
  try {
    const source = join(folder, "empty.cc");
    await writeFile(source, "int main() { return 0; }\n");
    const args = [`-fsanitize=${sanitizer}`, source, "-o", join(folder, "empty")];
    return (await run(process.env.CXX || "c++", args)).code === 0;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What the addon is compiled with beside its own sources. */
function nodeHeaders() {
  const { resolve } = createRequire(join(root, "native/package.json"));
  const folder = (/** @type {string} */ name) => dirname(resolve(`${name}/package.json`));
  return `PRISMREC_NODE_HEADERS=${join(folder("node-api-headers"), "include")};${folder("node-addon-api")}`;
}

/**
 * The border's tests with an addon that was built with the address sanitizer, whose library node must load first.
 * @param {string} addon
 * @returns {Promise<import("./lib/native-tests.mjs").Counts>}
 */
async function addonTests(addon) {
  const library = (await run(process.env.CXX || "c++", ["-print-file-name=libasan.so"])).output.trim();
  if (!library.startsWith("/")) return skip("the compiler has no shared library of the address sanitizer");
  const folder = await mkdtemp(join(tmpdir(), "prismrec-sanitize-"));
  try {
    const file = join(folder, "vitest.json");
    const args = ["vitest", "run", "--project", "native", "--maxWorkers=1", "--reporter=json", `--outputFile=${file}`];
    const { code, output } = await run(
      "npx",
      [...args, "native/test/border.test.ts", "native/test/arguments.test.ts"],
      {
        env: {
          PRISMREC_NATIVE_PATH: addon,
          PRISMREC_TEST_PRELOAD: library,
          PRISMREC_TEST_REDUCED: "1",
          // Node itself leaves memory behind.
          ASAN_OPTIONS: "detect_leaks=0:allocator_may_return_null=1",
        },
      },
    );
    const report = JSON.parse(await readFile(file, "utf8"));
    const failed = code !== 0 && report.numFailedTests === 0 ? 1 : report.numFailedTests;
    if (failed > 0) {
      const results = report.testResults.flatMap(
        (/** @type {{ assertionResults: object[] }} */ r) => r.assertionResults,
      );
      process.stderr.write(`${output}\n${results.flatMap((/** @type {any} */ r) => r.failureMessages).join("\n")}\n`);
    }
    return { passed: report.numPassedTests, failed, skipped: report.numPendingTests };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** @param {readonly string[]} [wanted] */
export async function sanitize(wanted = sanitizers) {
  const total = { ...none };
  // The thread sanitizer of older compilers cannot place its memory where addresses are very random.
  const wrapper = (await has("setarch", "-R")) ? ["setarch", "-R"] : [];
  for (const sanitizer of wanted) {
    const start = performance.now();
    const name = `sanitize-${sanitizer.split(",")[0]}`;
    const addon = sanitizer.startsWith("address");
    const add = (/** @type {string} */ what, /** @type {import("./lib/native-tests.mjs").Counts} */ counts) => {
      process.stdout.write(`${what}: ${counts.passed} passed, ${counts.failed} failed (${since(start)})\n`);
      total.passed += counts.passed;
      total.failed += counts.failed;
      total.skipped += counts.skipped;
      return counts.failed === 0;
    };
    if (!(await linkable(sanitizer))) {
      add(name, skip(`the compiler has no libraries for -fsanitize=${sanitizer}`));
      continue;
    }
    const counts = await nativeTests(name, {
      define: [`PRISMREC_SANITIZE=${sanitizer}`, ...(addon ? [nodeHeaders()] : [])],
      env: { PRISMREC_TEST_REDUCED: "1", PRISMREC_THREADS: "4" },
      wrapper,
      jobs: availableParallelism(),
    });
    if (add(name, counts) && addon) {
      add(`${name}, addon`, await addonTests(join(root, `native/build/${name}/prismrec_native.node`)));
    }
  }
  return total;
}

await main(import.meta.url, () => sanitize(process.argv.length > 2 ? process.argv.slice(2) : sanitizers));
