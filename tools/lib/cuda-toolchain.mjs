// Where nvcc comes from: the machine's own, else Python's packages in a folder of the project.
import { existsSync, readdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import { root, run } from "./run.mjs";

// One release, so that register counts can be compared with committed limits.
const VERSION = "13.5.37";
const PACKAGES = [
  ...["nvcc", "crt", "runtime", "cuobjdump", "nvdisasm"].map((name) => `nvidia-cuda-${name}==${VERSION}`),
  `nvidia-nvvm==${VERSION}`,
  "nvidia-cuda-cccl",
];
const FOLDER = join(root, "native", "build", "cuda-toolchain");

/** @typedef {{ nvcc: string, bin: string, own: boolean }} CudaToolchain bin: its other programs; own: installed here */

/** The toolkit that is installed on the machine. @returns {CudaToolchain | undefined} */
export function installedToolchain() {
  const { CUDA_HOME, CUDA_PATH, PATH = "" } = process.env;
  const homes = [CUDA_HOME, CUDA_PATH, "/usr/local/cuda"].filter((home) => home !== undefined && home !== "");
  for (const bin of [...homes.map((home) => join(String(home), "bin")), ...PATH.split(delimiter)]) {
    const nvcc = join(bin, "nvcc");
    if (existsSync(nvcc)) return { nvcc, bin, own: false };
  }
  return undefined;
}

/** What an earlier call put into the project's folder. @returns {CudaToolchain | undefined} */
function ownToolchain() {
  const lib = join(FOLDER, "lib");
  if (!existsSync(lib)) return undefined;
  for (const python of readdirSync(lib)) {
    const bin = join(lib, python, "site-packages", "nvidia", "cu13", "bin");
    if (existsSync(join(bin, "nvcc")) && existsSync(join(bin, "nvdisasm"))) {
      return { nvcc: join(bin, "nvcc"), bin, own: true };
    }
  }
  return undefined;
}

/**
 * The pinned toolchain, fetched from PyPI where it is not there yet (400 MB, some 15 s; needs python3 with venv).
 * @returns {Promise<CudaToolchain>}
 */
export async function pinnedToolchain() {
  const before = ownToolchain();
  if (before !== undefined) return before;
  process.stderr.write("Fetching nvcc from PyPI …\n");
  const pip = join(FOLDER, "bin", "pip");
  for (const [command, args] of /** @type {[string, string[]][]} */ ([
    ["python3", ["-m", "venv", FOLDER]],
    [pip, ["install", "--quiet", ...PACKAGES]],
  ])) {
    const { code, output } = await run(command, args);
    if (code !== 0) throw new Error(`${command} ${args.join(" ")} failed (exit ${code})\n${output}`);
  }
  const after = ownToolchain();
  if (after === undefined) throw new Error(`${FOLDER} holds no nvcc after pip's success`);
  return after;
}
