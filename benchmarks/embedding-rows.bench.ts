import { createRowAdamState, gatherRows, lazyAdam, mergeRows, native, scatterAddRows } from "@prismrec/core/ops";
import { closeArrays } from "./lib/agreement.js";
import { type Arrays, type Bench, type BenchCase, type Prepared, size } from "./lib/bench.js";
import { configurations } from "./lib/configurations.js";
import { integers, normals } from "./lib/random-arrays.js";

const LEARNING_RATE = 1e-3;
const TOLERANCE = 1e-5;

function rows(work: "gather" | "scatter-add" | "lazy-adam", items: number, ids: number, quick = false): BenchCase {
  return {
    variant: work,
    shape: `${items}x64, ${ids} ids`,
    parameters: { work, items, ids, d: 64 },
    quick,
    ...(work === "lazy-adam" && ids === 4_000 ? { plot: { series: "lazy Adam, 4000 ids", n: items } } : {}),
  };
}

const bench: Bench = {
  op: "embedding-rows",
  title: "Rows of an item table",
  method:
    "gather and scatter-add of ids that repeat; lazy-adam: sum the gradients of repeated ids, then one Adam step on the distinct rows (SparseAdam)",
  cases: [
    rows("gather", 1_000_000, 4_000, true),
    rows("gather", 1_000_000, 100_000),
    rows("scatter-add", 1_000_000, 4_000, true),
    rows("scatter-add", 1_000_000, 100_000),
    rows("lazy-adam", 10_000, 4_000),
    rows("lazy-adam", 100_000, 4_000),
    rows("lazy-adam", 1_000_000, 4_000, true),
    rows("lazy-adam", 1_000_000, 100_000),
  ],
  inputs(parameters) {
    const [items, ids, d] = [size(parameters, "items"), size(parameters, "ids"), size(parameters, "d")];
    return {
      key: `${items} ${ids}`,
      make: () => ({ table: normals(items * d, 1), ids: integers(ids, items, 2), gradients: normals(ids * d, 3) }),
    };
  },
  ours: {
    prepare(parameters, inputs) {
      const work = { gather, "scatter-add": scatterAdd, "lazy-adam": adamStep }[String(parameters.work)];
      if (work === undefined) throw new Error("no such work");
      return {
        variant: native()!.runtimeInfo().simd,
        ...work(inputs, size(parameters, "items"), size(parameters, "d")),
      };
    },
  },
  peers: [
    {
      impl: "torch",
      script: "embedding_rows.py",
      modules: ["numpy", "torch"],
      configurations: configurations({ allocator: true, threads: [2, 1] }),
    },
    {
      impl: "numpy",
      script: "embedding_rows.py",
      modules: ["numpy"],
      configurations: configurations().filter(({ blas }) => blas === "stock"),
      supports: ({ work }) => work !== "lazy-adam",
    },
  ],
  agree: (expected, actual) => closeArrays(expected, actual, TOLERANCE),
};
export default bench;

function gather({ table, ids }: Arrays, items: number, cols: number): Prepared {
  const source = { data: table as Float32Array, rows: items, cols };
  const out = new Float32Array(ids!.length * cols);
  return { run: () => gatherRows(source, ids as Uint32Array, out), result: () => ({ out }) };
}

/** Compared are the rows that `ids` name, after the first call: later ones would add up rounding. */
function scatterAdd({ table, ids, gradients }: Arrays, items: number, cols: number): Prepared {
  const target = { data: table as Float32Array, rows: items, cols };
  return afterFirst(
    () => scatterAddRows(target, ids as Uint32Array, gradients as Float32Array),
    () => gatherRows(target, ids as Uint32Array).data,
  );
}

function adamStep({ table, ids, gradients }: Arrays, items: number, cols: number): Prepared {
  const target = { data: table as Float32Array, rows: items, cols };
  const state = createRowAdamState(items, cols);
  const parts = [{ ids: ids as Uint32Array, data: gradients as Float32Array }];
  // Kept from step to step, as the trainer does.
  const room = new Float32Array(gradients!.length);
  let step = 0;
  return afterFirst(
    () => {
      const { rows, data } = mergeRows(parts, cols, room);
      step++;
      lazyAdam(target, state, rows, data, { learningRate: LEARNING_RATE, step });
    },
    () => gatherRows(target, ids as Uint32Array).data,
  );
}

function afterFirst(run: () => void, read: () => Float32Array): Prepared {
  let first: Float32Array | undefined;
  return {
    run() {
      run();
      first ??= read();
    },
    result: () => ({ out: first! }),
  };
}
