import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

/** The repository's root folder. */
export const root = fileURLToPath(new URL("../../", import.meta.url));

/**
 * Runs a program to its end and returns what it printed; rejects only when it cannot be started.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, echo?: boolean }} [options] echo: pass the output on as it comes
 * @returns {Promise<{ code: number, output: string }>}
 */
export function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: options.cwd ?? root,
      env: { ...process.env, ...options.env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        output += text;
        if (options.echo) process.stderr.write(text);
      });
    }
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code: code ?? (signal ? 128 : 1), output }));
  });
}

/**
 * Whether a program is on the PATH.
 * @param {string} command
 * @param {string} [flag]
 */
export async function has(command, flag = "--version") {
  try {
    return (await run(command, [flag])).code === 0;
  } catch {
    return false;
  }
}

/** Seconds since `start` (from performance.now()), for people. @param {number} start */
export const since = (start) => `${((performance.now() - start) / 1000).toFixed(1)} s`;
