import { z } from "zod";
import { yieldToEventLoop } from "../base/abort.js";
import { PrismrecError } from "../base/errors.js";
import type { CsrMatrix, Matrix } from "../base/matrix.js";
import { requireMemory } from "../base/memory.js";
import { createRandom } from "../base/random.js";
import type { RunOptions } from "../base/run-options.js";
import type { History } from "../data/history.js";
import { trainingMatrix } from "../data/training-matrix.js";
import type { Dataset } from "../data/types.js";
import type { Ranking } from "../metrics/ranking.js";
import { transpose } from "../ops/item-statistics/counts.js";
import { checkHistories } from "./check-rank.js";
import { InterestSearch } from "./interest-search.js";
import type { InterestBatch, InterestRankOptions, MultiInterestModel, ScoringModel } from "./model.js";
import type { ScorerDefinition } from "./scorer-definition.js";
import { storedArray } from "./stored-array.js";

/** Of the length of a first item vector. */
const FIRST_LENGTH = 0.1;
/** Multiplications between two looks at the event loop. */
const AT_ONCE = 2 ** 24;

const ialsSettings = z.strictObject({
  factors: z.int().min(1).max(2048).default(64).describe("d, numbers of an item's vector"),
  iterations: z.int().min(1).default(16).describe("sweeps over all users and all items"),
  alpha: z
    .number()
    .positive()
    .default(0.1)
    .describe("weight of an item that a user does not have; one that he has weighs 1"),
  regularization: z
    .number()
    .positive()
    .default(0.03)
    .describe("ridge penalty on a vector, before its scaling by frequency"),
  frequencyExponent: z
    .number()
    .min(0)
    .max(1)
    .default(1)
    .describe("how far the penalty grows with the weight of a user's or item's data; 0: the same for all"),
  seed: z.int().min(0).default(1),
});

export type IalsSettings = z.infer<typeof ialsSettings>;

/** What a vector is solved by, given those of the other side. */
type Penalty = Pick<IalsSettings, "alpha" | "regularization" | "frequencyExponent">;

/**
 * Implicit alternating least squares (Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets",
 * 2008, equations 3 to 5), with the weights and the scaling of the penalty by frequency of Rendle, Krichene, Zhang and
 * Koren, "Revisiting the Performance of iALS on Item Recommendation Benchmarks", 2022: user vectors w and item vectors h
 * minimise, over the users' sets of items I_u,
 *
 * sum over u, i in I_u of (1 - <w_u, h_i>)^2 + alpha sum over all u, i of <w_u, h_i>^2
 *   + regularization (sum over u of (|I_u| + alpha N)^nu |w_u|^2 + sum over i of (|U_i| + alpha U)^nu |h_i|^2).
 *
 * No user vector is kept: a history is folded in by the least squares that a training user's vector solves, whoever it
 * is of, at about n d^2 / 2 + d^3 / 6 multiplications for n items. It is one interest, so that exact search over the item
 * vectors serves the model. Items that no training user has have a zero vector, and score 0.
 */
export class Ials implements MultiInterestModel, ScoringModel, Disposable {
  readonly name = "ials";
  readonly dim: number;
  readonly itemCount: number;
  /** All of a history is read. */
  readonly maxHistory = Number.MAX_SAFE_INTEGER;
  readonly readout = "max";
  readonly #search = new InterestSearch(this);
  readonly #solver: RowSolver;
  readonly #everyItem: Uint32Array;

  /**
   * @param items [N, d], row i belongs to dense id i + 1
   * @param penalty what the items were fitted with
   */
  constructor(
    readonly items: Matrix,
    readonly penalty: Penalty,
  ) {
    this.dim = items.cols;
    this.itemCount = items.rows;
    this.#solver = new RowSolver(Float64Array.from(items.data), items.cols, penalty);
    this.#everyItem = Uint32Array.from({ length: items.rows }, (_, row) => row);
  }

  itemVectors(): Matrix {
    return this.items;
  }

  itemBias(): undefined {
    return undefined;
  }

  /**
   * The folded-in vector of each history, in [B, d]. With w = A^-1 (h_1 + h_2 + ...), an event's attention is the share of
   * <A^-1 h_t, w> in |w|^2, none where that is negative; an item that stands there again has its at the latest place.
   */
  interests(histories: readonly History[]): InterestBatch {
    checkHistories(this.itemCount, histories);
    const rows = histories.length;
    const d = this.dim;
    const longest = histories.reduce((most, { items }) => Math.max(most, items.length), 0);
    const vectors = { data: new Float32Array(rows * d), rows, cols: d };
    const offsets = new Float32Array(rows).fill(-Infinity);
    const attention = new Float32Array(rows * longest);
    for (const [b, { items }] of histories.entries()) {
      if (items.length === 0) continue;
      offsets[b] = 0;
      const latest = new Map(Array.from(items, (id, t) => [id - 1, t]));
      const own = Uint32Array.from(latest.keys());
      const vector = this.#solver.solve(own);
      vectors.data.set(vector, b * d);
      const shares = this.#solver.products(own, this.#solver.solveAgain(vector));
      const total = shares.reduce((sum, share) => sum + Math.max(0, share), 0);
      for (const [n, item] of own.entries()) {
        if (total > 0) attention[b * longest + latest.get(item)!] = Math.max(0, shares[n]!) / total;
      }
    }
    return { count: 1, vectors, offsets, clusters: new Int16Array(rows).fill(-1), attention };
  }

