// What a user of the packed packages does: trains a model, opens it again, serves it and asks over HTTP; and the versions of
// Node to do it with.
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { install } from "./packed.mjs";
import { root, run } from "./run.mjs";

/** Every major version of Node that is supported. */
export const NODES = ["20", "22", "24"];

/** A module for a folder with the packages: prints JSON of what it found as its last line. */
export const USE = `
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { rmSync } from "node:fs";
import { native } from "@prismrec/core/ops";
import { fit, open } from "prismrec";
const dir = "run-" + process.version;
rmSync(dir, { recursive: true, force: true });
const shelves = ["crime", "space", "garden", "history"];
const items = shelves.flatMap((shelf) =>
  Array.from({ length: 12 }, (_, n) => ({ id: shelf + "-" + n, title: shelf + " " + n, categories: [shelf] })));
const interactions = Array.from({ length: 200 }, (_, u) => Array.from({ length: 8 }, (_, n) => ({
  user: "u" + u, item: shelves[(u + (n % 2)) % 4] + "-" + ((u + 5 * n) % 12), time: 1000 * u + n }))).flat();
const shop = await fit({ interactions, items }, { llm: "none", dir, settings: { effort: "quick", train: { stopping: { epochs: 5 } } } });
const before = await shop.recommend("u7", { k: 5 });
await shop.close();
const again = await open(dir);
const after = await again.recommend("u7", { k: 5 });
await again.close();
const server = spawn(process.execPath,
  ["--no-warnings", "node_modules/prismrec/bin/prismrec.js", "serve", dir, "--port", "0", "--no-events", "--json"],
  { stdio: ["ignore", "pipe", "inherit"] });
const ended = new Promise((resolve) => server.once("exit", resolve));
const line = await new Promise((resolve, reject) => {
  createInterface(server.stdout).once("line", resolve);
  server.once("exit", (code) => reject(new Error("the service ended before it answered: " + code)));
});
const answer = await fetch(JSON.parse(line).url + "/v1/recommend", {
  method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ user: "u7", k: 5 }) });
const served = await answer.json();
server.kill("SIGTERM");
const ids = (list) => list.items.map(({ id, score }) => id + " " + score).join();
const [{ id, because }] = after.items;
const addon = process.report.getReport().sharedObjects.find((path) => path.includes("prismrec_native"));
console.log(JSON.stringify({
  node: process.version,
  addon: native() !== undefined && addon?.includes("prebuilds") === true,
  trained: JSON.stringify(before) === JSON.stringify(after) && because.length > 0 ? id : "",
  served: answer.status === 200 && ids(served) === ids(after) && (await ended) === 0,
}));
`;

/**
 * A Node of this major version: the one that runs this, or npm's package of it (once, into tools/.nodes; 60 MB to fetch).
 *
 * @param {string} version
 * @returns {Promise<{ node: string } | { missing: string }>} `missing`: why it cannot be had
 */
export async function nodeOf(version) {
  if (process.version.startsWith(`v${version}.`)) return { node: process.execPath };
  const folder = join(root, "tools", ".nodes", version);
  const node = join(folder, "node_modules/node/bin/node");
  if (existsSync(node)) return { node };
  await mkdir(folder, { recursive: true });
  try {
    await install(folder, [`node@${version}`]);
  } catch (error) {
    return { missing: `Node ${version} cannot be fetched: ${String(error).slice(0, 300)}` };
  }
  return existsSync(node) ? { node } : { missing: `npm's package of Node ${version} has no build for this platform` };
}

/**
 * Runs a program there under a Node; what it printed last, read as JSON.
 *
 * @param {string} node
 * @param {string} file
 * @param {string} cwd
 * @param {NodeJS.ProcessEnv} [env]
 */
export async function used(node, file, cwd, env = {}) {
  const { code, output } = await run(node, ["--no-warnings", file], { cwd, env });
  if (code !== 0) throw new Error(output);
  return JSON.parse(output.trim().split("\n").at(-1) ?? "");
}
