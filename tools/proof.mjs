// Runs one of benchmarks/proofs (built before): what is shown once against another implementation and committed as a
// table. Usage: npm run proof -- NAME
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { root } from "./lib/run.mjs";

const names = readdirSync(join(root, "benchmarks", "proofs"))
  .filter((file) => file.endsWith(".ts"))
  .map((file) => file.slice(0, -".ts".length));
const name = process.argv[2];
if (name === undefined || !names.includes(name)) {
  process.stderr.write(`Usage: npm run proof -- NAME, one of: ${names.join(", ")}\n`);
  process.exitCode = 2;
} else {
  await import(pathToFileURL(join(root, "benchmarks", "dist", "proofs", `${name}.js`)).href);
}
