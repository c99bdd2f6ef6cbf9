import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { expect, it } from "vitest";
import { RunDirectory } from "./run-directory.js";

const built = resolve(dirname(fileURLToPath(import.meta.url)), "../../../dist/pipeline/run-directory/run-directory.js");

/** Runs three stages, each of which appends to a log in ten steps and goes on from what an earlier attempt has done. */
const program = `
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
const { RunDirectory } = await import(process.argv[1]);
const run = await RunDirectory.open(process.argv[2]);
let input = "start";
for (const name of ["one", "two", "three"]) {
  const { manifest } = await run.stage(name, { inputs: { input }, config: {} }, async (dir) => {
    const log = join(dir, "log");
    const done = existsSync(log) ? readFileSync(log, "utf8").length : 0;
    for (let step = done; step < 10; step++) {
      appendFileSync(log, String(step));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  });
  input = manifest.fingerprint;
}
await run.close();
`;

it.skipIf(!existsSync(built))(
  `a run killed again and again at any point ends as if it had never been${existsSync(built) ? "" : " (needs the built package)"}`,
  async () => {
    const dir = await mkdtemp(join(tmpdir(), "prismrec-kill-"));
    try {
      let kills = 0;
      for (let delay = 150; ; delay += 75) {
        const child = spawn(process.execPath, ["--input-type=module", "-e", program, pathToFileURL(built).href, dir]);
        const exit = once(child, "exit");
        const ended = await Promise.race([exit, sleep(delay)]);
        if (ended === undefined) {
          child.kill("SIGKILL");
          kills++;
        }
        const [code] = await exit;
        if (code === 0) break;
        expect(child.signalCode).toBe("SIGKILL");
      }
      expect(kills).toBeGreaterThan(0);
      await using run = await RunDirectory.open(dir);
      for (const name of ["one", "two", "three"]) {
        const { dir: stage } = await run.requireStage(name);
        expect(await readFile(join(stage, "log"), "utf8")).toBe("0123456789");
      }
      const left = (await readdir(dir)).filter((name) => name.startsWith(".") && !name.startsWith(".lock"));
      expect(left).toEqual([]);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  },
);
