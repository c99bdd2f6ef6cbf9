// The C++ tests, a reduced set, compiled for ARM and run on an emulated processor: how NEON is tested elsewhere.
//   node tools/arm.mjs
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { main, nativeTests, none, skip } from "./lib/native-tests.mjs";
import { has, root } from "./lib/run.mjs";

export async function arm() {
  if (process.arch === "arm64") return none; // the ordinary native tests are ARM's
  for (const [program, pack] of [
    ["aarch64-linux-gnu-g++", "g++-aarch64-linux-gnu"],
    ["qemu-aarch64", "qemu-user"],
  ]) {
    if (!(await has(program))) return skip(`NEON needs ${program} (Debian's package ${pack})`);
  }
  return nativeTests("arm", {
    define: [`CMAKE_TOOLCHAIN_FILE=${join(root, "native/test/aarch64.cmake")}`],
    env: { PRISMREC_TEST_REDUCED: "1" },
    jobs: availableParallelism(),
  });
}

await main(import.meta.url, arm);
