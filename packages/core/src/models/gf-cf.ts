import { z } from "zod";
import { PrismrecError } from "../base/errors.js";
import type { CsrMatrix, Matrix } from "../base/matrix.js";
import type { RunOptions } from "../base/run-options.js";
import type { History } from "../data/history.js";
import { trainingMatrix } from "../data/training-matrix.js";
import type { Dataset } from "../data/types.js";
import type { Ranking } from "../metrics/ranking.js";
import { transpose } from "../ops/item-statistics/counts.js";
import { cooccurrence, truncatedSvd } from "../ops/item-statistics/item-statistics.js";
import { chooseBest } from "./choose-best.js";
import type { RankOptions, ScoringModel } from "./model.js";
import { rankScores } from "./rank-scores.js";
import type { ScorerDefinition } from "./scorer-definition.js";
import { csrTensors, storedArray, storedCsr } from "./stored-array.js";

/** What an item has that scores are made of. */
interface Filters {
  /** [N, N] symmetric: R'R with R = D_U^-1/2 X D_I^-1/2. */
  readonly linear: CsrMatrix;
  /** [N, r] leading right singular vectors of R. */
  readonly vectors: Matrix;
  /** [N] square root of how many training users have the item. */
  readonly rootDegrees: Float32Array;
}

/**
 * GF-CF (Shen et al. 2021), two filters on the graph of items: with R = D_U^-1/2 X D_I^-1/2, V its leading right singular
 * vectors and x a history of zeros and ones, the scores are x R'R + alpha x D_I^-1/2 V V' D_I^1/2.
 *
 * Nothing is learned by gradients, and no user is kept: a history of somebody unknown is filtered like any other.
 */
export class GfCf implements ScoringModel {
  readonly name = "gf-cf";
  readonly itemCount: number;

  /** @param alpha weight of the low-pass filter, V V' */
  constructor(
    readonly filters: Filters,
    readonly alpha: number,
  ) {
    this.itemCount = filters.vectors.rows;
  }

  score({ items }: Pick<History, "items">, scores: Float64Array): boolean {
    const { linear, vectors, rootDegrees } = this.filters;
    const { data, cols } = vectors;
    const low = new Float64Array(cols);
    let known = false;
    for (const id of items) {
      const root = rootDegrees[id - 1]!;
      if (root === 0) continue;
      known = true;
      for (let at = linear.indptr[id - 1]!; at < linear.indptr[id]!; at++) {
        scores[linear.indices[at]!]! += linear.values![at]!;
      }
      for (let c = 0; c < cols; c++) low[c]! += data[(id - 1) * cols + c]! / root;
    }
    if (!known || this.alpha === 0) return known;
    for (let i = 0; i < this.itemCount; i++) {
      let product = 0;
      for (let c = 0; c < cols; c++) product += low[c]! * data[i * cols + c]!;
      scores[i]! += this.alpha * rootDegrees[i]! * product;
    }
    return true;
  }

  rank(histories: readonly History[], options: RankOptions): Promise<Ranking> {
    return rankScores(this, histories, options);
  }
}

const gfcfSettings = z.strictObject({
  rank: z.int().min(1).default(256).describe("r, singular vectors of the low-pass filter; at most what the data have"),
  alphas: z
    .array(z.number().min(0))
    .min(1)
    .default([0.3, 0, 0.1, 1])
    .describe("weight of the low-pass filter, chosen by validation recall at the largest cut-off; 0: without it"),
  seed: z.int().min(0).default(1),
});

/**
 * The filters of a dataset: one sparse product and one truncated SVD.
 *
 * @throws PrismrecError DATA_EMPTY without training events, OUT_OF_MEMORY
 */
export function graphFilters(dataset: Dataset, rank: number, seed: number, { signal }: RunOptions = {}): Filters {
  const users = trainingMatrix(dataset);
  if (users.indices.length === 0) {
    throw new PrismrecError("DATA_EMPTY", "gf-cf has no training events to learn from", {
      hint: "Check the split: every user may be held out.",
    });
  }
  const columns = transpose(users);
  const rootDegrees = Float32Array.from({ length: users.cols }, (_, i) =>
    Math.sqrt(columns.indptr[i + 1]! - columns.indptr[i]!),
  );
  const linear = cooccurrence(users, { pairWeight: "inverse-length" });
  for (let i = 0; i < linear.rows; i++) {
    for (let at = linear.indptr[i]!; at < linear.indptr[i + 1]!; at++) {
      linear.values![at]! /= rootDegrees[i]! * rootDegrees[linear.indices[at]!]!;
    }
  }
  signal?.throwIfAborted();
  // Rows are items here, so that the left singular vectors are the items'.
  const values = new Float32Array(columns.indices.length);
  for (let i = 0; i < columns.rows; i++) {
    for (let at = columns.indptr[i]!; at < columns.indptr[i + 1]!; at++) {
      const user = columns.indices[at]!;
      values[at] = 1 / (rootDegrees[i]! * Math.sqrt(users.indptr[user + 1]! - users.indptr[user]!));
    }
  }
  const { u: vectors } = truncatedSvd({ ...columns, values }, Math.min(rank, columns.rows, columns.cols), { seed });
  return { linear, vectors, rootDegrees };
}

export const gfcf: ScorerDefinition<z.infer<typeof gfcfSettings>, GfCf> = {
  kind: "scorer",
  name: "gf-cf",
  paper: "Shen et al., How Powerful is Graph Convolution for Recommendation?, 2021",
  about: "two filters on the graph of items, one linear and one low-pass, in closed form",
  settings: gfcfSettings,
  chooses: true,
  async fit(dataset, { rank, alphas, seed }, run = {}, choose) {
    const filters = graphFilters(dataset, rank, seed, run);
    const fit = (alpha: number) => new GfCf(filters, alpha);
    const { model, value: alpha, ...judged } = await chooseBest("at least one weight", alphas, fit, choose);
    return { model, facts: { rank, seed, alpha, ...judged } };
  },
  chosen: ({ rank, seed, alpha }) => gfcfSettings.parse({ rank, seed, alphas: [alpha] }),
  tensors({ filters: { linear, vectors, rootDegrees }, alpha }) {
    return new Map([
      ...csrTensors(linear),
      ["vectors", { shape: [vectors.rows, vectors.cols], data: vectors.data }],
      ["root-degrees", { shape: [rootDegrees.length], data: rootDegrees }],
      ["alpha", { shape: [1], data: Float64Array.of(alpha) }],
    ]);
  },
  open({ catalog: { size } }, tensors) {
    const cols = tensors.get("vectors")?.shape[1] ?? 1;
    const vectors = { data: storedArray(tensors, "vectors", Float32Array, size * cols), rows: size, cols };
    const rootDegrees = storedArray(tensors, "root-degrees", Float32Array, size);
    const [alpha] = storedArray(tensors, "alpha", Float64Array, 1);
    return new GfCf({ linear: storedCsr(tensors, size), vectors, rootDegrees }, alpha!);
  },
};
