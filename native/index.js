import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import nodeGypBuild from "node-gyp-build";
import { BUILD_TOOLS } from "./build.js";

const folder = fileURLToPath(new URL(".", import.meta.url));
const platform = `${process.platform}-${process.arch}`;

/**
 * The addon's file: PRISMREC_NATIVE_PATH where it is set, else what was built here (`build/Release`), else the prebuilt
 * one of this platform (`prebuilds`).
 */
function addonPath() {
  const named = process.env.PRISMREC_NATIVE_PATH;
  if (named) return named;
  try {
    return nodeGypBuild.resolve(folder);
  } catch (error) {
    throw new Error(`no addon is built here and none is prebuilt for ${platform}`, { cause: error });
  }
}

/**
 * Loads the addon (`addonPath`).
 * @returns {import("./binding.d.ts").NativeBinding}
 */
export function loadBinding() {
  let path;
  try {
    path = addonPath();
    return createRequire(import.meta.url)(path);
  } catch (error) {
    // The addon's own refusals (a forced instruction set that this machine lacks) say what to do themselves.
    if (error instanceof Error && "code" in error && error.code === "DEVICE_UNAVAILABLE") throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw Object.assign(
      new Error(path === undefined ? reason : `cannot load ${path} on ${platform}: ${reason}`, { cause: error }),
      {
        code: "NATIVE_NOT_FOUND",
        hint: `Build it with: node ${JSON.stringify(`${folder}build.js`)} (needs ${BUILD_TOOLS}).`,
      },
    );
  }
}
