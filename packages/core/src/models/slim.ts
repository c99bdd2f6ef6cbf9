import { z } from "zod";
import { yieldToEventLoop } from "../base/abort.js";
import { PrismrecError } from "../base/errors.js";
import type { CsrMatrix } from "../base/matrix.js";
import type { RunOptions } from "../base/run-options.js";
import type { History } from "../data/history.js";
import { trainingMatrix } from "../data/training-matrix.js";
import type { Dataset } from "../data/types.js";
import type { Ranking } from "../metrics/ranking.js";
import { transpose } from "../ops/item-statistics/counts.js";
import { cooccurrence, itemNeighbours } from "../ops/item-statistics/item-statistics.js";
import { chooseBest } from "./choose-best.js";
import { ItemKnn } from "./item-knn.js";
import type { RankOptions, ScoringModel } from "./model.js";
import type { ScorerDefinition } from "./scorer-definition.js";
import { csrTensors, storedCsr } from "./stored-array.js";

/** A weight that changes by less than this share of the largest has settled. */
const TOLERANCE = 1e-3;
const MOST_SWEEPS = 100;

/**
 * SLIM (Ning and Karypis 2011): item-to-item weights W >= 0 without self-similarity that minimise, for the binary matrix X,
 * 1/2 |X - X W|^2 + l2 / 2 |W|^2 + l1 |W|_1, by coordinate descent column by column. As in their fsSLIM, a column is made of
 * its item's nearest neighbours alone, so that memory and time grow with the catalog and not with its square.
 */
export class Slim implements ScoringModel {
  readonly name = "slim";
  readonly itemCount: number;
  readonly #linear: ItemKnn;

  /** @param weights [N, N]: row i (dense id i + 1) holds what a history item gives to each other item */
  constructor(readonly weights: CsrMatrix) {
    this.itemCount = weights.rows;
    this.#linear = new ItemKnn(weights);
  }

  score(history: Pick<History, "items">, scores: Float64Array): boolean {
    return this.#linear.score(history, scores);
  }

  rank(histories: readonly History[], options: RankOptions): Promise<Ranking> {
    return this.#linear.rank(histories, options);
  }
}

const slimSettings = z.strictObject({
  l2: z
    .array(z.number().min(0))
    .min(1)
    .default([100, 500, 1500, 20])
    .describe("ridge penalties, in events, of which validation recall at the largest cut-off chooses"),
  l1: z.number().min(0).default(1).describe("penalty that makes weights zero, in events"),
  neighbours: z.int().min(1).default(200).describe("nearest items by cosine that a column may be made of"),
});

export interface SlimOptions extends RunOptions {
  readonly l1: number;
  readonly l2: number;
  readonly neighbours: number;
}

/** What every penalty is fitted from. */
interface Statistics {
  /** [N, N] how many users have both items, the diagonal included. */
  readonly counts: CsrMatrix;
  /** [N, N] the neighbours of each item. */
  readonly nearest: CsrMatrix;
}

async function statisticsOf(dataset: Dataset, neighbours: number, run: RunOptions): Promise<Statistics> {
  const users = trainingMatrix(dataset);
  const counts = cooccurrence(users);
  const squaredNorms = new Float32Array(users.cols);
  for (const item of users.indices) squaredNorms[item]!++;
  return { counts, nearest: await itemNeighbours(users, { neighbours, squaredNorms }, run) };
}

/**
 * Time: N columns of n neighbours, each n look-ups of a row of counts and some tens of sweeps over [n, n].
 *
 * @throws PrismrecError CONFIG_INVALID for settings out of range, OUT_OF_MEMORY. An aborted signal rejects with its reason.
 */
export async function fitSlim(dataset: Dataset, options: SlimOptions): Promise<Slim> {
  const { l1, l2, neighbours, ...run } = options;
  return new Slim(await weightsOf(await statisticsOf(dataset, neighbours, run), { l1, l2 }, run));
}

