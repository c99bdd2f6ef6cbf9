// Where nvcc and compute-sanitizer come from: the machine's own, else Python's packages in a folder of the project.
import { existsSync, readdirSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { has, root, run } from "./run.mjs";

// One release, so that register counts can be compared with committed limits.
const VERSION = "13.5.37";
const PACKAGES = [
  ...["nvcc", "crt", "runtime", "cuobjdump", "nvdisasm"].map((name) => `nvidia-cuda-${name}==${VERSION}`),
  `nvidia-nvvm==${VERSION}`,
  "nvidia-cuda-cccl",
];
const SANITIZER = "nvidia-cuda-sanitizer-api==13.5.25";
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

/** A program that an earlier call put into the project's folder. @param {string} name @returns {string | undefined} */
function ownProgram(name) {
  const lib = join(FOLDER, "lib");
  if (!existsSync(lib)) return undefined;
  const places = readdirSync(lib).map((python) => join(lib, python, "site-packages", "nvidia", "cu13", "bin", name));
  return places.find((place) => existsSync(place));
}

/** @param {readonly string[]} packages */
async function install(packages) {
  const pip = join(FOLDER, "bin", "pip");
  for (const [command, args] of /** @type {[string, string[]][]} */ ([
    ...(existsSync(pip) ? [] : [["python3", ["-m", "venv", FOLDER]]]),
    [pip, ["install", "--quiet", ...packages]],
  ])) {
    const { code, output } = await run(command, args);
    if (code !== 0) throw new Error(`${command} ${args.join(" ")} failed (exit ${code})\n${output}`);
  }
}

/**
 * The pinned toolchain, fetched from PyPI where it is not there yet (400 MB, some 15 s; needs python3 with venv).
 * @returns {Promise<CudaToolchain>}
 */
export async function pinnedToolchain() {
  if (ownProgram("nvcc") === undefined || ownProgram("nvdisasm") === undefined) {
    process.stderr.write("Fetching nvcc from PyPI …\n");
    await install(PACKAGES);
  }
  const nvcc = ownProgram("nvcc");
  if (nvcc === undefined) throw new Error(`${FOLDER} holds no nvcc after pip's success`);
  return { nvcc, bin: dirname(nvcc), own: true };
}

/**
 * compute-sanitizer of the machine, else fetched from PyPI (18 MB).
 * @returns {Promise<string>} a program that runs, if only to say its version; throws where there is none
 */
export async function computeSanitizer() {
  if (await has("compute-sanitizer")) return "compute-sanitizer";
  if (ownProgram("compute-sanitizer") === undefined) {
    process.stderr.write("Fetching compute-sanitizer from PyPI …\n");
    await install([SANITIZER]);
  }
  const program = ownProgram("compute-sanitizer");
  if (program === undefined) throw new Error(`${FOLDER} holds no compute-sanitizer after pip's success`);
  if (!(await has(program))) throw new Error(`${program} --version fails`);
  return program;
}
