// Runs one of benchmarks/proofs (those in TypeScript built before): what is shown once and committed as a table.
// Usage: npm run proof -- NAME
import { readdirSync } from "node:fs";
import { join, parse } from "node:path";
import { pathToFileURL } from "node:url";
import { root } from "./lib/run.mjs";

const folder = join(root, "benchmarks", "proofs");
/** Where each is run from, by name. */
const proofs = new Map(
  readdirSync(folder).map((file) => {
    const { name, ext } = parse(file);
    return [name, ext === ".ts" ? join(root, "benchmarks", "dist", "proofs", `${name}.js`) : join(folder, file)];
  }),
);
const path = proofs.get(process.argv[2] ?? "");
if (path === undefined) {
  process.stderr.write(`Usage: npm run proof -- NAME, one of: ${[...proofs.keys()].join(", ")}\n`);
  process.exitCode = 2;
} else {
  await import(pathToFileURL(path).href);
}
