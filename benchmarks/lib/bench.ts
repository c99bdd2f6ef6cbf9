/** What a contestant reads and writes: flat arrays, kept in raw little-endian files between processes. */
export type DataArray = Float32Array | Float64Array | Int32Array | Uint32Array;
export type Arrays = Readonly<Record<string, DataArray>>;
export type Parameters = Readonly<Record<string, string | number | boolean>>;

/** One thing to measure: the same inputs and parameters for every contestant. */
export interface BenchCase {
  /** The kind of work ("info-nce", "k=100"); with `shape` it names the case. */
  readonly variant: string;
  readonly shape: string;
  /** What every contestant is told, sizes above all. */
  readonly parameters: Parameters;
  /** Part of `--quick`. */
  readonly quick?: boolean;
  /** Bytes that a contestant may need for itself beside the inputs; one that cannot have them is left out. */
  readonly bytes?: Readonly<Record<string, number>>;
  /** The case's place in the plot of time and memory against N. */
  readonly plot?: { readonly series: string; readonly n: number };
  /** Said beside the case's rows. */
  readonly note?: string;
}

export interface CaseInputs {
  /** Cases with the same key share one set of files. */
  readonly key: string;
  make(): Arrays | Promise<Arrays>;
}

/** A contestant of this project, or a peer that runs in Node; it lives in a process of its own for each case. */
export interface Implementation {
  prepare(parameters: Parameters, inputs: Arrays): Prepared | Promise<Prepared>;
}

export interface Prepared {
  /** One timed call. */
  run(): unknown;
  /** What the last call gave; numbers as arrays of one. */
  result(): Arrays;
  /** The same from the fp64 oracle; where given, ours is judged by it. */
  oracle?(): Arrays | Promise<Arrays>;
  /** What the last call says of itself, for the row's note. */
  remark?(): string;
  /** Which kernels ran. */
  readonly variant?: string;
}

/** How a peer may be run; the best one for each case stands in peers/best.json. */
export interface Configuration {
  readonly python: "pypi" | "debian";
  /** Threads inside the library's own kernels. */
  readonly threads: number;
  /** Threads around it, each with its share of the work. */
  readonly outer: number;
  /** "tuned": freed memory is kept by glibc instead of being handed back and faulted in again. */
  readonly allocator: "stock" | "tuned";
  /** Which OpenBLAS Debian's packages load. */
  readonly blas: "stock" | "openmp";
  /** Anything that the peer's own script understands. */
  readonly options?: Parameters;
}

export interface PythonPeer {
  readonly impl: string;
  /** In benchmarks/peers. */
  readonly script: string;
  /** Modules that must be there. */
  readonly modules: readonly string[];
  /** What is tried by `--tune`, the usual one first. */
  readonly configurations: readonly Configuration[];
  supports?(parameters: Parameters): boolean;
}

export interface NodePeer {
  readonly impl: string;
  readonly threads: number;
  /** Modules of benchmarks/.peers/node_modules or of this repository that must be there. */
  readonly modules: readonly string[];
  readonly implementation: Implementation;
  supports?(parameters: Parameters): boolean;
}

export interface Verdict {
  readonly agrees: boolean;
  /** One figure that says how closely, e.g. "relative error 3e-7". */
  readonly detail: string;
}

export interface Bench {
  /** The operation, as its folder is named. */
  readonly op: string;
  readonly title: string;
  /** What is counted and how it is compared, for the table. */
  readonly method: string;
  readonly cases: readonly BenchCase[];
  /** Whether what `prepare` makes counts as memory of the call, because it grows with the problem: a model, say. */
  readonly memoryOfPreparation?: boolean;
  inputs(parameters: Parameters): CaseInputs;
  readonly ours: Implementation;
  /** Whether it can run on a GPU. */
  readonly cuda?: boolean;
  readonly peers: readonly PythonPeer[];
  readonly nodePeers?: readonly NodePeer[];
  /** Whether two results are the same answer. */
  agree(expected: Arrays, actual: Arrays, parameters: Parameters): Verdict;
  /** How many of something a call does, for the table: GFLOP, queries, samples. */
  rate?(parameters: Parameters): { readonly amount: number; readonly unit: string };
}

/** Measured on this project alone: how the runtime behaves, where no peer has the same thing. Runs in the suite's process. */
export interface Probe {
  readonly op: string;
  readonly title: string;
  readonly method: string;
  rows(quick: boolean): AsyncIterable<ProbeRow>;
}

export interface ProbeRow {
  readonly variant: string;
  readonly shape: string;
  /** Samples; the row gives their quantiles. */
  readonly seconds: readonly number[];
  readonly peakExtraBytes?: number;
  /** Whether what must hold did hold; null: nothing to check. */
  readonly agrees: boolean | null;
  readonly agreement?: string;
  readonly note?: string;
}

/** A number among the parameters. */
export function size(parameters: Parameters, name: string): number {
  const value = parameters[name];
  if (typeof value !== "number") throw new Error(`the case has no number "${name}"`);
  return value;
}

export function caseName({ variant, shape }: { readonly variant: string; readonly shape: string }): string {
  return `${variant} ${shape}`;
}
