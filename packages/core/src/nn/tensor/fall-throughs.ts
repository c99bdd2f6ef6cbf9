/** Kernels of fewer elements than this cost more in dispatch than in arithmetic, wherever they run. */
export const TRIVIAL_SIZE = 1024;

const counts = new Map<string, number>();

export function countFallThrough(kernelName: string): void {
  counts.set(kernelName, (counts.get(kernelName) ?? 0) + 1);
}

/**
 * Which kernels the `prismrec` backend has run in JavaScript on 1024 elements or more since the last reset, and how
 * often. A training step should leave this empty.
 */
export function fallThroughs(): ReadonlyMap<string, number> {
  return new Map(counts);
}

export function resetFallThroughs(): void {
  counts.clear();
}
