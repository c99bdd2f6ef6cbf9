// Builds the CUDA library next to the addon, which opens it at run time:
//   npm run build:cuda [-- --arch 90]     one architecture, or a list such as 80,90; default: all
// Uses the machine's nvcc, else fetches the toolchain from PyPI.
import { copyFile, mkdir, rename } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { installedToolchain, pinnedToolchain } from "./lib/cuda-toolchain.mjs";
import { root, run, since } from "./lib/run.mjs";

/**
 * Compiles kernels in `native/build/<name>`.
 * @param {import("./lib/cuda-toolchain.mjs").CudaToolchain} toolchain
 * @param {{ name: string, architectures?: string, targets?: string[], fresh?: boolean }} options architectures,
 *   targets: CMake's; fresh: what is there is compiled again, so that the compiler prints what it does for all of it
 * @returns {Promise<{ folder: string, output: string }>} where they are, and what the compiler printed; throws where it
 *   failed
 */
export async function compileCuda(toolchain, { name, architectures = "", targets = ["prismrec_cuda"], fresh = false }) {
  const build = join("native", "build", name);
  let printed = "";
  for (const args of [
    [
      ...["-S", "native", "-B", build, "-DCMAKE_BUILD_TYPE=Release", "-DPRISMREC_CUDA=ON"],
      `-DCMAKE_CUDA_COMPILER=${toolchain.nvcc}`,
      `-DCMAKE_CUDA_ARCHITECTURES=${architectures}`,
    ],
    [
      ...["--build", build, "--target", ...targets, ...(fresh ? ["--clean-first"] : [])],
      ...["--parallel", String(availableParallelism()), "--verbose"],
    ],
  ]) {
    const { code, output } = await run("cmake", args);
    if (code !== 0) throw new Error(output);
    printed += output;
  }
  return { folder: join(root, build), output: printed };
}

/** @param {string} list e.g. "80,90" */
const named = (list) =>
  list
    .split(",")
    .map((arch) => `${arch.trim()}-real`)
    .join(";");

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const { values } = parseArgs({ options: { arch: { type: "string" } } });
  const start = performance.now();
  try {
    if (values.arch !== undefined && !/^\d+[af]?(,\d+[af]?)*$/.test(values.arch)) {
      throw new Error(`--arch takes numbers such as 90 or 80,90, not ${values.arch}`);
    }
    const toolchain = installedToolchain() ?? (await pinnedToolchain());
    const { folder: built } = await compileCuda(toolchain, {
      name: "cuda",
      ...(values.arch === undefined ? {} : { architectures: named(values.arch) }),
    });
    const folder = join(root, "native", "build", "Release");
    await mkdir(folder, { recursive: true });
    // A process that has the old one open keeps it.
    await copyFile(join(built, "prismrec_cuda.so"), join(folder, "prismrec_cuda.so.new"));
    await rename(join(folder, "prismrec_cuda.so.new"), join(folder, "prismrec_cuda.so"));
    process.stderr.write(`CUDA library built in ${since(start)}; prismrec doctor says whether it can be used here\n`);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
    process.exitCode = 4;
  }
}
