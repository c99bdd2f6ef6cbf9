import { createRequire } from "node:module";
import { PrismrecError } from "@prismrec/core/base";

/** The range of the manifest's peer dependency. */
const VERSION = "^3.22.1";

/** The command that brings llama.cpp. */
export const LLAMA_CPP_INSTALL = `npm install node-llama-cpp@${VERSION}`;

/** Whether node-llama-cpp, an optional peer, is installed beside this package. Loads nothing of it. */
export function llamaCppInstalled(): boolean {
  try {
    createRequire(import.meta.url).resolve("node-llama-cpp");
    return true;
  } catch (error) {
    // It is for `import` alone: a require that finds it is refused in another way.
    return !(error instanceof Error && "code" in error && error.code === "MODULE_NOT_FOUND");
  }
}

/** @throws PrismrecError LLM_ENGINE_MISSING where `llamaCppInstalled` says no */
export function requireLlamaCpp(): void {
  if (llamaCppInstalled()) return;
  throw new PrismrecError("LLM_ENGINE_MISSING", "a GGUF model needs node-llama-cpp, which is not installed", {
    expected: `node-llama-cpp ${VERSION}`,
    received: "none",
    hint: `Install it with: ${LLAMA_CPP_INSTALL}`,
  });
}
