import { execFile } from "node:child_process";
import { mkdtemp, open, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { spoolIfPipe } from "./spool.js";

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "prismrec-spool-test-"));
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await rm(dir, { recursive: true, force: true });
});

/** A FIFO of that name in a folder of its own, which also takes the temporary files. */
async function fifo(name: string): Promise<{ path: string; temporary: string }> {
  const path = join(dir, name);
  await promisify(execFile)("mkfifo", [path]);
  const temporary = await mkdtemp(join(dir, "tmp-"));
  vi.stubEnv("TMPDIR", temporary);
  return { path, temporary };
}

describe.skipIf(process.platform === "win32")("spoolIfPipe", () => {
  it("leaves a regular file where it is", async () => {
    const path = join(dir, "plain.csv");
    await writeFile(path, "user,item\n");
    {
      await using file = await spoolIfPipe(path);
      expect(file.path).toBe(path);
    }
    expect(await readFile(path, "utf8")).toBe("user,item\n");
  });

  it("copies a pipe's bytes into a file that can be read twice, and removes it", async () => {
    const { path, temporary } = await fifo("pipe");
    const content = "user,item\n".repeat(50_000);
    const writing = writeFile(path, content);
    {
      await using file = await spoolIfPipe(path);
      await writing;
      expect(await readFile(file.path, "utf8")).toBe(content);
      expect(await readFile(file.path, "utf8")).toBe(content);
      expect(dirname(dirname(file.path))).toBe(temporary);
    }
    expect(await readdir(temporary)).toEqual([]);
  });

  it("leaves nothing after an abort, and answers with its reason", async () => {
    const { path, temporary } = await fifo("endless");
    const writer = open(path, "w");
    const stop = new AbortController();
    const reason = new Error("enough");
    const spooled = spoolIfPipe(path, stop.signal);
    const handle = await writer;
    await handle.write("user,item\n");
    stop.abort(reason);
    await expect(spooled).rejects.toBe(reason);
    await handle.close();
    expect(await readdir(temporary)).toEqual([]);
  });

  it("is not held up by a pipe that nobody writes to", async () => {
    const { path, temporary } = await fifo("silent");
    const stop = new AbortController();
    const reason = new Error("enough");
    const spooled = spoolIfPipe(path, stop.signal);
    setTimeout(() => stop.abort(reason), 50);
    await expect(spooled).rejects.toBe(reason);
    expect(await readdir(temporary)).toEqual([]);
  });

  it("answers a missing file with a typed error", async () => {
    await expect(spoolIfPipe(join(dir, "absent"))).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
  });
});
