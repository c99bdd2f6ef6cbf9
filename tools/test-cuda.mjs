// The native tests on a real GPU: the same tests, with the CUDA library of `npm run build:cuda`; then the reduced set
// under each tool of compute-sanitizer.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { loadBinding } from "@prismrec/native";
import { computeSanitizer } from "./lib/cuda-toolchain.mjs";
import { main, nativeTests, none, skip } from "./lib/native-tests.mjs";
import { root } from "./lib/run.mjs";

async function cudaTests() {
  const library = join(root, "native", "build", "Release", "prismrec_cuda.so");
  if (!existsSync(library)) return skip("there is no CUDA library; npm run build:cuda makes it");
  const info = loadBinding().cudaInfo();
  if (!info.usable) return skip(`no GPU can be used: ${info.reason}`);
  for (const { name, capability } of info.devices) process.stdout.write(`device: ${name}, sm_${capability}\n`);
  const env = { PRISMREC_CUDA_LIBRARY: library, PRISMREC_VARIANTS: "cuda" };
  const only = "^(contrastive_loss|softmax_loss|similarity_search|max_cover|dynamic_routing)(_fuzz)?_test$";
  const runs = [await nativeTests("test", { env, only })];
  const sanitizer = await computeSanitizer();
  for (const tool of ["memcheck", "racecheck", "initcheck", "synccheck"]) {
    const wrapper = [sanitizer, "--tool", tool, "--target-processes", "all", "--error-exitcode", "1"];
    const reduced = { ...env, PRISMREC_TEST_REDUCED: "1" };
    const counts = await nativeTests("test", { env: reduced, only, wrapper });
    process.stdout.write(`compute-sanitizer ${tool}: ${counts.passed} passed, ${counts.failed} failed\n`);
    runs.push(counts);
  }
  return runs.reduce(
    (sum, { passed, failed, skipped }) => ({
      passed: sum.passed + passed,
      failed: sum.failed + failed,
      skipped: sum.skipped + skipped,
    }),
    none,
  );
}

await main(import.meta.url, cudaTests);
