import { execFile, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const packageDir = fileURLToPath(new URL("../..", import.meta.url));
export const repositoryRoot = fileURLToPath(new URL("../../../..", import.meta.url));

/** Brings `dist`, which the real program runs from, up to date with the sources. */
export async function buildPackages(): Promise<void> {
  const compiler = fileURLToPath(new URL("node_modules/typescript/bin/tsc", `file://${repositoryRoot}/`));
  await promisify(execFile)(process.execPath, [compiler, "-b", packageDir]);
}

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface SpawnOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Sends SIGINT, or another signal, once stderr holds this text. */
  readonly interruptAt?: string;
  readonly signal?: NodeJS.Signals;
}

/** Runs the real program in a process of its own, both streams piped. */
export function spawnPrismrec(args: readonly string[], options: SpawnOptions = {}): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [`${packageDir}/bin/prismrec.js`, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, PRISMREC_THREADS: "1", ...options.env },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    let stdout = "";
    let stderr = "";
    let interrupted = false;
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
      if (options.interruptAt !== undefined && !interrupted && stderr.includes(options.interruptAt)) {
        interrupted = true;
        child.kill(options.signal ?? "SIGINT");
      }
    });
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
}
