import { fileURLToPath } from "node:url";

/** The folder `benchmarks`, from its sources as from what is compiled into `dist`. */
export const benchmarksRoot = fileURLToPath(
  new URL(import.meta.url.includes("/dist/lib/") ? "../../" : "../", import.meta.url),
);
