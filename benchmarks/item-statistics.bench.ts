import { type CsrMatrix, createRandom, type Matrix } from "@prismrec/core/base";
import { choleskyInverse, cooccurrence, gramMatrix, native, ppmi, truncatedSvd } from "@prismrec/core/ops";
import { closeArrays } from "./lib/agreement.js";
import {
  type Arrays,
  type Bench,
  type BenchCase,
  type Parameters,
  type Prepared,
  size,
  type Verdict,
} from "./lib/bench.js";
import { configurations, ONE_THREAD } from "./lib/configurations.js";

const EVENTS_PER_USER = 20;
const GROUPS = 50;
const RANK = 64;
/** Share of the squared singular values that one answer may be short of another. */
const ENERGY = 1e-3;
const TOLERANCE = 1e-4;
const RIDGE = 100;
/** Rows of an inverse that are compared. */
const COMPARED_ROWS = 64;

type Work = "co-occurrence" | "truncated SVD" | "gram" | "Cholesky inverse";

function statistics(work: Work, items: number, users: number, more: Partial<BenchCase> = {}): BenchCase {
  const matrix = work === "gram" || work === "Cholesky inverse";
  return {
    variant: work,
    shape: matrix ? `${items}x${items}` : `${users}x${items}`,
    parameters: { work, items, users },
    ...(work === "Cholesky inverse" ? { plot: { series: work, n: items } } : {}),
    ...more,
  };
}

const bench: Bench = {
  op: "item-statistics",
  title: "Item statistics",
  method:
    "of users with 20 events each in 50 groups of items; SVD: 64 leading triplets of the PPMI matrix, as much of the matrix captured by either; inverse: of X'X + 100 I, as EASE needs it",
  cases: [
    statistics("co-occurrence", 20_000, 100_000),
    statistics("truncated SVD", 5_000, 20_000, { quick: true }),
    statistics("truncated SVD", 20_000, 100_000),
    statistics("gram", 8_192, 100_000),
    statistics("Cholesky inverse", 2_048, 20_000, { quick: true }),
    statistics("Cholesky inverse", 4_096, 40_000),
    statistics("Cholesky inverse", 8_192, 100_000),
  ],
  inputs(parameters) {
    const [items, users] = [size(parameters, "items"), size(parameters, "users")];
    const svd = parameters.work === "truncated SVD";
    return {
      key: `${items} ${users} ${svd}`,
      make() {
        const interactions = plantedUsers(users, items);
        return svd ? csrArrays(ppmi(cooccurrence(interactions))) : csrArrays(interactions);
      },
    };
  },
  ours: {
    async prepare(parameters, inputs) {
      return { variant: native()!.runtimeInfo().simd, ...(await ours(parameters, inputs)) };
    },
  },
  peers: [
    {
      impl: "scipy",
      script: "item_statistics.py",
      modules: ["numpy", "scipy"],
      configurations: ONE_THREAD,
      supports: ({ work }) => work === "co-occurrence" || work === "gram",
    },
    {
      impl: "scipy-svds",
      script: "item_statistics.py",
      modules: ["numpy", "scipy"],
      configurations: configurations({
        options: [
          { solver: "arpack", tolerance: 0 },
          { solver: "arpack", tolerance: 0.1 },
          { solver: "lobpcg", tolerance: 0.1 },
        ],
      }),
      supports: ({ work }) => work === "truncated SVD",
    },
    {
      impl: "scipy-lapack",
      script: "item_statistics.py",
      modules: ["numpy", "scipy"],
      configurations: configurations(),
      supports: ({ work }) => work === "Cholesky inverse",
    },
    {
      impl: "torch-lapack",
      script: "item_statistics.py",
      modules: ["numpy", "scipy", "torch"],
      configurations: configurations(),
      supports: ({ work }) => work === "Cholesky inverse",
    },
  ],
  agree: (expected, actual) =>
    expected.energy === undefined ? closeArrays(expected, actual, TOLERANCE) : sameEnergy(expected, actual),
};
export default bench;