  score({ items }: Pick<History, "items">, scores: Float64Array): boolean {
    const vector = this.#solver.solve(items.map((id) => id - 1));
    scores.set(this.#solver.products(this.#everyItem, vector));
    return items.length > 0;
  }

  rank(histories: readonly History[], options: InterestRankOptions): Promise<Ranking> {
    return this.#search.rank(histories, options);
  }

  /** Gives the memory of the search index back; the next `rank` builds it anew. */
  [Symbol.dispose](): void {
    this.#search[Symbol.dispose]();
  }
}

export interface IalsOptions extends Partial<IalsSettings>, RunOptions {}

/**
 * Every vector of a sweep is solved exactly, by Cholesky: a sweep takes about E d^2 + (U + N) d^3 / 6 multiplications for E
 * training events, on the calling thread, which gives way to the event loop. The log's weights are not read.
 *
 * @throws PrismrecError CONFIG_INVALID, OUT_OF_MEMORY, NON_FINITE (a penalty so small that a solve fails). An aborted
 *   signal rejects with its reason.
 */
export async function fitIals(dataset: Dataset, options: IalsOptions = {}): Promise<Ials> {
  const { signal, onProgress, ...given } = options;
  const parsed = ialsSettings.safeParse(given);
  if (!parsed.success) {
    throw new PrismrecError("CONFIG_INVALID", "the settings of ials are not valid", {
      received: z.prettifyError(parsed.error),
    });
  }
  const { factors: d, iterations, seed, ...penalty } = parsed.data;
  const users = trainingMatrix(dataset);
  const n = users.cols;
  requireMemory(
    "ials",
    ialsMemory(n, users.rows, d),
    "Choose fewer factors, or raise the core so that fewer items stay.",
  );
  const usersOfItem = transpose(users);
  const random = createRandom(seed, "ials");
  const items = Float64Array.from({ length: n * d }, () => (FIRST_LENGTH / Math.sqrt(d)) * random.normal());
  const userVectors = new Float64Array(users.rows * d);
  for (let sweep = 0; sweep < iterations; sweep++) {
    await solveRows(users, items, userVectors, d, penalty, signal);
    await solveRows(usersOfItem, userVectors, items, d, penalty, signal);
    onProgress?.({ stage: "ials", done: sweep + 1, total: iterations, unit: "sweeps" });
  }
  return new Ials({ data: Float32Array.from(items), rows: n, cols: d }, penalty);
}

/** Bytes that fitting takes, for N items, U training users and d factors: both sides in doubles, and the result in floats and doubles. */
export function ialsMemory(items: number, users: number, factors: number): number {
  return 8 * factors * (items + users) + 12 * factors * items + 24 * factors * factors;
}

/** The vectors of one side, [rows, d], given the other's, [cols, d]. */
async function solveRows(
  rows: CsrMatrix,
  fixed: Float64Array,
  solved: Float64Array,
  d: number,
  penalty: Penalty,
  signal: AbortSignal | undefined,
): Promise<void> {
  await yieldToEventLoop(signal);
  const solver = new RowSolver(fixed, d, penalty);
  let spent = 0;
  for (let row = 0; row < rows.rows; row++) {
    const own = rows.indices.subarray(rows.indptr[row]!, rows.indptr[row + 1]!);
    if (spent > AT_ONCE) {
      await yieldToEventLoop(signal);
      spent = 0;
    }
    spent += (own.length * d * d) / 2 + d ** 3 / 6;
    solved.set(solver.solve(own), row * d);
  }
}

/** Solves (alpha H'H + sum of h h' over own rows + ridge I) w = sum of own h, for any own rows of one H [rows, d]. */
class RowSolver {
  /** [d, d], the lower triangle of alpha H'H. */
  readonly #all: Float64Array;
  /** [d, d], the lower triangle of the last system, and of its Cholesky factor. */
  readonly #system: Float64Array;
  /** [d] the column in hand, its entries side by side. */
  readonly #column: Float64Array;
  readonly #rows: number;

