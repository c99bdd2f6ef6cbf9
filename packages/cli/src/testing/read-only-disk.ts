import { existsSync } from "node:fs";
import files from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { resolve, sep } from "node:path";

/**
 * Preloaded into a process (`node --import`), makes the folder named by READ_ONLY_DISK one of a disk that takes no
 * writes: what a mounted image does, for tests that may mount nothing.
 */
const root = process.env.READ_ONLY_DISK;
if (root === undefined) throw new Error("READ_ONLY_DISK names no folder");

function refuse(path: unknown, operation: string): void {
  if (typeof path !== "string") return;
  const full = resolve(path);
  if (full !== root && !full.startsWith(`${root}${sep}`)) return;
  const error = new Error(`EROFS: read-only file system, ${operation} '${full}'`);
  throw Object.assign(error, { code: "EROFS", errno: -30, syscall: operation, path: full });
}

const { appendFile, copyFile, cp, link, mkdir, open, rename, rm, unlink, writeFile } = files;
const isWriting = (flags: unknown): boolean => typeof flags === "string" && /[wa+]/.test(flags);

Object.assign(files, {
  async appendFile(...args: Parameters<typeof appendFile>) {
    refuse(args[0], "open");
    return appendFile(...args);
  },
  async copyFile(...args: Parameters<typeof copyFile>) {
    refuse(args[1], "copyfile");
    return copyFile(...args);
  },
  async cp(...args: Parameters<typeof cp>) {
    refuse(args[1], "copyfile");
    return cp(...args);
  },
  async link(...args: Parameters<typeof link>) {
    refuse(args[1], "link");
    return link(...args);
  },
  async mkdir(...args: Parameters<typeof mkdir>) {
    // A folder that is there is found before anybody asks whether another could be made.
    if (!existsSync(String(args[0]))) refuse(args[0], "mkdir");
    return mkdir(...args);
  },
  async open(...args: Parameters<typeof open>) {
    if (isWriting(args[1])) refuse(args[0], "open");
    return open(...args);
  },
  async rename(...args: Parameters<typeof rename>) {
    refuse(args[0], "rename");
    refuse(args[1], "rename");
    return rename(...args);
  },
  async rm(...args: Parameters<typeof rm>) {
    if (existsSync(String(args[0]))) refuse(args[0], "rm");
    return rm(...args);
  },
  async unlink(...args: Parameters<typeof unlink>) {
    refuse(args[0], "unlink");
    return unlink(...args);
  },
  async writeFile(...args: Parameters<typeof writeFile>) {
    refuse(args[0], "open");
    return writeFile(...args);
  },
});
syncBuiltinESMExports();