async function ours(parameters: Parameters, inputs: Arrays): Promise<Prepared> {
  const items = size(parameters, "items");
  const matrix = csrMatrix(inputs, items);
  switch (parameters.work as Work) {
    case "co-occurrence": {
      let last: CsrMatrix | undefined;
      return {
        run() {
          last = cooccurrence(matrix);
        },
        result: () => ({ indptr: last!.indptr, values: last!.values! }),
      };
    }
    case "truncated SVD": {
      let last: ReturnType<typeof truncatedSvd> | undefined;
      return {
        run() {
          last = truncatedSvd(matrix, RANK, { seed: 1 });
        },
        result: () => ({ energy: Float64Array.of(capturedEnergy(matrix, last!.u)) }),
      };
    }
    case "gram": {
      let last: Matrix | undefined;
      return {
        async run() {
          last = await gramMatrix(matrix);
        },
        result: () => ({ rows: last!.data.slice(0, COMPARED_ROWS * items) }),
      };
    }
    case "Cholesky inverse": {
      const gram = await gramMatrix(matrix, { ridge: RIDGE });
      const copy = { ...gram, data: new Float32Array(items * items) };
      return {
        run() {
          copy.data.set(gram.data);
          return choleskyInverse(copy);
        },
        result: () => ({ rows: copy.data.slice(0, COMPARED_ROWS * items) }),
      };
    }
  }
}

function csrArrays({ indptr, indices, values }: CsrMatrix): Arrays {
  return { indptr, indices, ...(values === undefined ? {} : { values }) };
}

function csrMatrix({ indptr, indices, values }: Arrays, cols: number): CsrMatrix {
  const matrix = { indptr: indptr as Uint32Array, indices: indices as Uint32Array, rows: indptr!.length - 1, cols };
  return values === undefined ? matrix : { ...matrix, values: values as Float32Array };
}

/** |A'U|² for orthonormal U: how much of A the subspace holds, whoever found it. */
function capturedEnergy({ indptr, indices, values, rows, cols }: CsrMatrix, u: Matrix): number {
  const projected = new Float64Array(cols * u.cols);
  for (let r = 0; r < rows; r++) {
    for (let e = indptr[r]!; e < indptr[r + 1]!; e++) {
      const base = indices[e]! * u.cols;
      for (let j = 0; j < u.cols; j++)
        projected[base + j] = projected[base + j]! + values![e]! * u.data[r * u.cols + j]!;
    }
  }
  return projected.reduce((sum, x) => sum + x * x, 0);
}

function sameEnergy(expected: Arrays, actual: Arrays): Verdict {
  const share = (actual.energy?.[0] ?? Number.NaN) / expected.energy![0]!;
  return { agrees: Math.abs(share - 1) <= ENERGY, detail: `captures ${(100 * share).toFixed(3)} % as much` };
}

/** Each user draws most events from the items of two groups, the popular ones more often. */
function plantedUsers(users: number, items: number): CsrMatrix {
  const random = createRandom(1, "item-statistics");
  const indptr = new Uint32Array(users + 1);
  const indices = new Uint32Array(users * EVENTS_PER_USER);
  let end = 0;
  for (let user = 0; user < users; user++) {
    const groups = [random.integer(0, GROUPS), random.integer(0, GROUPS)];
    const chosen = new Set<number>();
    for (let e = 0; e < EVENTS_PER_USER; e++) {
      const rank = Math.floor(items * random.uniform() ** 2);
      chosen.add(e % 4 === 0 ? rank : rank - (rank % GROUPS) + groups[e % 2]!);
    }
    const row = [...chosen].filter((item) => item < items).sort((a, b) => a - b);
    indices.set(row, end);
    end += row.length;
    indptr[user + 1] = end;
  }
  return { indptr, indices: indices.slice(0, end), rows: users, cols: items };
}
