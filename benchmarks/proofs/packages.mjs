// Proof that the packed packages install and work under every Node that is supported: a folder of its own for each, npm run
// by that Node, the prebuilt addon, no llama.cpp; a model is trained, kept, opened again and asked. Writes
// results/packages.csv; exits with 1 where one does not work. Gets Node's binaries from npm (185 MB each).
// Usage: npm run proof -- packages [VERSION ...]        default: 20 22 24
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { install, packInto } from "../../tools/lib/packed.mjs";
import { root, run, since } from "../../tools/lib/run.mjs";

const PROGRAM = `
import { native } from "@prismrec/core/ops";
import { fit, open } from "prismrec";
const shelves = ["crime", "space", "garden", "history"];
const items = shelves.flatMap((shelf) =>
  Array.from({ length: 12 }, (_, n) => ({ id: shelf + "-" + n, title: shelf + " " + n, categories: [shelf] })));
const interactions = Array.from({ length: 200 }, (_, u) => Array.from({ length: 8 }, (_, n) => ({
  user: "u" + u, item: shelves[(u + (n % 2)) % 4] + "-" + ((u + 5 * n) % 12), time: 1000 * u + n }))).flat();
const shop = await fit({ interactions, items }, { llm: "none", dir: "run", settings: { train: { stopping: { epochs: 5 } } } });
const before = await shop.recommend("u7", { k: 5 });
await shop.close();
const again = await open("run");
const after = await again.recommend("u7", { k: 5 });
await again.close();
const [{ id, because }] = after.items;
const addon = process.report.getReport().sharedObjects.find((path) => path.includes("prismrec_native"));
console.log(JSON.stringify({
  node: process.version,
  addon: native() !== undefined && addon?.includes("prebuilds") === true,
  trained: JSON.stringify(before) === JSON.stringify(after) && because.length > 0 ? id : "",
}));
`;

const versions = process.argv.slice(3);
const folder = await mkdtemp(join(tmpdir(), "prismrec-nodes-"));
const rows = ["node,platform,install_seconds,megabytes,addon_loaded,first_item,program_seconds"];
let failed = false;
try {
  const tarballs = (await packInto(folder)).map(({ tarball }) => tarball);
  for (const version of versions.length > 0 ? versions : ["20", "22", "24"]) {
    const [interpreter, user] = [join(folder, `node-${version}`), join(folder, `user-${version}`)];
    await mkdir(interpreter);
    await mkdir(user);
    await install(interpreter, [`node@${version}`]);
    const node = join(interpreter, "node_modules/node/bin/node");
    const { seconds, megabytes } = await install(user, tarballs, node);
    await writeFile(join(user, "program.mjs"), PROGRAM);
    const start = performance.now();
    const { code, output } = await run(node, ["--no-warnings", "program.mjs"], { cwd: user });
    if (code !== 0) throw new Error(output);
    const found = JSON.parse(output.trim().split("\n").at(-1) ?? "");
    const { packages } = JSON.parse(await readFile(join(user, "package-lock.json"), "utf8"));
    const alone = packages["node_modules/node-llama-cpp"] === undefined;
    failed ||= !found.addon || found.trained === "" || !found.node.startsWith(`v${version}`) || !alone;
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
