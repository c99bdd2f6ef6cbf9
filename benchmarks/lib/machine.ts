import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { native } from "@prismrec/core/ops";
import { CORES } from "./configurations.js";

export interface Machine {
  readonly machine: string;
  readonly simd: string;
  readonly commit: string;
  /** ISO 8601, UTC */
  readonly date: string;
}

export function describeMachine(): Machine {
  const model = cpus()[0]?.model.trim() ?? "unknown processor";
  const memory = Math.round(totalmem() / 2 ** 30);
  const simd = native()?.runtimeInfo().simd ?? "typescript";
  return {
    machine: `${model}, ${CORES} cores, ${memory} GiB, ${simd}`,
    simd,
    commit: git("rev-parse", "--short", "HEAD") + (git(...CHANGES) === "" ? "" : "+"),
    date: `${new Date().toISOString().slice(0, 19)}Z`,
  };
}

/** Results do not count: a run of several operations writes them on its way. */
const CHANGES = ["status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)benchmarks/results"];

function git(...args: string[]): string {
  try {
    return execFileSync("git", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return "unknown";
  }
}

const TICKS_PER_SECOND = 100;

/** Processor seconds that the whole machine has spent so far; NaN where the system does not tell. */
export function busySeconds(): number {
  try {
    const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = readFileSync("/proc/stat", "utf8")
      .split("\n", 1)[0]!
      .trim()
      .split(/\s+/)
      .slice(1)
      .map(Number);
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND;
  } catch {
    return Number.NaN;
  }
}

/** Memory that can be had without swapping. */
export function availableBytes(): number {
  try {
    return 1024 * Number(/^MemAvailable:\s+(\d+)/m.exec(readFileSync("/proc/meminfo", "utf8"))?.[1]);
  } catch {
    return totalmem();
  }
}
