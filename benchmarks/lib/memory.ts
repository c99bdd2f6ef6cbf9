import { readFileSync, writeFileSync } from "node:fs";

/** Resident memory of this process now and at its peak since `resetPeak`, in bytes (Linux). */
export function residentBytes(): { readonly now: number; readonly peak: number } {
  const status = readFileSync("/proc/self/status", "utf8");
  return { now: kibibytes(status, "VmRSS"), peak: kibibytes(status, "VmHWM") };
}

/** Starts the peak anew; where the system forbids it, the peak is that of the process's whole life. */
export function resetPeak(): void {
  try {
    writeFileSync("/proc/self/clear_refs", "5");
  } catch {
    // Then `peak` is an upper bound.
  }
}

function kibibytes(status: string, field: string): number {
  return 1024 * Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? Number.NaN);
}
