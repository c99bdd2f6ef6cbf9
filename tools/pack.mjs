// Packs what is built here for an install elsewhere, this platform's addon in it: npm run pack -- FOLDER
import { mkdir } from "node:fs/promises";
import { resolve } from "node:path";
import { packInto } from "./lib/packed.mjs";

const [folder] = process.argv.slice(2);
if (folder === undefined) {
  process.stderr.write("Usage: npm run pack -- FOLDER\n");
  process.exitCode = 2;
} else {
  const dir = resolve(folder);
  await mkdir(dir, { recursive: true });
  for (const { tarball } of await packInto(dir)) process.stdout.write(`${tarball}\n`);
}
