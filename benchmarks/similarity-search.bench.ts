import type { Matrix, SparseMatrix } from "@prismrec/core/base";
import { ExactIndex, type SimilarityQuery } from "@prismrec/core/ops";
import { type Arrays, type Bench, type BenchCase, type Parameters, size, type Verdict } from "./lib/bench.js";
import { configurations } from "./lib/configurations.js";
import { benchVariant, onBenchDevice } from "./lib/device.js";
import { normals, randomStream } from "./lib/random-arrays.js";

/** Queries that the oracle answers too. */
const ORACLE_QUERIES = 4;
/** Of the largest score: products summed in another order. */
const TOLERANCE = 1e-5;
const USEARCH_MOST = 64e6;

function search(items: number, d: number, queries: number, k: number, more: Partial<BenchCase> = {}): BenchCase {
  return {
    variant: queries === 1 ? `one query, k=${k}` : `${queries} queries, k=${k}`,
    shape: `${items}x${d}`,
    parameters: { items, d, queries, k, interests: 1 },
    ...more,
  };
}

/** Entries a user has where additive scores are sparse. */
const ENTRIES = 200;

/** Users of four interests under a mixture's density, alone and with a linear prior added: dense or so many entries each. */
function mixture(items: number, users: number, added: "nothing" | "dense" | "sparse"): BenchCase {
  const prior = { nothing: "", dense: " + dense scores", sparse: ` + ${ENTRIES} scores each` };
  return {
    variant: `${users === 1 ? "1 user" : `${users} users`} of 4 interests, log-sum-exp${prior[added]}, k=50`,
    shape: `${items}x64`,
    parameters: { items, d: 64, queries: users, k: 50, interests: 4, readout: "log-sum-exp", added },
  };
}

/** What a GPU does not add. */
const ADDITIVE = onBenchDevice().device === "cuda" ? [] : (["dense", "sparse"] as const);

const bench: Bench = {
  op: "similarity-search",
  title: "Exact top-k inner product",
  method: "one call on normal vectors, index there already; several interests per user: the best of them counts",
  cases: [
    search(10_000, 64, 1, 20, { plot: { series: "one query, k=20", n: 10_000 } }),
    search(10_000, 64, 1024, 100, { plot: { series: "1024 queries, k=100", n: 10_000 } }),
    search(100_000, 64, 1, 20, { quick: true, plot: { series: "one query, k=20", n: 100_000 } }),
    search(100_000, 64, 1, 100),
    search(100_000, 64, 64, 20),
    search(100_000, 64, 64, 100),
    search(100_000, 64, 1024, 20),
    search(100_000, 64, 1024, 100, { quick: true, plot: { series: "1024 queries, k=100", n: 100_000 } }),
    {
      variant: "256 users of 4 interests, k=50",
      shape: "100000x64",
      parameters: { items: 100_000, d: 64, queries: 256, k: 50, interests: 4 },
      quick: true,
    },
    search(1_000_000, 64, 1, 20, { plot: { series: "one query, k=20", n: 1_000_000 } }),
    search(1_000_000, 64, 1024, 100, { plot: { series: "1024 queries, k=100", n: 1_000_000 } }),
    search(1_000_000, 128, 1, 20),
    search(1_000_000, 128, 1024, 20),
    search(1_000_000, 128, 1024, 100),
    ...[1, 256].flatMap((users) => [
      mixture(20_000, users, "nothing"),
      mixture(100_000, users, "nothing"),
      ...ADDITIVE.map((added) => mixture(added === "dense" ? 20_000 : 100_000, users, added)),
    ]),
  ],
  inputs(parameters) {
    const [items, d, queries] = [size(parameters, "items"), size(parameters, "d"), size(parameters, "queries")];
    const { added = "nothing" } = parameters;
    const vectors = () => ({ items: normals(items * d, 1), queries: normals(1024 * d, 2) });
    return {
      key: `${items} ${d} ${added}${added === "nothing" ? "" : ` ${queries}`}`,
      make: () => ({ ...vectors(), ...additiveInputs(items, queries, added) }),
    };
  },
  cuda: true,
  ours: {
    prepare(parameters, inputs) {
      const index = ExactIndex.buildSync(matrix(parameters, inputs, "items", size(parameters, "items")));
      const query = { ...queriesOf(parameters, inputs, size(parameters, "queries")), ...onBenchDevice() };
      let last: ReturnType<ExactIndex["searchSync"]> | undefined;
      return {
        variant: benchVariant(),
        run() {
          last = index.searchSync(query);
        },
        result: () => ({ ids: last!.ids, scores: last!.scores }),
        remark() {
          const { read, scored } = last!.touched;
          const ofAll = (count: number): string =>
            `${((100 * count) / (index.size * query.queries.rows)).toFixed(1)} %`;
          return `read ${ofAll(read)} of the items, scored ${ofAll(scored)}`;
        },
        oracle() {
          const few = Math.min(ORACLE_QUERIES, size(parameters, "queries"));
          const { ids, scores } = index.searchSync({ ...queriesOf(parameters, inputs, few), variant: "reference" });
          return { ids, scores };
        },
      };
    },
  },
  peers: [
    {
      impl: "faiss",
      script: "similarity_search.py",
      modules: ["numpy", "faiss"],
      configurations: configurations({ outer: true }),
      supports: (parameters) => !isMixture(parameters),
    },
    {
      impl: "torch",
      script: "similarity_search.py",
      modules: ["numpy", "torch"],
      configurations: configurations({ outer: true, options: [{ block: 64e6 }, { block: 8e6 }] }),
      supports: (parameters) => !isMixture(parameters),
    },
    {
      impl: "numpy",
      script: "similarity_search.py",
      modules: ["numpy"],
      configurations: configurations({ outer: true }),
      // Its selection takes seconds for a thousand lists of a million scores.
      supports: (parameters) =>
        isMixture(parameters) || (size(parameters, "interests") === 1 && scored(parameters) <= 10e6),
    },
    {
      impl: "usearch",
      script: "similarity_search.py",
      modules: ["numpy", "usearch"],
      configurations: configurations().filter(({ python }) => python === "pypi"),
      // 17 queries/s on a million items.
      supports: (parameters) => size(parameters, "interests") === 1 && scored(parameters) <= USEARCH_MOST,
    },
  ],
  agree: sameLists,
  rate: (parameters) =>
    size(parameters, "interests") === 1
      ? { amount: size(parameters, "queries"), unit: "queries/s" }
      : { amount: size(parameters, "queries"), unit: "users/s" },
};
export default bench;

