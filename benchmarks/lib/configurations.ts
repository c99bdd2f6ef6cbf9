import { availableParallelism } from "node:os";
import type { Configuration, Parameters } from "./bench.js";

/** Processors that the suite gives to every contestant. */
export const CORES = availableParallelism();

const ONE_PROCESS = { outer: 1, allocator: "stock", blas: "stock" } as const;

export interface Grid {
  /** Also threads around the library, one inside each. */
  readonly outer?: boolean;
  /** Also with memory kept by the allocator. */
  readonly allocator?: boolean;
  /** Values of the script's own options to try, each set in turn. */
  readonly options?: readonly Parameters[];
  /** Threads inside the library to try; default: all. */
  readonly threads?: readonly number[];
}

/** For what does its own arithmetic on one thread: any Python will do. */
export const ONE_THREAD: readonly Configuration[] = [
  { python: "pypi", threads: 1, outer: 1, allocator: "stock", blas: "stock" },
  { python: "debian", threads: 1, outer: 1, allocator: "stock", blas: "stock" },
];

/** What `--tune` tries for a Python peer: both builds, both BLAS of Debian, and what the peer itself lets one choose. */
export function configurations({ outer, allocator, options = [{}], threads = [CORES] }: Grid = {}): Configuration[] {
  const threading: (readonly [inside: number, around: number])[] = threads.map((count) => [count, 1]);
  if (outer && CORES > 1) threading.push([1, CORES]);
  const builds = [
    { python: "pypi", blas: "stock" },
    { python: "debian", blas: "stock" },
    { python: "debian", blas: "openmp" },
  ] as const;
  return options.flatMap((chosen) =>
    builds.flatMap((build) =>
      threading.flatMap(([inside, around]) =>
        (allocator ? (["stock", "tuned"] as const) : (["stock"] as const)).map((kind) => ({
          ...ONE_PROCESS,
          ...build,
          threads: inside,
          outer: around,
          allocator: kind,
          ...(Object.keys(chosen).length === 0 ? {} : { options: chosen }),
        })),
      ),
    ),
  );
}

/** As one reads it in the table. */
export function describeConfiguration(c: Configuration): string {
  const parts = [c.python === "pypi" ? "PyPI" : "Debian", `${c.threads} threads`];
  if (c.outer > 1) parts.push(`in ${c.outer} workers`);
  if (c.allocator === "tuned") parts.push("tuned malloc");
  if (c.blas === "openmp") parts.push("OpenMP OpenBLAS");
  for (const [name, value] of Object.entries(c.options ?? {})) parts.push(`${name} ${value}`);
  return parts.join(", ");
}
