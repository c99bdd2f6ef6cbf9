import { z } from "zod";
import { yieldToEventLoop } from "../base/abort.js";
import { PrismrecError } from "../base/errors.js";
import type { CsrMatrix, Matrix } from "../base/matrix.js";
import { requireMemory } from "../base/memory.js";
import type { RunOptions } from "../base/run-options.js";
import type { History } from "../data/history.js";
import { trainingMatrix } from "../data/training-matrix.js";
import type { Dataset } from "../data/types.js";
import type { Ranking } from "../metrics/ranking.js";
import { transpose } from "../ops/item-statistics/counts.js";
import { choleskyInverse, gramMatrix } from "../ops/item-statistics/item-statistics.js";
import { native } from "../ops/native.js";
import { chooseBest } from "./choose-best.js";
import type { RankOptions, ScoringModel } from "./model.js";
import { rankScores } from "./rank-scores.js";
import type { ScorerDefinition } from "./scorer-definition.js";
import { storedArray } from "./stored-array.js";

/** Above this the [N, N] weights would not fit an ordinary machine. */
export const EASE_MAX_ITEMS = 30_000;

/**
 * EASE^R (Steck, 2019): the closed-form item-to-item regression without self-similarity. With P = (X'X + lambda I)^-1,
 * B[i, j] = -P[i, j] / P[j, j] and B[j, j] = 0; a history's scores are the sum of its items' rows of B.
 */
export class Ease implements ScoringModel {
  readonly name = "ease";
  readonly itemCount: number;

  /** @param weights [N, N], row i belongs to dense id i + 1 */
  constructor(readonly weights: Matrix) {
    this.itemCount = weights.rows;
  }

  score({ items }: Pick<History, "items">, scores: Float64Array): boolean {
    const { data, cols } = this.weights;
    for (const id of items) {
      const start = (id - 1) * cols;
      for (let j = 0; j < cols; j++) scores[j]! += data[start + j]!;
    }
    return items.length > 0;
  }

  rank(histories: readonly History[], options: RankOptions): Promise<Ranking> {
    return rankScores(this, histories, options);
  }
}

export interface EaseOptions extends RunOptions {
  /** Weight of the ridge penalty, in events (a few hundred for catalogs of a few thousand items). */
  readonly lambda: number;
}

/**
 * Time grows with N * min(N, U)^2 for U training users: (X'X + lambda I)^-1 itself, or, with fewer users than items,
 * (I - X' (XX' + lambda I)^-1 X) / lambda, which is the same by Woodbury's identity. Memory: `easeMemory`, looked for
 * before any of it is taken.
 *
 * @throws PrismrecError CONFIG_INVALID (lambda), INVALID_ARGUMENT (a catalog beyond EASE_MAX_ITEMS), OUT_OF_MEMORY
 */
export async function fitEase(dataset: Dataset, { lambda, signal, onProgress }: EaseOptions): Promise<Ease> {
  const n = dataset.catalog.size;
  if (!(lambda > 0 && Number.isFinite(lambda))) {
    throw new PrismrecError("CONFIG_INVALID", "ease needs a positive penalty", {
      expected: "lambda > 0",
      received: String(lambda),
    });
  }
  if (n > EASE_MAX_ITEMS) {
    throw new PrismrecError("INVALID_ARGUMENT", "the catalog is too large for ease", {
      expected: `at most ${EASE_MAX_ITEMS} items`,
      received: `${n} items, that is ${Math.round((4 * n * n) / 2 ** 30)} GiB while fitting`,
      hint: "Leave ease out, or raise the core so that fewer items stay.",
    });
  }
  const users = trainingMatrix(dataset);
  requireMemory("ease", easeMemory(n, users.rows), "Leave ease out, or raise the core so that fewer items stay.");
  const run = { ...(signal === undefined ? {} : { signal }), ...(onProgress === undefined ? {} : { onProgress }) };
  const ridgeInverse = async (rows: CsrMatrix): Promise<Float32Array> =>
    (await choleskyInverse(await gramMatrix(rows, { ridge: lambda }, run), run)).data;
  const data =
    users.rows < n
      ? await itemInverse(users, await ridgeInverse(transpose(users)), lambda, signal)
      : await ridgeInverse(users);
  const diagonal = Float32Array.from({ length: n }, (_, i) => data[i * n + i]!);
  for (let i = 0; i < n; i++) {
    if (i % 16 === 0) await yieldToEventLoop(signal);
    for (let j = 0; j < n; j++) data[i * n + j] = i === j ? 0 : -data[i * n + j]! / diagonal[j]!;
  }
  return new Ease({ data, rows: n, cols: n });
}

