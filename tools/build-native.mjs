// Builds the addon; without a C++ compiler or CMake it says so and leaves the TypeScript references in charge.
// PRISMREC_REQUIRE_NATIVE=1 (set by CI) makes a missing toolchain or a failed build an error; PRISMREC_CUDA=1 builds the
// CUDA library too.
import { BUILD_TOOLS, buildAddon } from "../native/build.js";
import { run } from "./lib/run.mjs";

const { built, reason, output } = await buildAddon({ options: process.argv.slice(2) });
if (!built) {
  process.stderr.write(
    `${output}notice: the native addon was not built (${reason}); prismrec runs on its TypeScript references, far slower. ` +
      `Install ${BUILD_TOOLS}, then run: npm run build -w native\n`,
  );
  process.exitCode = process.env.PRISMREC_REQUIRE_NATIVE === "1" ? 4 : 0;
} else if (process.env.PRISMREC_CUDA === "1") {
  const cuda = await run("node", ["tools/build-cuda.mjs"], { echo: true });
  if (cuda.code !== 0) process.exitCode = cuda.code;
}
