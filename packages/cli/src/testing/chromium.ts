import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { type Browser, chromium } from "playwright-core";

const NAMES = ["chromium", "chromium-browser", "google-chrome"];

/** A browser of this machine: nothing is downloaded. */
function executable(): string | undefined {
  const named = process.env.PRISMREC_CHROMIUM;
  if (named !== undefined) return named;
  const folders = (process.env.PATH ?? "").split(delimiter);
  return folders.flatMap((folder) => NAMES.map((name) => join(folder, name))).find((path) => existsSync(path));
}

/** Why there is no browser to look with, for the name of what is skipped; undefined: there is one. */
export const noChromium =
  executable() === undefined ? "needs Chromium: Debian's chromium, or a browser named by PRISMREC_CHROMIUM" : undefined;

export function startChromium(): Promise<Browser> {
  // Root has no sandbox.
  return chromium.launch({ executablePath: executable()!, chromiumSandbox: process.getuid?.() !== 0 });
}
