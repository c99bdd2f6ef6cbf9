import type { Matrix } from "@prismrec/core/base";
import { type ContrastiveLossInput, contrastiveLossSync } from "@prismrec/core/ops";
import { closeArrays } from "./lib/agreement.js";
import { type Arrays, type Bench, type BenchCase, type Parameters, size } from "./lib/bench.js";
import { configurations } from "./lib/configurations.js";
import { benchVariant, onBenchDevice } from "./lib/device.js";
import { integers, normalizeRows, normals } from "./lib/random-arrays.js";

const TEMPERATURE = 0.1;
/** Rows that the fp64 oracle does in a moment. */
const ORACLE_MOST = 1024;
const ROWS_PER_LABEL = 4;
const LABELS_PER_GROUP = 4;
/** float32 sums in another order; the exponentials magnify by 1 / temperature. */
const TOLERANCE = 1e-4;

/** Autograd keeps about this many copies of the similarities. */
const NAIVE_COPIES = { "info-nce": 11, supervised: 14 } as const;

function batch(kind: "info-nce" | "supervised", n: number, d: number, quick = false): BenchCase {
  return {
    variant: kind,
    shape: `${n}x${d}`,
    parameters: { kind, n, d, groups: 1 },
    quick,
    bytes: { "torch-naive": NAIVE_COPIES[kind] * 4 * n * n },
    ...(d === 64 ? { plot: { series: kind, n } } : {}),
  };
}

const bench: Bench = {
  op: "contrastive-loss",
  title: "Contrastive loss, forward and backward",
  method:
    "loss and gradients of unit rows at temperature 0.1; torch-fused: analytic gradient in row chunks, torch-naive: autograd over the whole matrix",
  cases: [
    batch("info-nce", 1024, 64),
    batch("info-nce", 4096, 64, true),
    batch("info-nce", 16384, 64),
    batch("info-nce", 4096, 128),
    batch("info-nce", 16384, 128),
    batch("supervised", 1024, 64),
    batch("supervised", 4096, 64, true),
    batch("supervised", 16384, 64),
    {
      variant: "grouped",
      shape: "16x64x64",
      parameters: { kind: "supervised", n: 1024, d: 64, groups: 16 },
      quick: true,
      note: "what a training step of ldmi runs: 16 groups of 64 rows",
    },
  ],
  inputs(parameters) {
    const [n, d, groups] = [size(parameters, "n"), size(parameters, "d"), size(parameters, "groups")];
    return {
      key: `${n} ${d} ${groups}`,
      make() {
        const rows = normalizeRows(normals(n * d, 1), d);
        const near = normals(n * d, 2).map((x, i) => x + 2 * Math.sqrt(d) * rows[i]!);
        const labels = groups === 1 ? Math.max(1, n / ROWS_PER_LABEL) : LABELS_PER_GROUP;
        return {
          rows,
          positives: normalizeRows(near, d),
          labels: Int32Array.from(integers(n, labels, 3)),
          groups: Int32Array.from({ length: n }, (_, i) => Math.floor((i * groups) / n)),
        };
      },
    };
  },
  cuda: true,
  ours: {
    prepare(parameters, inputs) {
      const input = { ...lossInput(parameters, inputs), ...onBenchDevice() };
      let last: ReturnType<typeof contrastiveLossSync> | undefined;
      return {
        variant: benchVariant(),
        run() {
          last = contrastiveLossSync(input);
        },
        result: () => gradients(last),
        ...(size(parameters, "n") <= ORACLE_MOST
          ? { oracle: () => gradients(contrastiveLossSync({ ...input, device: "cpu", variant: "reference" })) }
          : {}),
      };
    },
  },
  peers: [
    {
      impl: "torch-fused",
      script: "contrastive_loss.py",
      modules: ["numpy", "torch"],
      configurations: configurations({
        outer: true,
        allocator: true,
        options: [{ chunk: 1024 }, { chunk: 256 }],
      }),
    },
    {
      impl: "torch-naive",
      script: "contrastive_loss.py",
      modules: ["numpy", "torch"],
      configurations: configurations({ allocator: true }),
    },
  ],
  agree: (expected, actual) => closeArrays(expected, actual, TOLERANCE),
  rate: (parameters) => ({ amount: (6 * size(parameters, "n") ** 2 * size(parameters, "d")) / 1e9, unit: "GFLOP/s" }),
};
export default bench;

function lossInput(parameters: Parameters, inputs: Arrays): ContrastiveLossInput {
  const [rows, cols] = [size(parameters, "n"), size(parameters, "d")];
  const matrix = (name: string): Matrix => ({ data: inputs[name] as Float32Array, rows, cols });
  const common = { similarity: "dot", temperature: TEMPERATURE } as const;
  if (parameters.kind === "info-nce") {
    return { ...common, kind: "info-nce", queries: matrix("rows"), positives: matrix("positives") };
  }
  return {
    ...common,
    kind: "supervised",
    rows: matrix("rows"),
    groups: inputs.groups as Int32Array,
    labels: inputs.labels as Int32Array,
    scope: parameters.groups === 1 ? "batch" : "group",
  };
}

function gradients(loss: ReturnType<typeof contrastiveLossSync> | undefined): Arrays {
  return loss === undefined ? {} : { loss: Float64Array.of(loss.loss), ...loss.gradients };
}
