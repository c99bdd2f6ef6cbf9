import { createRequire } from "node:module";
import { join } from "node:path";
import { tf, useTensorBackend } from "@prismrec/core/nn";
import { native } from "@prismrec/core/ops";
import { closeArrays } from "./lib/agreement.js";
import { type Arrays, type Bench, type BenchCase, type Implementation, type Parameters, size } from "./lib/bench.js";
import { PEERS_FOLDER } from "./lib/peers.js";
import { integers, normals } from "./lib/random-arrays.js";

const TOLERANCE = 1e-4;

type Tensors = typeof tf;

/** Products and rows of the sizes that a step of the shipped models has. */
const CASES = [
  ["matMul", 6400, 64, 256, true],
  ["matMul transposed", 1280, 64, 6400, false],
  ["batched matMul", 20, 64, 256, true],
  ["softmax", 6400, 0, 50, false],
  ["add broadcast", 6400, 0, 256, false],
  ["mean of rows", 6400, 0, 256, false],
  ["gather", 6400, 0, 64, false],
  ["transpose", 128, 50, 64, false],
] as const;

const bench: Bench = {
  op: "tensor-kernels",
  title: "Kernels of the tensor backend",
  method: "one tfjs operation on the backend prismrec and on tfjs' own; the result read back",
  cases: CASES.map(
    ([work, m, k, n, quick]): BenchCase => ({
      variant: work,
      shape: [m, k, n].filter((extent) => extent > 0).join("x"),
      parameters: { work, m, k, n },
      quick,
    }),
  ),
  inputs(parameters) {
    const [m, k, n] = [size(parameters, "m"), size(parameters, "k"), size(parameters, "n")];
    const inner = Math.max(1, k);
    return {
      key: JSON.stringify(parameters),
      make: () => ({
        a: normals(m * inner * (k === 0 || parameters.work === "transpose" ? n : 1) * batchOf(parameters), 1),
        b: normals(inner * n * (parameters.work === "batched matMul" ? m : 1), 2),
        ids: Int32Array.from(integers(m, m, 3)),
      }),
    };
  },
  ours: onBackend(async () => {
    await useTensorBackend("prismrec");
    return tf;
  }),
  peers: [],
  nodePeers: [
    {
      impl: "tfjs-cpu",
      threads: 1,
      modules: ["@tensorflow/tfjs-backend-cpu"],
      implementation: onBackend(async () => {
        await useTensorBackend("cpu");
        return tf;
      }),
    },
    {
      impl: "tfjs-wasm",
      threads: 1,
      modules: ["@tensorflow/tfjs-backend-wasm"],
      implementation: onBackend(async () => {
        // Of the peers' own folder, with its own tfjs: the backend registers itself there.
        const load = createRequire(join(PEERS_FOLDER, "any.js"));
        const own = load("@tensorflow/tfjs-core") as Tensors;
        load("@tensorflow/tfjs-backend-wasm");
        await own.setBackend("wasm");
        return own;
      }),
    },
  ],
  agree: (expected, actual) => closeArrays(expected, actual, TOLERANCE),
};
export default bench;

function batchOf({ work }: Parameters): number {
  return work === "batched matMul" ? 128 : 1;
}

function onBackend(load: () => Promise<Tensors>): Implementation {
  return {
    async prepare(parameters, inputs) {
      const own = await load();
      const compute = operation(own, parameters, inputs);
      let last: Float32Array | undefined;
      return {
        variant: own === tf && own.getBackend() === "prismrec" ? native()!.runtimeInfo().simd : own.getBackend(),
        run() {
          const out = own.tidy(compute);
          last = out.dataSync<"float32">();
          out.dispose();
        },
        result: () => ({ out: last! }),
      };
    },
  };
}

function operation(own: Tensors, parameters: Parameters, { a, b, ids }: Arrays): () => tf.Tensor {
  const [m, k, n] = [size(parameters, "m"), size(parameters, "k"), size(parameters, "n")];
  const tensor = (values: Arrays[string] | undefined, shape: number[]): tf.Tensor =>
    own.tensor(values as Float32Array, shape, "float32");
  switch (parameters.work as (typeof CASES)[number][0]) {
    case "matMul": {
      const [x, y] = [tensor(a, [m, k]), tensor(b, [k, n])];
      return () => own.matMul(x, y);
    }
    case "matMul transposed": {
      const [x, y] = [tensor(a, [m, k]), tensor(b, [n, k])];
      return () => own.matMul(x, y, false, true);
    }
    case "batched matMul": {
      const batch = batchOf(parameters);
      const [x, y] = [tensor(a, [m, batch, k]), tensor(b, [m, k, n])];
      return () => own.matMul(x, y);
    }
    case "softmax": {
      const x = tensor(a, [m, n]);
      return () => own.softmax(x);
    }
    case "add broadcast": {
      const [x, y] = [tensor(a, [m, n]), tensor(b, [n])];
      return () => own.add(x, y);
    }
    case "mean of rows": {
      const x = tensor(a, [m, n]);
      return () => own.mean(x, 1);
    }
    case "gather": {
      const [x, rows] = [tensor(a, [m, n]), own.tensor1d(ids as Int32Array, "int32")];
      return () => own.gather(x, rows);
    }
    case "transpose": {
      const x = tensor(a, [m, k, n]);
      return () => own.transpose(x, [1, 0, 2]);
    }
  }
}