  constructor(
    readonly vectors: Float64Array,
    readonly dim: number,
    readonly penalty: Penalty,
  ) {
    this.#rows = vectors.length / dim;
    this.#all = new Float64Array(dim * dim);
    this.#system = new Float64Array(dim * dim);
    this.#column = new Float64Array(dim);
    this.#addProducts(
      this.#all,
      Uint32Array.from({ length: this.#rows }, (_, row) => row),
    );
    for (let at = 0; at < dim * dim; at++) this.#all[at]! *= penalty.alpha;
  }

  /** [d], zero for no rows. */
  solve(own: Uint32Array): Float64Array {
    const { dim: d, vectors } = this;
    const { alpha, regularization, frequencyExponent } = this.penalty;
    const right = new Float64Array(d);
    if (own.length === 0) return right;
    this.#system.set(this.#all);
    this.#addProducts(this.#system, own);
    const ridge = regularization * (own.length + alpha * this.#rows) ** frequencyExponent;
    for (let x = 0; x < d; x++) this.#system[x * d + x]! += ridge;
    for (const row of own) for (let x = 0; x < d; x++) right[x]! += vectors[row * d + x]!;
    this.#factorise();
    return this.solveAgain(right);
  }

  /** [d] the last system's solution for another right side. */
  solveAgain(given: Float64Array): Float64Array {
    const { dim: d } = this;
    const [l, x] = [this.#system, given.slice()];
    for (let i = 0; i < d; i++) {
      let rest = x[i]!;
      for (let j = 0; j < i; j++) rest -= l[i * d + j]! * x[j]!;
      x[i] = rest / l[i * d + i]!;
    }
    for (let i = d - 1; i >= 0; i--) {
      const value = x[i]! / l[i * d + i]!;
      x[i] = value;
      for (let j = 0; j < i; j++) x[j]! -= l[i * d + j]! * value;
    }
    return x;
  }

  /** The inner product of each of the rows with a vector. */
  products(own: Uint32Array, vector: Float64Array): Float64Array {
    const { dim: d, vectors } = this;
    return Float64Array.from(own, (row) => {
      let sum = 0;
      for (let x = 0; x < d; x++) sum += vectors[row * d + x]! * vector[x]!;
      return sum;
    });
  }

  /** Adds the lower triangle of h h' of each row, four rows at a time so that each entry is read and written once for them. */
  #addProducts(sum: Float64Array, own: Uint32Array): void {
    const { dim: d, vectors } = this;
    let n = 0;
    for (; n + 4 <= own.length; n += 4) {
      const [a, b, c, e] = [own[n]! * d, own[n + 1]! * d, own[n + 2]! * d, own[n + 3]! * d];
      for (let i = 0; i < d; i++) {
        const [ai, bi, ci, ei] = [vectors[a + i]!, vectors[b + i]!, vectors[c + i]!, vectors[e + i]!];
        const to = i * d;
        for (let j = 0; j <= i; j++) {
          sum[to + j]! += ai * vectors[a + j]! + bi * vectors[b + j]! + ci * vectors[c + j]! + ei * vectors[e + j]!;
        }
      }
    }
    for (; n < own.length; n++) {
      const a = own[n]! * d;
      for (let i = 0; i < d; i++) {
        for (let j = 0; j <= i; j++) sum[i * d + j]! += vectors[a + i]! * vectors[a + j]!;
      }
    }
  }

  /** The lower Cholesky factor of the system, in its place: column by column, each taken off all that is right of it. */
  #factorise(): void {
    const { dim: d } = this;
    const l = this.#system;
    const column = this.#column;
    for (let j = 0; j < d; j++) {
      const pivot = l[j * d + j]!;
      if (!(pivot > 0 && Number.isFinite(pivot))) {
        throw new PrismrecError("NON_FINITE", "the least squares of ials have no solution", {
          expected: "a positive pivot in every column",
          received: `${pivot} in column ${j} of ${d}`,
          hint: "Raise regularization.",
        });
      }
      const root = Math.sqrt(pivot);
      l[j * d + j] = root;
      for (let i = j + 1; i < d; i++) {
        const own = l[i * d + j]! / root;
        l[i * d + j] = own;
        column[i] = own;
        for (let s = j + 1; s <= i; s++) l[i * d + s]! -= own * column[s]!;
      }
    }
  }
}

export const ials: ScorerDefinition<IalsSettings, Ials> = {
  kind: "scorer",
  name: "ials",
  paper: "Hu, Koren and Volinsky, Collaborative Filtering for Implicit Feedback Datasets, 2008; Rendle et al., 2022",
  about: "matrix factorisation of implicit feedback by alternating least squares; a history is folded in",
  settings: ialsSettings,
  fit: async (dataset, settings, run) => ({
    model: await fitIals(dataset, { ...settings, ...run }),
    facts: { chosen: settings },
  }),
  chosen: ({ chosen }) => ialsSettings.parse(chosen),
  tensors: ({ items, penalty: { alpha, regularization, frequencyExponent } }) =>
    new Map([
      ["items", { shape: [items.rows, items.cols], data: items.data }],
      ["penalty", { shape: [3], data: Float64Array.of(alpha, regularization, frequencyExponent) }],
    ]),
  open({ catalog: { size } }, tensors) {
    const dim = tensors.get("items")?.shape[1] ?? 1;
    const [alpha, regularization, frequencyExponent] = storedArray(tensors, "penalty", Float64Array, 3);
    return new Ials(
      { data: storedArray(tensors, "items", Float32Array, size * dim), rows: size, cols: dim },
      { alpha: alpha!, regularization: regularization!, frequencyExponent: frequencyExponent! },
    );
  },
};
