// The C++ tests, a reduced set, under the compiler's sanitizers: addresses and undefined behaviour, then data races.
//   node tools/sanitize.mjs [address,undefined | thread]
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { main, nativeTests, none, skip } from "./lib/native-tests.mjs";
import { has, run, since } from "./lib/run.mjs";

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

/** @param {readonly string[]} [wanted] */
export async function sanitize(wanted = sanitizers) {
  const total = { ...none };
  // The thread sanitizer of older compilers cannot place its memory where addresses are very random.
  const wrapper = (await has("setarch", "-R")) ? ["setarch", "-R"] : [];
  for (const sanitizer of wanted) {
    const start = performance.now();
    const name = `sanitize-${sanitizer.split(",")[0]}`;
    const counts = (await linkable(sanitizer))
      ? await nativeTests(name, {
          define: [`PRISMREC_SANITIZE=${sanitizer}`],
          env: { PRISMREC_TEST_REDUCED: "1", PRISMREC_THREADS: "4" },
          wrapper,
          jobs: availableParallelism(),
        })
      : skip(`the compiler has no libraries for -fsanitize=${sanitizer}`);
    process.stdout.write(`${name}: ${counts.passed} passed, ${counts.failed} failed (${since(start)})\n`);
    total.passed += counts.passed;
    total.failed += counts.failed;
    total.skipped += counts.skipped;
  }
  return total;
}

await main(import.meta.url, () => sanitize(process.argv.length > 2 ? process.argv.slice(2) : sanitizers));
