import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Configuration, caseName } from "./bench.js";
import { benchmarksRoot } from "./paths.js";

const FILE = join(benchmarksRoot, "peers", "best.json");

/** The fastest of a peer's configurations on a case, and what it was chosen from. */
export interface BestConfiguration {
  readonly configuration: Configuration;
  readonly reason: string;
}

type Named = Parameters<typeof caseName>[0];

interface Found {
  readonly machine: string;
  readonly date: string;
  /** By operation, case and peer. */
  readonly best: Record<string, Record<string, Record<string, BestConfiguration>>>;
}

/** What `--tune` has found, by instruction set: a machine with other vectors may prefer other builds. */
export class BestConfigurations {
  readonly #all: Record<string, Found>;
  readonly #file: string;

  private constructor(all: Record<string, Found>, file: string) {
    this.#all = all;
    this.#file = file;
  }

  static read(file = FILE): BestConfigurations {
    const all = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Record<string, Found>) : {};
    return new BestConfigurations(all, file);
  }

  /**
   * The best one for a case, found on this kind of machine or else on another; for a case that was never tuned the one of
   * its operation that was, the same variant before others. Undefined: none is known.
   */
  get(simd: string, op: string, { variant, shape }: Named, impl: string): BestConfiguration | undefined {
    for (const kind of [simd, ...Object.keys(this.#all)]) {
      const cases = Object.entries(this.#all[kind]?.best[op] ?? {}).filter(([, peers]) => peers[impl] !== undefined);
      const [, peers] =
        cases.find(([name]) => name === caseName({ variant, shape })) ??
        cases.find(([name]) => name.startsWith(`${variant} `)) ??
        cases[0] ??
        [];
      if (peers !== undefined) return peers[impl];
    }
    return undefined;
  }

  isKnown(simd: string): boolean {
    return this.#all[simd] !== undefined;
  }

  set(simd: string, machine: string, op: string, name: string, impl: string, best: BestConfiguration): void {
    const found = this.#all[simd]?.best ?? {};
    const cases = { ...found[op]?.[name], [impl]: best };
    this.#all[simd] = {
      machine,
      date: new Date().toISOString().slice(0, 10),
      best: { ...found, [op]: { ...found[op], [name]: cases } },
    };
    writeFileSync(this.#file, `${JSON.stringify(this.#all, null, 1)}\n`);
  }
}
