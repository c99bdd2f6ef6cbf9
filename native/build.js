#!/usr/bin/env node
// Builds the addon from its sources, in the workspace and in an installed package alike; downloads nothing.
//   node build.js [-DNAME=VALUE ...]      options are CMake's
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);

/** What a build needs of the machine, for messages. */
export const BUILD_TOOLS = "CMake 3.20 or newer, GCC or Clang with C++17, and make or ninja";

/** @param {string} command */
const has = (command) => spawnSync(command, ["--version"], { stdio: "ignore" }).status === 0;

/** The tool that is missing here, or undefined. */
function missingTool() {
  if (process.platform === "win32") return "a supported platform: Windows is not (use WSL)";
  if (!has("cmake")) return "CMake";
  if (![process.env.CXX ?? "c++", "g++", "clang++"].some(has)) return "a C++ compiler";
  if (!has("ninja") && !has("make")) return "make or ninja";
  return undefined;
}

/**
 * @param {string[]} args
 * @param {boolean} echo
 * @returns {Promise<{ code: number, output: string }>}
 */
function cmake(args, echo) {
  return new Promise((resolve, reject) => {
    const child = spawn("cmake", args, { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        output += text;
        if (echo) process.stderr.write(text);
      });
    }
    child.on("error", reject);
    child.on("close", (code) => resolve({ code: code ?? 1, output }));
  });
}

/**
 * Builds `build/Release/prismrec_native.node`, which is loaded before a prebuilt addon.
 *
 * @param {{ options?: string[], echo?: boolean }} [settings] options: for CMake; echo: its output on stderr as it comes
 * @returns {Promise<{ built: boolean, reason?: string, output: string }>} `reason`: why it was not built
 */
export async function buildAddon({ options = [], echo = false } = {}) {
  const missing = missingTool();
  if (missing !== undefined) return { built: false, reason: `${missing} was not found`, output: "" };
  const build = join(here, "build");
  const headers = [
    join(dirname(require.resolve("node-api-headers/package.json")), "include"),
    dirname(require.resolve("node-addon-api/package.json")),
  ];
  const configured = existsSync(join(build, "CMakeCache.txt"));
  const steps = [
    [
      ...["-S", here, "-B", build],
      // A folder that is set up keeps its generator: CMake refuses another.
      ...(configured || !has("ninja") ? [] : ["-G", "Ninja"]),
      "-DCMAKE_BUILD_TYPE=Release",
      `-DCMAKE_LIBRARY_OUTPUT_DIRECTORY=${join(build, "Release")}`,
      `-DPRISMREC_NODE_HEADERS=${headers.join(";")}`,
      ...options,
    ],
    ["--build", build, "--parallel", String(availableParallelism())],
  ];
  for (const args of steps) {
    const { code, output } = await cmake(args, echo);
    if (code !== 0) return { built: false, reason: `the build failed with exit ${code}, see above`, output };
  }
  return { built: true, output: "" };
}

// No await here: what requires the package cannot wait for a module.
if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  buildAddon({ options: process.argv.slice(2), echo: true }).then(({ built, reason }) => {
    if (built) return;
    process.stderr.write(`The addon was not built: ${reason}. A build needs ${BUILD_TOOLS}.\n`);
    process.exitCode = 4;
  });
}
