import { native } from "@prismrec/core/ops";
import type { SgemmArgs } from "@prismrec/native";
import { closeArrays } from "./lib/agreement.js";
import { type Arrays, type Bench, type BenchCase, size } from "./lib/bench.js";
import { configurations } from "./lib/configurations.js";
import { normals } from "./lib/random-arrays.js";

const TOLERANCE = 1e-5;
/** Multiplications that the fp64 oracle does in a moment. */
const ORACLE_MOST = 512 ** 3;

function square(n: number, quick = false): BenchCase {
  return { variant: "nn", shape: `${n}x${n}x${n}`, parameters: { m: n, n, k: n, transposeB: false }, quick };
}

/** A·Bᵀ with few columns, as the losses and the search multiply. */
function skinny(m: number, n: number, k: number, quick = false): BenchCase {
  return { variant: "nt", shape: `${m}x${n}x${k}`, parameters: { m, n, k, transposeB: true }, quick };
}

const bench: Bench = {
  op: "gemm",
  title: "Matrix product, float32",
  method: "c = a·b (nn) or a·bᵀ (nt), rows m x n x k, into memory that is there already",
  cases: [
    square(2048, true),
    square(512),
    square(1024),
    skinny(4096, 4096, 64, true),
    skinny(4096, 4096, 32),
    skinny(4096, 4096, 128),
    skinny(4096, 4096, 256),
    skinny(1024, 16384, 64),
    skinny(1024, 16384, 128),
    skinny(1024, 16384, 256),
  ],
  inputs(parameters) {
    const [m, n, k] = [size(parameters, "m"), size(parameters, "n"), size(parameters, "k")];
    return { key: `${m} ${n} ${k}`, make: () => ({ a: normals(m * k, 1), b: normals(n * k, 2) }) };
  },
  ours: {
    prepare(parameters, { a, b }) {
      const binding = native()!;
      const [m, n, k] = [size(parameters, "m"), size(parameters, "n"), size(parameters, "k")];
      const c = new Float32Array(m * n);
      const args = {
        m,
        n,
        k,
        a: a as Float32Array,
        b: b as Float32Array,
        c,
        transposeB: parameters.transposeB === true,
      };
      return {
        variant: binding.runtimeInfo().simd,
        run: () => binding.sgemmSync(args),
        result: () => ({ c }),
        ...(m * n * k <= ORACLE_MOST ? { oracle: () => oracle(args) } : {}),
      };
    },
  },
  peers: [
    { impl: "numpy", script: "gemm.py", modules: ["numpy"], configurations: configurations() },
    { impl: "torch", script: "gemm.py", modules: ["numpy", "torch"], configurations: configurations() },
  ],
  agree: (expected, actual) => closeArrays(expected, actual, TOLERANCE),
  rate: (parameters) => ({
    amount: (2 * size(parameters, "m") * size(parameters, "n") * size(parameters, "k")) / 1e9,
    unit: "GFLOP/s",
  }),
};
export default bench;

/** The definition, in double precision. */
function oracle({ m, n, k, a, b, transposeB }: SgemmArgs): Arrays {
  const c = new Float32Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let x = 0; x < k; x++) sum += a[i * k + x]! * b[transposeB === true ? j * k + x : x * n + j]!;
      c[i * n + j] = sum;
    }
  }
  return { c };
}