/**
 * Bytes that fitting takes at its peak, for N items and U training users: 4 N^2 for the weights, and with fewer users than
 * items 4 U^2 for the users' inverse beside them. An inverse is found beside a copy of what it is of; without the addon in
 * doubles, in 16 bytes more for each of its entries.
 */
export function easeMemory(items: number, users: number, addon = native() !== undefined): number {
  const inverse = (order: number): number => (addon ? 8 : 20) * order * order;
  if (users >= items) return inverse(items);
  return Math.max(inverse(users), 4 * users * users + 4 * items * items);
}

/** (I - X' M X) / lambda for M = (XX' + lambda I)^-1: [N, N]. */
async function itemInverse(
  users: CsrMatrix,
  m: Float32Array,
  lambda: number,
  signal?: AbortSignal,
): Promise<Float32Array> {
  const { rows, cols } = users;
  const usersOfItem = transpose(users);
  const inverse = new Float32Array(cols * cols);
  const row = new Float64Array(cols);
  // One row of X' M at a time: all of them would be as large as twice the result.
  const weights = new Float64Array(rows);
  for (let i = 0; i < cols; i++) {
    if (i % 16 === 0) await yieldToEventLoop(signal);
    weights.fill(0);
    for (let at = usersOfItem.indptr[i]!; at < usersOfItem.indptr[i + 1]!; at++) {
      const start = usersOfItem.indices[at]! * rows;
      for (let v = 0; v < rows; v++) weights[v]! += m[start + v]!;
    }
    row.fill(0);
    for (let v = 0; v < rows; v++) {
      const weight = weights[v]! / lambda;
      for (let at = users.indptr[v]!; at < users.indptr[v + 1]!; at++) row[users.indices[at]!]! -= weight;
    }
    row[i]! += 1 / lambda;
    inverse.set(row, i * cols);
  }
  return inverse;
}

const easeSettings = z.strictObject({
  lambdas: z
    .array(z.number().positive())
    .min(1)
    .default([250, 500, 100, 1000, 50, 2000])
    .describe("the penalty is chosen by validation recall at the largest cut-off"),
});

export const ease: ScorerDefinition<z.infer<typeof easeSettings>, Ease> = {
  kind: "scorer",
  name: "ease",
  paper: "Steck, Embarrassingly Shallow Autoencoders for Sparse Data, 2019",
  about: "a linear autoencoder of the interactions in closed form",
  settings: easeSettings,
  baseline: true,
  priorUpTo: EASE_MAX_ITEMS,
  usualPrior: true,
  chooses: true,
  maxItems: EASE_MAX_ITEMS,
  async fit(dataset, { lambdas }, run = {}, choose) {
    const fit = (lambda: number) => fitEase(dataset, { lambda, ...run });
    const { model, value: lambda, ...judged } = await chooseBest("at least one penalty", lambdas, fit, choose);
    return { model, facts: { lambda, ...judged } };
  },
  chosen: ({ lambda }) => easeSettings.parse({ lambdas: [lambda] }),
  tensors: ({ weights }) => new Map([["weights", { shape: [weights.data.length], data: weights.data }]]),
  open({ catalog: { size } }, tensors) {
    return new Ease({ data: storedArray(tensors, "weights", Float32Array, size * size), rows: size, cols: size });
  },
};
