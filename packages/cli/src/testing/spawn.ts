import { execFile, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
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
  /** Default SIGINT. */
  readonly signal?: NodeJS.Signals;
  /** Sends the signal once this holds, which is asked many times a second. */
  readonly signalWhen?: () => boolean;
  /** Closes the reading end of this pipe at once: nobody reads. */
  readonly hangUp?: "stdout" | "stderr";
  /** Where stdout or stderr goes instead of into a pipe, such as /dev/full. */
  readonly files?: Readonly<Partial<Record<"stdout" | "stderr", string>>>;
}

/** Runs the real program in a process of its own, both streams piped unless told otherwise. */
export function spawnPrismrec(args: readonly string[], options: SpawnOptions = {}): Promise<Outcome> {
  const { files = {}, hangUp, interruptAt, signal = "SIGINT", signalWhen } = options;
  const opened = (["stdout", "stderr"] as const).map((name) => {
    const file = files[name];
    return file === undefined ? "pipe" : openSync(file, "w");
  });
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [`${packageDir}/bin/prismrec.js`, ...args], {
      stdio: ["ignore", ...opened],
      env: { ...process.env, PRISMREC_THREADS: "1", ...options.env },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    let stdout = "";
    let stderr = "";
    let signalled = false;
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
      if (interruptAt !== undefined && !signalled && stderr.includes(interruptAt)) {
        signalled = true;
        child.kill(signal);
      }
    });
    const watch = setInterval(() => {
      if (signalled || signalWhen?.() !== true) return;
      signalled = true;
      child.kill(signal);
    }, 20);
    if (hangUp !== undefined) child[hangUp]?.destroy();
    for (const file of opened) if (typeof file === "number") closeSync(file);
    child.on("error", reject);
    child.on("exit", () => clearInterval(watch));
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
}
