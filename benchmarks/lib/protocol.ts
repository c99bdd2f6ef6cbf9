import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Arrays, DataArray, Parameters } from "./bench.js";

/** An array in a raw little-endian file. */
export interface StoredArray {
  readonly file: string;
  readonly dtype: keyof typeof TYPES;
}

/** What the runner says to a contestant, one JSON line each; every line is answered by one. */
export type Command =
  | {
      readonly command: "prepare";
      readonly parameters: Parameters;
      readonly inputs: Readonly<Record<string, StoredArray>>;
      /** Threads around the library, and the script's own options. */
      readonly outer: number;
      readonly options: Parameters;
    }
  | { readonly command: "run"; readonly calls: number; readonly before: number }
  | { readonly command: "result" | "oracle"; readonly folder: string }
  | { readonly command: "quit" };

export interface PrepareAnswer {
  /** Resident memory before anything was prepared. */
  readonly residentBefore: number;
  readonly variant?: string;
  readonly hasOracle?: boolean;
}

export interface RunAnswer {
  /** One number for each call. */
  readonly seconds: readonly number[];
  /** Processor time of all calls together. */
  readonly cpuSeconds: number;
  /** Resident memory that the calls needed at most beyond what the process held before them. */
  readonly peakExtraBytes: number;
  /** The same, everything included. */
  readonly peakRssBytes: number;
}

export interface ResultAnswer {
  readonly remark?: string;
  readonly arrays: Readonly<Record<string, StoredArray>>;
}

const TYPES = { float32: Float32Array, float64: Float64Array, int32: Int32Array, uint32: Uint32Array } as const;

function dtypeOf(array: DataArray): StoredArray["dtype"] {
  if (array instanceof Float32Array) return "float32";
  if (array instanceof Float64Array) return "float64";
  return array instanceof Int32Array ? "int32" : "uint32";
}

export function storeArrays(folder: string, arrays: Arrays): Record<string, StoredArray> {
  mkdirSync(folder, { recursive: true });
  return Object.fromEntries(
    Object.entries(arrays).map(([name, array]) => {
      const file = join(folder, `${name}.bin`);
      writeFileSync(file, new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
      return [name, { file, dtype: dtypeOf(array) }];
    }),
  );
}

export function loadArrays(stored: Readonly<Record<string, StoredArray>>): Arrays {
  return Object.fromEntries(
    Object.entries(stored).map(([name, { file, dtype }]) => {
      const bytes = readFileSync(file);
      // A Buffer from the pool need not be aligned; large ones own their memory.
      const { buffer } = bytes.byteLength === bytes.buffer.byteLength ? bytes : Uint8Array.from(bytes);
      return [name, new TYPES[dtype](buffer as ArrayBuffer)];
    }),
  );
}
