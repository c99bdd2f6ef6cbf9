// Builds the addon; without a C++ compiler or CMake it says so and leaves the TypeScript references in charge.
// PRISMREC_REQUIRE_NATIVE=1 (set by CI) makes a missing toolchain or a failed build an error; PRISMREC_CUDA=1 builds the
// CUDA library too.
import { join } from "node:path";
import { has, root, run } from "./lib/run.mjs";

const required = process.env.PRISMREC_REQUIRE_NATIVE === "1";

/** @param {string} reason */
function giveUp(reason) {
  process.stderr.write(
    `notice: the native addon was not built (${reason}); prismrec runs on its TypeScript references, far slower. ` +
      "Install a C++17 compiler and CMake 3.20 or newer, then run: npm run build -w native\n",
  );
  process.exitCode = required ? 4 : 0;
}

const compilers = process.platform === "win32" ? [] : [process.env.CXX ?? "c++", "g++", "clang++"];
const compiler = process.platform === "win32" || (await Promise.all(compilers.map((name) => has(name)))).some(Boolean);
if (!(await has("cmake"))) giveUp("CMake was not found");
else if (!compiler) giveUp("no C++ compiler was found");
else {
  const { code, output } = await run("npx", ["cmake-js", "build", "--silent", ...process.argv.slice(2)], {
    cwd: join(root, "native"),
  });
  if (code !== 0) {
    process.stderr.write(output);
    giveUp(`the build failed with exit ${code}, see above`);
  } else if (process.env.PRISMREC_CUDA === "1") {
    const cuda = await run("node", ["tools/build-cuda.mjs"], { echo: true });
    if (cuda.code !== 0) process.exitCode = cuda.code;
  }
}