function isMixture({ readout }: Parameters): boolean {
  return readout === "log-sum-exp";
}

/** Scores of about half the spread of the products; sparse ones of items drawn without repeats. */
function additiveInputs(items: number, queries: number, added: Parameters[string] | undefined): Arrays {
  if (added === "dense") return { additive: normals(queries * items, 3, 4) };
  if (added !== "sparse") return {};
  const random = randomStream(4);
  const additiveIndices = new Uint32Array(queries * ENTRIES);
  for (let q = 0; q < queries; q++) {
    const row = new Set<number>();
    while (row.size < ENTRIES) row.add(Math.floor(random() * items));
    additiveIndices.set([...row], q * ENTRIES);
  }
  const additiveIndptr = Uint32Array.from({ length: queries + 1 }, (_, q) => q * ENTRIES);
  return { additive: normals(queries * ENTRIES, 3, 4), additiveIndptr, additiveIndices };
}

/** Of the first queries. */
function additiveOf(parameters: Parameters, inputs: Arrays, rows: number): Matrix | SparseMatrix | undefined {
  const [values, cols] = [inputs.additive as Float32Array | undefined, size(parameters, "items")];
  if (values === undefined) return undefined;
  if (inputs.additiveIndptr === undefined) return { data: values.subarray(0, rows * cols), rows, cols };
  const indptr = (inputs.additiveIndptr as Uint32Array).subarray(0, rows + 1);
  const indices = (inputs.additiveIndices as Uint32Array).subarray(0, indptr[rows]);
  return { indptr, indices, values: values.subarray(0, indptr[rows]), rows, cols };
}

function scored(parameters: Parameters): number {
  return size(parameters, "items") * size(parameters, "queries");
}

function matrix(parameters: Parameters, inputs: Arrays, name: string, rows: number): Matrix {
  const cols = size(parameters, "d");
  return { data: (inputs[name] as Float32Array).subarray(0, rows * cols), rows, cols };
}

function queriesOf(parameters: Parameters, inputs: Arrays, count: number): SimilarityQuery {
  const interestsPerQuery = size(parameters, "interests");
  const additive = additiveOf(parameters, inputs, count);
  return {
    queries: matrix(parameters, inputs, "queries", count * interestsPerQuery),
    k: size(parameters, "k"),
    interestsPerQuery,
    ...(isMixture(parameters) ? { readout: "log-sum-exp" as const } : {}),
    ...(additive === undefined ? {} : { additive }),
  };
}

/**
 * Rank by rank the same score up to rounding: then the lists differ at most where items tie. `expected` may hold the
 * first queries only.
 */
function sameLists(expected: Arrays, actual: Arrays): Verdict {
  const [scores, others] = [expected.scores!, actual.scores];
  const [ids, otherIds] = [expected.ids!, actual.ids];
  if (others === undefined || otherIds === undefined || others.length < scores.length) {
    return { agrees: false, detail: "lists are missing" };
  }
  let largest = 0;
  let worst = 0;
  let same = 0;
  for (let i = 0; i < scores.length; i++) {
    largest = Math.max(largest, Math.abs(scores[i]!));
    worst = Math.max(worst, Math.abs(scores[i]! - others[i]!));
    if (ids[i] === otherIds[i]) same++;
  }
  const share = ((100 * same) / scores.length).toFixed(2);
  return { agrees: worst <= TOLERANCE * largest, detail: `${share} % the same items, the rest ties up to rounding` };
}
