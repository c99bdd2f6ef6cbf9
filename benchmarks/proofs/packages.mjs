// Proof that the packed packages install and work under every Node that is supported: a folder of its own for each, npm run
// by that Node, the prebuilt addon, no llama.cpp; a model is trained, kept, opened again, asked and served. Writes
// results/packages.csv; exits with 1 where one does not work. The tests do so with one install (tools/packed.test.ts).
// Usage: npm run proof -- packages [VERSION ...]        default: 20 22 24
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { install, packInto } from "../../tools/lib/packed.mjs";
import { NODES, nodeOf, USE, used } from "../../tools/lib/packed-use.mjs";
import { root, since } from "../../tools/lib/run.mjs";

const versions = process.argv.slice(3);
const folder = await mkdtemp(join(tmpdir(), "prismrec-nodes-"));
const rows = ["node,platform,install_seconds,megabytes,addon_loaded,first_item,program_seconds"];
let failed = false;
try {
  const tarballs = (await packInto(folder)).map(({ tarball }) => tarball);
  for (const version of versions.length > 0 ? versions : NODES) {
    const interpreter = await nodeOf(version);
    if ("missing" in interpreter) throw new Error(interpreter.missing);
    const { node } = interpreter;
    const user = join(folder, `user-${version}`);
    await mkdir(user);
    const { seconds, megabytes } = await install(user, tarballs, node);
    await writeFile(join(user, "program.mjs"), USE);
    const start = performance.now();
    const found = await used(node, "program.mjs", user);
    const { packages } = JSON.parse(await readFile(join(user, "package-lock.json"), "utf8"));
    const alone = packages["node_modules/node-llama-cpp"] === undefined;
    failed ||= !found.addon || found.trained === "" || !found.served || !found.node.startsWith(`v${version}`) || !alone;
    const platform = `${process.platform}-${process.arch}`;
    const took = since(start).replace(" s", "");
    rows.push([found.node, platform, seconds.replace(" s", ""), megabytes, found.addon, found.trained, took].join(","));
    process.stdout.write(`${rows.at(-1)}\n`);
  }
  await writeFile(join(root, "benchmarks/results/packages.csv"), `${rows.join("\n")}\n`);
} finally {
  await rm(folder, { recursive: true, force: true });
}
if (failed) process.exitCode = 1;
