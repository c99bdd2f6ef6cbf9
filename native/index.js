import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

/**
 * Loads the addon: PRISMREC_NATIVE_PATH where it is set, else the one that was built here.
 * @returns {import("./binding.d.ts").NativeBinding}
 */
export function loadBinding() {
  const path =
    process.env.PRISMREC_NATIVE_PATH || fileURLToPath(new URL("build/Release/prismrec_native.node", import.meta.url));
  try {
    return createRequire(import.meta.url)(path);
  } catch (error) {
    // The addon's own refusals (a forced instruction set that this machine lacks) say what to do themselves.
    if (error instanceof Error && "code" in error && error.code === "DEVICE_UNAVAILABLE") throw error;
    throw Object.assign(
      new Error(
        `cannot load ${path} on ${process.platform}-${process.arch}: ${error instanceof Error ? error.message : error}`,
        { cause: error },
      ),
      { code: "NATIVE_NOT_FOUND", hint: "Build it with: npm run build -w native" },
    );
  }
}
