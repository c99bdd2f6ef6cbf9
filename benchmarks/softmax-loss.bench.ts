import { type SoftmaxLoss, type SoftmaxLossInput, softmaxLossSync } from "@prismrec/core/ops";
import { closeArrays } from "./lib/agreement.js";
import { type Arrays, type Bench, type BenchCase, type Parameters, size } from "./lib/bench.js";
import { configurations } from "./lib/configurations.js";
import { benchVariant, onBenchDevice } from "./lib/device.js";
import { integers, normals } from "./lib/random-arrays.js";

/** float32 sums in another order over tens of thousands of terms. */
const TOLERANCE = 1e-4;
const SCALE = 0.4;

function full(rows: number, interests: number, items: number, quick = false): BenchCase {
  return {
    variant: "full catalog",
    shape: `${rows}x${interests}x${items}x64`,
    parameters: { rows, interests, items, d: 64, candidates: 0 },
    quick,
    bytes: { "torch-naive": 20 * rows * interests * items },
    ...(interests === 4 ? { plot: { series: "full catalog", n: items } } : {}),
  };
}

const bench: Bench = {
  op: "softmax-loss",
  title: "Softmax loss, forward and backward",
  method:
    "rows x interests x items x d, scores are the log-sum-exp over a row's interests, one target each; torch-naive: autograd, torch-fused: analytic gradient in row chunks",
  cases: [
    full(640, 4, 5_000),
    full(640, 4, 20_000, true),
    full(640, 4, 80_000),
    full(1024, 1, 20_000, true),
    {
      variant: "sampled",
      shape: "640x4x2048x64",
      parameters: { rows: 640, interests: 4, items: 200_000, d: 64, candidates: 2048 },
      quick: true,
      note: "2048 shared candidates of 200,000 items, log Q taken off",
    },
  ],
  inputs(parameters) {
    const [rows, interests, items] = [
      size(parameters, "rows"),
      size(parameters, "interests"),
      size(parameters, "items"),
    ];
    const [d, candidates] = [size(parameters, "d"), size(parameters, "candidates")];
    return {
      key: JSON.stringify(parameters),
      make: () => ({
        interests: normals(rows * interests * d, 1, SCALE),
        items: normals(items * d, 2, SCALE),
        bias: normals(items, 3),
        targets: integers(rows, items, 4),
        candidates: integers(candidates, items, 5),
        logQ: normals(candidates, 6),
        targetLogQ: candidates === 0 ? new Float32Array(0) : normals(rows, 7),
      }),
    };
  },
  cuda: true,
  ours: {
    prepare(parameters, inputs) {
      const input = { ...lossInput(parameters, inputs), ...onBenchDevice() };
      let last: SoftmaxLoss | undefined;
      return {
        variant: benchVariant(),
        run() {
          last = softmaxLossSync(input);
        },
        result: () => lossArrays(last!),
        ...(size(parameters, "candidates") > 0
          ? { oracle: () => lossArrays(softmaxLossSync({ ...input, device: "cpu", variant: "reference" })) }
          : {}),
      };
    },
  },
  peers: [
    {
      impl: "torch-fused",
      script: "softmax_loss.py",
      modules: ["numpy", "torch"],
      configurations: configurations({ outer: true, allocator: true, options: [{ chunk: 256 }, { chunk: 64 }] }),
    },
    {
      impl: "torch-naive",
      script: "softmax_loss.py",
      modules: ["numpy", "torch"],
      configurations: configurations({ allocator: true }),
    },
  ],
  agree: (expected, actual) => closeArrays(expected, actual, TOLERANCE),
  rate(parameters) {
    const candidates = size(parameters, "candidates") || size(parameters, "items");
    const scores = size(parameters, "rows") * size(parameters, "interests") * candidates;
    return { amount: (6 * scores * size(parameters, "d")) / 1e9, unit: "GFLOP/s" };
  },
};
export default bench;

function lossInput(parameters: Parameters, inputs: Arrays): SoftmaxLossInput {
  const [rows, interests, items] = [size(parameters, "rows"), size(parameters, "interests"), size(parameters, "items")];
  const cols = size(parameters, "d");
  const floats = (name: string): Float32Array => inputs[name] as Float32Array;
  const input: SoftmaxLossInput = {
    interests: { data: floats("interests"), rows: rows * interests, cols },
    interestsPerRow: interests,
    items: { data: floats("items"), rows: items, cols },
    itemBias: floats("bias"),
    targets: {
      indptr: Uint32Array.from({ length: rows + 1 }, (_, r) => r),
      indices: inputs.targets as Uint32Array,
      rows,
      cols: items,
    },
    readout: "log-sum-exp",
  };
  if (size(parameters, "candidates") === 0) return input;
  const sampled = {
    ids: inputs.candidates as Uint32Array,
    logQ: floats("logQ"),
    targetLogQ: floats("targetLogQ"),
  };
  return { ...input, sampled };
}

function lossArrays({ loss, gradients }: SoftmaxLoss): Arrays {
  return {
    loss: Float64Array.of(loss),
    interests: gradients.interests,
    items: gradients.items,
    bias: gradients.itemBias,
  };
}
