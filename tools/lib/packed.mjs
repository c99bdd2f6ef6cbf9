// The packages as a user gets them: packed, and installed from the tarballs into an empty folder by npm.
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { prebuild } from "../prebuild.mjs";
import { root, run, since } from "./run.mjs";

/** Folders of the workspaces that are packed: all that are not private. */
async function packedWorkspaces() {
  const folders = ["native", ...(await readdir(join(root, "packages"))).map((name) => `packages/${name}`)];
  const found = [];
  for (const folder of folders) {
    const path = join(root, folder, "package.json");
    if (existsSync(path) && JSON.parse(await readFile(path, "utf8")).private !== true) found.push(folder);
  }
  return found;
}

/**
 * Packs every package into `dir`; the addon that is built here comes along as this platform's prebuilt one.
 *
 * @param {string} dir
 * @returns {Promise<{ name: string, folder: string, tarball: string, files: string[] }[]>}
 */
export async function packInto(dir) {
  if (existsSync(join(root, "native/build/Release/prismrec_native.node"))) await prebuild();
  const folders = await packedWorkspaces();
  const packed = await run("npm", [
    ...["pack", "--json", "--silent", "--ignore-scripts", "--pack-destination", dir],
    ...folders.flatMap((folder) => ["--workspace", folder]),
  ]);
  if (packed.code !== 0) throw new Error(`npm pack failed:\n${packed.output}`);
  /** @type {{ name: string, filename: string, files: { path: string }[] }[]} */
  const described = JSON.parse(packed.output.slice(packed.output.indexOf("[\n")));
  return described.map(({ name, filename, files }, i) => ({
    name,
    folder: folders[i] ?? "",
    tarball: join(dir, filename),
    files: files.map(({ path }) => path),
  }));
}

/**
 * Installs tarballs with the npm of this machine.
 *
 * @param {string} dir gets a package.json where it has none
 * @param {readonly string[]} what tarballs, and names of packages
 * @param {string} [node] the interpreter that npm runs under (default: this one)
 * @returns {Promise<{ seconds: string, megabytes: number }>}
 */
export async function install(dir, what, node = process.execPath) {
  const manifest = join(dir, "package.json");
  if (!existsSync(manifest)) await writeFile(manifest, '{ "private": true }\n');
  const start = performance.now();
  const args = ["install", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error", ...what];
  const path = `${join(node, "..")}:${process.env.PATH}`;
  const { code, output } = await run("npm", args, { cwd: dir, env: { PATH: path } });
  if (code !== 0) throw new Error(`npm install failed:\n${output}`);
  const seconds = since(start);
  const { output: size } = await run("du", ["-sm", "node_modules"], { cwd: dir });
  return { seconds, megabytes: Number.parseInt(size, 10) };
}

/** An empty folder with the packed packages, the types of Node beside them, and nothing else. */
export async function packedFolder() {
  const dir = await mkdtemp(join(tmpdir(), "prismrec-packed-"));
  const packages = await packInto(dir);
  const installed = await install(dir, [...packages.map(({ tarball }) => tarball), "@types/node@20"]);
  return { dir, packages, installed, remove: () => rm(dir, { recursive: true, force: true }) };
}