async function weightsOf(
  { counts, nearest }: Statistics,
  { l1, l2 }: Pick<SlimOptions, "l1" | "l2">,
  { signal, onProgress }: RunOptions,
): Promise<CsrMatrix> {
  if (!(l1 >= 0 && l2 >= 0 && Number.isFinite(l1 + l2))) {
    throw new PrismrecError("CONFIG_INVALID", "slim needs penalties that are not negative", {
      expected: "l1 >= 0 and l2 >= 0",
      received: `${l1} and ${l2}`,
    });
  }
  const n = counts.rows;
  const column = new Column(counts);
  const indptr = new Uint32Array(n + 1);
  const indices = new Uint32Array(nearest.indices.length);
  const values = new Float32Array(nearest.indices.length);
  let size = 0;
  for (let item = 0; item < n; item++) {
    if (item % 64 === 0) {
      await yieldToEventLoop(signal);
      onProgress?.({ stage: "slim", done: item, total: n, unit: "items" });
    }
    const around = nearest.indices
      .subarray(nearest.indptr[item]!, nearest.indptr[item + 1]!)
      .slice()
      .sort();
    for (const [i, weight] of column.solve(item, around, l1, l2).entries()) {
      if (weight === 0) continue;
      indices[size] = around[i]!;
      values[size++] = weight;
    }
    indptr[item + 1] = size;
  }
  return transpose({ indptr, indices: indices.slice(0, size), values: values.slice(0, size), rows: n, cols: n });
}

/** Solves one column after another in the same memory. */
class Column {
  readonly #counts: CsrMatrix;
  /** Where an item stands among the neighbours of the present column, plus one. */
  readonly #place: Uint32Array;

  constructor(counts: CsrMatrix) {
    this.#counts = counts;
    this.#place = new Uint32Array(counts.rows);
  }

  /** The weights of `around`, by coordinate descent on 1/2 w'(A + l2 I)w - b'w + l1 |w|_1 with w >= 0. */
  solve(item: number, around: Uint32Array, l1: number, l2: number): Float64Array {
    const n = around.length;
    const weights = new Float64Array(n);
    const a = new Float64Array(n * n);
    // b - A w: what is left to be explained of how often each stands beside the item.
    const rest = new Float64Array(n);
    around.forEach((other, i) => {
      this.#place[other] = i + 1;
    });
    this.#spread(item, (i, count) => {
      rest[i] = count;
    });
    around.forEach((other, i) => {
      this.#spread(other, (j, count) => {
        a[i * n + j] = count;
      });
    });
    for (const other of around) this.#place[other] = 0;
    for (let sweep = 0; sweep < MOST_SWEEPS; sweep++) {
      let [moved, largest] = [0, 0];
      for (let i = 0; i < n; i++) {
        const [own, old] = [a[i * n + i]!, weights[i]!];
        const weight = Math.max(0, (rest[i]! + own * old - l1) / (own + l2));
        largest = Math.max(largest, weight);
        const step = weight - old;
        if (step === 0) continue;
        moved = Math.max(moved, Math.abs(step));
        weights[i] = weight;
        for (let j = 0; j < n; j++) rest[j]! -= step * a[i * n + j]!;
      }
      if (moved <= TOLERANCE * largest) break;
    }
    return weights;
  }

  /** Tells the counts of a row that fall on neighbours. */
  #spread(row: number, tell: (place: number, count: number) => void): void {
    const { indptr, indices, values } = this.#counts;
    for (let at = indptr[row]!; at < indptr[row + 1]!; at++) {
      const place = this.#place[indices[at]!]!;
      if (place > 0) tell(place - 1, values![at]!);
    }
  }
}

export const slim: ScorerDefinition<z.infer<typeof slimSettings>, Slim> = {
  kind: "scorer",
  name: "slim",
  paper: "Ning and Karypis, SLIM: Sparse Linear Methods for Top-N Recommender Systems, 2011",
  about: "sparse item-to-item weights that are not negative, each item's from its nearest neighbours",
  settings: slimSettings,
  chooses: true,
  async fit(dataset, { l1, l2, neighbours }, run = {}, choose) {
    const statistics = await statisticsOf(dataset, neighbours, run);
    const fit = async (l2: number) => new Slim(await weightsOf(statistics, { l1, l2 }, run));
    const { model, value, ...judged } = await chooseBest("at least one penalty", l2, fit, choose);
    return { model, facts: { l1, l2: value, neighbours, ...judged } };
  },
  chosen: ({ l1, l2, neighbours }) => slimSettings.parse({ l1, l2: [l2], neighbours }),
  tensors: ({ weights }) => new Map(csrTensors(weights)),
  open: ({ catalog: { size } }, tensors) => new Slim(storedCsr(tensors, size)),
};
