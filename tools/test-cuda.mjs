// The native tests on a real GPU: the same tests, with the CUDA library of `npm run build:cuda`, and those of the
// intrinsics, compiled for it; then the reduced set under each tool of compute-sanitizer.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { loadBinding } from "@prismrec/native";
import { compileCuda } from "./build-cuda.mjs";
import { computeSanitizer, installedToolchain, pinnedToolchain } from "./lib/cuda-toolchain.mjs";
import { main, nativeTests, none, passedAndFailed, skip } from "./lib/native-tests.mjs";
import { root, run } from "./lib/run.mjs";

async function cudaTests() {
  const library = join(root, "native", "build", "Release", "prismrec_cuda.so");
  if (!existsSync(library)) return skip("there is no CUDA library; npm run build:cuda makes it");
  const info = loadBinding().cudaInfo();
  if (!info.usable) return skip(`no GPU can be used: ${info.reason}`);
  for (const { name, capability } of info.devices) process.stdout.write(`device: ${name}, sm_${capability}\n`);
  const env = { PRISMREC_CUDA_LIBRARY: library, PRISMREC_VARIANTS: "cuda" };
  const only = "^(contrastive_loss|softmax_loss|similarity_search|max_cover|dynamic_routing)(_fuzz)?_test$";
  const toolchain = installedToolchain() ?? (await pinnedToolchain());
  const { folder } = await compileCuda(toolchain, {
    name: "cuda-test",
    architectures: [...new Set(info.devices.map(({ capability }) => `${capability}-real`))].join(";"),
    targets: ["cuda_intrinsics_test"],
  });
  const intrinsics = async (/** @type {string[]} */ wrapper) => {
    const [command = "", ...args] = [...wrapper, join(folder, "cuda_intrinsics_test")];
    const { code, output } = await run(command, args);
    const counts = passedAndFailed(output, code);
    if (counts.failed > 0) process.stderr.write(output);
    return counts;
  };
  const runs = [await intrinsics([]), await nativeTests("test", { env, only })];
  const sanitizer = await computeSanitizer();
  for (const tool of ["memcheck", "racecheck", "initcheck", "synccheck"]) {
    const wrapper = [sanitizer, "--tool", tool, "--target-processes", "all", "--error-exitcode", "1"];
    const reduced = { ...env, PRISMREC_TEST_REDUCED: "1" };
    for (const counts of [await intrinsics(wrapper), await nativeTests("test", { env: reduced, only, wrapper })]) {
      process.stdout.write(`compute-sanitizer ${tool}: ${counts.passed} passed, ${counts.failed} failed\n`);
      runs.push(counts);
    }
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
