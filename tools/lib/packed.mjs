// The packages as a user gets them: packed, unpacked into an empty folder, everything else from this repository's own
// node_modules.
import { mkdir, mkdtemp, readdir, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root, run } from "./run.mjs";

/** Names of the workspaces that are packed, and where their folders are. */
const PACKAGES = new Map([
  ["@prismrec/native", "native"],
  ["@prismrec/core", "packages/core"],
  ["@prismrec/llm", "packages/llm"],
  ["@prismrec/trainer", "packages/trainer"],
  ["@prismrec/service", "packages/service"],
  ["prismrec", "packages/cli"],
]);

/**
 * An empty folder whose node_modules holds the packed packages.
 *
 * @returns {Promise<{ dir: string, files: Map<string, string[]>, remove(): Promise<void> }>} `files`: of each tarball
 */
export async function packedFolder() {
  const dir = await mkdtemp(join(tmpdir(), "prismrec-packed-"));
  const modules = join(dir, "node_modules");
  await mkdir(join(modules, "@prismrec"), { recursive: true });
  const files = new Map();
  for (const [name, folder] of PACKAGES) {
    const packed = await run("npm", ["pack", "--json", "--silent", "--ignore-scripts", "--pack-destination", dir], {
      cwd: join(root, folder),
    });
    if (packed.code !== 0) throw new Error(`npm pack of ${name} failed:\n${packed.output}`);
    const [described] = JSON.parse(packed.output.slice(packed.output.indexOf("[\n")));
    files.set(
      name,
      described.files.map((/** @type {{ path: string }} */ { path }) => path),
    );
    const target = join(modules, name);
    await mkdir(target, { recursive: true });
    const unpacked = await run("tar", ["-xzf", join(dir, described.filename), "-C", target, "--strip-components=1"]);
    if (unpacked.code !== 0) throw new Error(unpacked.output);
  }
  await linkOthers(join(root, "node_modules"), modules);
  return { dir, files, remove: () => rm(dir, { recursive: true, force: true }) };
}

/** @param {string} from @param {string} to */
async function linkOthers(from, to) {
  for (const name of await readdir(from)) {
    if (name.startsWith(".") || PACKAGES.has(name) || name === "@prismrec") continue;
    if (name.startsWith("@")) {
      await mkdir(join(to, name), { recursive: true });
      for (const scoped of await readdir(join(from, name))) {
        await symlink(join(from, name, scoped), join(to, name, scoped));
      }
    } else {
      await symlink(join(from, name), join(to, name));
    }
  }
}
