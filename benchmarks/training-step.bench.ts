import { useTensorBackend } from "@prismrec/core/nn";
import { native } from "@prismrec/core/ops";
import { parseTrainConfig, type TrainConfig } from "@prismrec/trainer";
import { Learner, type TrainingSequences } from "@prismrec/trainer/training-step";
import {
  type Arrays,
  type Bench,
  type BenchCase,
  type Parameters,
  type Prepared,
  size,
  type Verdict,
} from "./lib/bench.js";
import { configurations } from "./lib/configurations.js";
import { normals, randomStream } from "./lib/random-arrays.js";

const DIM = 64;
const BATCHES = 8;
const ITEM_SCALE = 0.1;
/** Candidates and starting weights are drawn anew by each contestant, so losses agree as samples of one distribution do. */
const TOLERANCE = 0.05;

function step(batch: number, length: number, items: number, more: Partial<BenchCase> = {}): BenchCase {
  return {
    variant: "comirec-dr",
    shape: `${batch}x${length}, ${items} items`,
    parameters: { batch, length, items, d: DIM, interests: 4, batches: BATCHES },
    ...(length === 20 ? { plot: { series: "batch 128, length 20", n: items } } : {}),
    ...more,
  };
}

const bench: Bench = {
  op: "training-step",
  title: "Training step of ComiRec-DR",
  method:
    "batch x length: d=64, K=4, one bilinear map per position, 3 routing rounds, 10 shared log-uniform negatives per user, Adam on the rows touched; torch-sparse: SparseAdam, torch-dense: Adam over the whole table",
  cases: [
    step(128, 20, 10_000, { quick: true }),
    step(128, 20, 100_000),
    step(128, 20, 1_000_000),
    step(128, 50, 100_000),
    step(256, 50, 100_000),
  ],
  memoryOfPreparation: true,
  inputs: (parameters) => ({ key: JSON.stringify(parameters), make: () => sequences(parameters) }),
  ours: {
    async prepare(parameters, { indptr, items }) {
      await useTensorBackend();
      const [batch, length] = [size(parameters, "batch"), size(parameters, "length")];
      const config = trainConfig(batch, length, size(parameters, "interests"));
      const count = indptr!.length - 1;
      const histories: TrainingSequences = {
        count,
        indptr: indptr as Uint32Array,
        items: items as Uint32Array,
        clusters: new Int16Array(items!.length).fill(-1),
      };
      const rows = size(parameters, "items");
      const table = { data: normals(rows * DIM, 5, ITEM_SCALE), rows, cols: DIM };
      const learner = new Learner(config, { sequences: histories, items: table });
      return steps(learner, BATCHES);
    },
  },
  peers: ["torch-sparse", "torch-dense"].map((impl) => ({
    impl,
    script: "training_step.py",
    modules: ["numpy", "torch"],
    configurations: configurations({ allocator: true, threads: [2, 1] }),
  })),
  agree: sameLosses,
  rate: (parameters) => ({ amount: size(parameters, "batch"), unit: "samples/s" }),
};
export default bench;

function trainConfig(batchSize: number, maxHistory: number, interests: number): TrainConfig {
  return parseTrainConfig({
    network: { model: "comirec-dr", dim: DIM, interests, maxHistory, bilinear: "position" },
    batchSize,
    // Longer than any history: every cut is before the last event, so that all of it is read.
    minHistory: maxHistory,
    negativesPerUser: 10,
  });
}

/** Histories of length / 2 to `length` uniform items and one more to predict, oldest first, ids from 1. */
function sequences(parameters: Parameters): Arrays {
  const [batch, length, items] = [size(parameters, "batch"), size(parameters, "length"), size(parameters, "items")];
  const uniform = randomStream(1);
  const indptr = new Uint32Array(BATCHES * batch + 1);
  for (let user = 0; user < BATCHES * batch; user++) {
    const shortest = Math.floor(length / 2);
    indptr[user + 1] = indptr[user]! + shortest + Math.floor(uniform() * (length - shortest + 1)) + 1;
  }
  const ids = Uint32Array.from({ length: indptr[BATCHES * batch]! }, () => 1 + Math.floor(uniform() * items));
  return { indptr, items: ids };
}

/** One training step a call, epoch after epoch of `batches` steps; the result is the losses, of the first epoch at least. */
export function steps(learner: Learner, batches: number): Prepared {
  const losses: number[] = [];
  const step = (): void => {
    const done = losses.length;
    if (done % batches === 0) learner.beginEpoch(1 + done / batches);
    losses.push(learner.step(done % batches, done).loss);
  };
  return {
    variant: native()!.runtimeInfo().simd,
    run: step,
    result() {
      while (losses.length < batches) step();
      return { losses: Float64Array.from(losses) };
    },
  };
}

/** Whether two contestants that draw for themselves start from losses of one size. */
export function sameLosses(expected: Arrays, actual: Arrays, parameters: Parameters): Verdict {
  const steps = Math.min(expected.losses?.length ?? 0, actual.losses?.length ?? 0, size(parameters, "batches"));
  const mean = (values: ArrayLike<number> | undefined): number =>
    values === undefined
      ? Number.NaN
      : Array.from(values)
          .slice(0, steps)
          .reduce((sum, x) => sum + x, 0) / steps;
  const [ours, theirs] = [mean(expected.losses), mean(actual.losses)];
  return {
    agrees: Math.abs(ours - theirs) <= TOLERANCE * Math.abs(ours),
    detail: `mean loss of the first ${steps} steps ${theirs.toFixed(3)} beside ${ours.toFixed(3)}`,
  };
}
