import { type MaxCoverProblem, type MaxCoverSolution, maxCoverSync } from "@prismrec/core/ops";
import type { Arrays, Bench, BenchCase, Parameters, Verdict } from "./lib/bench.js";
import { size } from "./lib/bench.js";
import { ONE_THREAD } from "./lib/configurations.js";
import { onBenchDevice } from "./lib/device.js";
import { normals, randomStream } from "./lib/random-arrays.js";

/** Spread of the logarithm of a set's size, and the largest size. */
const SIZE_SPREAD = 0.8;
const LARGEST_SET = 3000;
/** What other choices among ties may make of the value. */
const TIED_VALUE = 5e-3;
/** Elements that the oracle, which computes every gain anew for every pick, may look at. */
const ORACLE_MOST = 100e6;
/** Popularity of element e is proportional to 1 / (e + HEAD). */
const HEAD = 10;

function cover(sets: number, elements: number, meanSize: number, budget: number, quick = false): BenchCase {
  return {
    variant: `greedy, ${budget} sets`,
    shape: `${sets}x${elements}`,
    parameters: { sets, elements, meanSize, budget },
    quick,
    bytes: { submodlib: 200 * sets * meanSize },
    plot: { series: "greedy", n: sets },
  };
}

const bench: Bench = {
  op: "max-cover",
  title: "Greedy max coverage",
  method: "picks, gains and certificate from CSR sets whose elements follow a power law; the same picks are required",
  cases: [
    cover(10_000, 5_000, 40, 100, true),
    cover(100_000, 50_000, 40, 1000, true),
    cover(1_000_000, 200_000, 30, 5000),
  ],
  inputs(parameters) {
    return { key: JSON.stringify(parameters), make: () => instance(parameters) };
  },
  cuda: true,
  ours: {
    prepare(parameters, { indptr, indices }) {
      const problem: MaxCoverProblem = {
        sets: {
          indptr: indptr as Uint32Array,
          indices: indices as Uint32Array,
          rows: size(parameters, "sets"),
          cols: size(parameters, "elements"),
        },
      };
      const maxSets = size(parameters, "budget");
      let last: MaxCoverSolution | undefined;
      const picks = ({ selected, value }: MaxCoverSolution): Arrays => ({ selected, value: Float64Array.of(value) });
      return {
        run() {
          last = maxCoverSync(problem, { maxSets, ...onBenchDevice() });
        },
        result: () => picks(last!),
        ...(indices!.length * maxSets <= ORACLE_MOST
          ? { oracle: () => picks(maxCoverSync(problem, { maxSets, variant: "reference" })) }
          : {}),
      };
    },
  },
  peers: [
    { impl: "cpp-celf", script: "max_cover.py", modules: [], configurations: ONE_THREAD },
    { impl: "cpp-bucket", script: "max_cover.py", modules: [], configurations: ONE_THREAD },
    {
      impl: "scipy",
      script: "max_cover.py",
      modules: ["numpy", "scipy"],
      configurations: ONE_THREAD,
      supports: (parameters) => size(parameters, "sets") <= 100_000,
    },
    {
      impl: "submodlib",
      script: "max_cover.py",
      modules: ["submodlib"],
      configurations: ONE_THREAD,
      supports: (parameters) => size(parameters, "sets") <= 100_000,
    },
  ],
  agree: samePicks,
};
export default bench;

/** Ties go to the lowest set, so greedy has one answer; a peer that breaks them otherwise is compared by value. */
function samePicks(expected: Arrays, actual: Arrays): Verdict {
  const [picks, others] = [expected.selected!, actual.selected];
  const share = (actual.value?.[0] ?? Number.NaN) / expected.value![0]!;
  const value = `${(100 * share).toFixed(2)} % of the value`;
  if (others === undefined) {
    return { agrees: Math.abs(share - 1) <= TIED_VALUE, detail: `other picks among ties, ${value}` };
  }
  const differs = picks.findIndex((set, i) => set !== others[i]);
  if (differs < 0 && picks.length === others.length) return { agrees: true, detail: `same picks, ${value}` };
  return { agrees: false, detail: `pick ${differs < 0 ? others.length : differs} differs, ${value}` };
}

function instance(parameters: Parameters): Arrays {
  const [sets, elements, meanSize] = [
    size(parameters, "sets"),
    size(parameters, "elements"),
    size(parameters, "meanSize"),
  ];
  const uniform = randomStream(1);
  const popularity = powerLaw(elements);
  const names = shuffled(elements, uniform);
  const spread = normals(sets, 2, SIZE_SPREAD);
  const middle = Math.log(1.08 * meanSize) - SIZE_SPREAD ** 2 / 2;
  const indptr = new Uint32Array(sets + 1);
  const entries: number[] = [];
  let indices = new Uint32Array(Math.ceil(1.3 * sets * meanSize));
  for (let s = 0; s < sets; s++) {
    const wanted = Math.max(1, Math.min(LARGEST_SET, Math.round(Math.exp(middle + spread[s]!))));
    entries.length = 0;
    for (let i = 0; i < wanted; i++) entries.push(names[popularity(uniform())]!);
    const set = Uint32Array.from(new Set(entries)).sort();
    const end = indptr[s]! + set.length;
    if (end > indices.length) {
      const grown = new Uint32Array(Math.ceil(1.5 * end));
      grown.set(indices);
      indices = grown;
    }
    indices.set(set, indptr[s]!);
    indptr[s + 1] = end;
  }
  return { indptr, indices: indices.slice(0, indptr[sets]) };
}

/** Draws an element by its popularity from a uniform number: a table leads close to it, a few steps to it. */
function powerLaw(elements: number): (u: number) => number {
  const cumulative = new Float64Array(elements);
  let total = 0;
  for (let e = 0; e < elements; e++) {
    total += 1 / (e + HEAD);
    cumulative[e] = total;
  }
  const guide = new Uint32Array(elements);
  for (let g = 0, e = 0; g < elements; g++) {
    while (cumulative[e]! < (g / elements) * total) e++;
    guide[g] = e;
  }
  return (u) => {
    let e = guide[Math.floor(u * elements)]!;
    while (e < elements - 1 && cumulative[e]! < u * total) e++;
    return e;
  };
}

function shuffled(count: number, uniform: () => number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(uniform() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}
