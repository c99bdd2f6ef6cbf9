// Puts the addon that is built here among the prebuilt ones that the package carries, one a platform:
//   npm run prebuilt -w native                native/prebuilds/linux-x64/prismrec_native.glibc.node
//   npm run prepublishOnly -w native          fails where a platform's is missing
// One serves every Node: the addon speaks Node-API, and the C++ runtime is linked in.
import { existsSync } from "node:fs";
import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { root, run } from "./lib/run.mjs";

/** What a published package carries; .github/workflows/prebuild.yml builds each. */
const PLATFORMS = ["linux-x64", "linux-arm64", "darwin-arm64", "darwin-x64"];
const folder = join(root, "native", "prebuilds");

/** @param {string} platform */
const fileOf = (platform) =>
  join(folder, platform, `prismrec_native${platform.startsWith("linux") ? ".glibc" : ""}.node`);

/** Copies what is built here, without its symbols, and loads the copy. @returns {Promise<string>} its path */
export async function prebuild() {
  const built = join(root, "native", "build", "Release", "prismrec_native.node");
  if (!existsSync(built)) throw new Error("there is no addon to copy: npm run build -w native");
  const target = fileOf(`${process.platform}-${process.arch}`);
  await mkdir(join(target, ".."), { recursive: true });
  await copyFile(built, target);
  const { code, output } = await run("strip", [process.platform === "darwin" ? "-x" : "--strip-unneeded", target]);
  if (code !== 0) throw new Error(output);
  const program = "console.log(require(process.argv[1]).runtimeInfo().compiler)";
  const loaded = await run(process.execPath, ["-e", program, target]);
  if (loaded.code !== 0) throw new Error(loaded.output);
  return target;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  try {
    if (process.argv.includes("--check")) {
      const missing = PLATFORMS.filter((platform) => !existsSync(fileOf(platform)));
      if (missing.length > 0) throw new Error(`no prebuilt addon for ${missing.join(", ")} in ${folder}`);
    } else process.stdout.write(`${await prebuild()}\n`);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
    process.exitCode = 4;
  }
}
