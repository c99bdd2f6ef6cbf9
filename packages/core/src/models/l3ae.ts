import { z } from "zod";
import { yieldToEventLoop } from "../base/abort.js";
import { PrismrecError } from "../base/errors.js";
import type { CsrMatrix, Matrix } from "../base/matrix.js";
import { requireMemory } from "../base/memory.js";
import type { RunOptions } from "../base/run-options.js";
import type { History } from "../data/history.js";
import { itemFeatures } from "../data/item-features.js";
import { trainingMatrix } from "../data/training-matrix.js";
import type { Dataset } from "../data/types.js";
import type { Ranking } from "../metrics/ranking.js";
import { transpose } from "../ops/item-statistics/counts.js";
import { choleskyInverse, gramMatrix } from "../ops/item-statistics/item-statistics.js";
import { matrixProduct } from "../ops/matrix-product/matrix-product.js";
import { native } from "../ops/native.js";
import { Ease } from "./ease.js";
import type { RankOptions, ScoringModel } from "./model.js";
import type { ScorerDefinition } from "./scorer-definition.js";
import { storedArray } from "./stored-array.js";

/** Above this the [N, N] matrices would not fit an ordinary machine. */
export const L3AE_MAX_ITEMS = 20_000;
/** Above this fitting takes longer than training a network, which nobody has asked for. */
const L3AE_PRIOR_ITEMS = 6000;

/**
 * L3AE (Moon et al., "LLM-Enhanced Linear Autoencoders for Recommendation", 2025), two closed forms one after the other:
 *
 * 1. Item-to-item weights from features alone. With F [N, f] of unit rows and P_F = (F F' + lambda_F I)^-1:
 *    C = I - P_F diag(1 / diag(P_F)), which is EASE with the features as users.
 * 2. Weights from the interactions X [U, N], drawn towards C: B minimises
 *    |X - X B|^2 + lambda_X |B|^2 + lambda_E |B - C|^2 under diag(B) = 0. With P = (X'X + (lambda_X + lambda_E) I)^-1:
 *    B = I + lambda_E P C - P diag((1 + lambda_E (P C)_jj) / P_jj).
 *
 * Here lambda = lambda_X + lambda_E is the penalty and lambda_E / lambda the feature share: share 0 is EASE with that very
 * penalty. A history's scores are the sum of its items' rows of B, as EASE's; an item that no training user has is
 * scored by its features, lambda_E P C.
 */
export class L3ae implements ScoringModel {
  readonly name = "l3ae";
  readonly itemCount: number;
  readonly #linear: Ease;

  /** @param weights [N, N], row i belongs to dense id i + 1 */
  constructor(readonly weights: Matrix) {
    this.itemCount = weights.rows;
    this.#linear = new Ease(weights);
  }

  score(history: Pick<History, "items">, scores: Float64Array): boolean {
    return this.#linear.score(history, scores);
  }

  rank(histories: readonly History[], options: RankOptions): Promise<Ranking> {
    return this.#linear.rank(histories, options);
  }
}

const l3aeSettings = z.strictObject({
  lambdas: z
    .array(z.number().positive())
    .min(1)
    .default([500, 250, 1000, 100])
    .describe("penalties, in events; chosen together with the share by validation recall at the largest cut-off"),
  featureShares: z
    .array(z.number().min(0).max(1))
    .min(1)
    .default([0.25, 0, 0.5, 0.75])
    .describe("how much of the penalty draws towards the weights that features give; 0: none, which is ease"),
  featureLambda: z.number().positive().default(10).describe("penalty of the features' own weights"),
});

export type L3aeSettings = z.infer<typeof l3aeSettings>;

export interface L3aeOptions extends Partial<L3aeSettings>, RunOptions {
  /** [N, any width] of texts or images, row i for dense id i + 1: one more block of features; a zero row says nothing. */
  readonly itemVectors?: Matrix;
}

export interface FittedL3ae {
  readonly model: L3ae;
  readonly lambda: number;
  readonly featureShare: number;
  /** What `choose` said of every pair, by "lambda, share"; empty without it. */
  readonly validation: Readonly<Record<string, number>>;
}

const SMALLER = "Leave l3ae out, or raise the core so that fewer items stay.";

/**
 * The best of all pairs of penalty and share, the earlier among equals; without `choose` the first pair. Each penalty
 * costs an inverse and a product of [N, N], each share N^2 more. Memory: `l3aeMemory`, looked for before any is taken.
 *
 * @param choose how good a model is on validation; its weights are written over once that is told
 * @throws PrismrecError CONFIG_INVALID, SHAPE_MISMATCH and NON_FINITE (itemVectors), NON_FINITE (a penalty so small that an
 *   inverse fails), INVALID_ARGUMENT (a catalog beyond L3AE_MAX_ITEMS), OUT_OF_MEMORY. An aborted signal rejects with its
 *   reason.
 */
export async function fitL3ae(
  dataset: Dataset,
  options: L3aeOptions = {},
  choose?: (model: L3ae) => Promise<number>,
): Promise<FittedL3ae> {
  const { itemVectors, signal, onProgress, ...given } = options;
  const { lambdas, featureShares, featureLambda } = checkedSettings(given);
  const n = dataset.catalog.size;
  if (n > L3AE_MAX_ITEMS) {
    throw new PrismrecError("INVALID_ARGUMENT", "the catalog is too large for l3ae", {
      expected: `at most ${L3AE_MAX_ITEMS} items`,
      received: `${n} items, that is ${Math.round(l3aeMemory(n) / 2 ** 30)} GiB while fitting`,
      hint: SMALLER,
    });
  }
  requireMemory("l3ae", l3aeMemory(n), SMALLER);
  const run = signal === undefined ? {} : { signal };
  const [penalties, shares] =
    choose === undefined ? [lambdas.slice(0, 1), featureShares.slice(0, 1)] : [lambdas, featureShares];
  const drawsTowards = shares.some((share) => share > 0)
    ? await featureWeights(itemFeatures(dataset.catalog.items), itemVectors, featureLambda, run)
    : undefined;
  const users = trainingMatrix(dataset);
  const validation: Record<string, number> = {};
  // Matrices are written over rather than left behind: at this size garbage would be what runs out of memory.
  const product = drawsTowards === undefined ? undefined : new Float32Array(n * n);
  let spare: Float32Array = new Float32Array(n * n);
  let best: (Omit<FittedL3ae, "validation"> & { readonly value: number }) | undefined;
  let done = 0;
  for (const lambda of penalties) {
    const inverse = await choleskyInverse(await gramMatrix(users, { ridge: lambda }, run), run);
    if (drawsTowards !== undefined) await matrixProduct(inverse, drawsTowards, { into: product }, run);
    for (const featureShare of shares) {
      await fillWeights(spare, inverse, product, lambda * featureShare, signal);
      const model = new L3ae({ data: spare, rows: n, cols: n });
      const value = (await choose?.(model)) ?? 0;
      if (choose !== undefined) validation[`${lambda}, ${featureShare}`] = value;
      if (best === undefined || value > best.value) {
        spare = best?.model.weights.data ?? (choose === undefined ? spare : new Float32Array(n * n));
        best = { model, lambda, featureShare, value };
      }
      onProgress?.({ stage: "l3ae", done: ++done, total: penalties.length * shares.length, unit: "settings" });
    }
  }
  if (best === undefined) throw new PrismrecError("INTERNAL", "l3ae has tried no setting");
  const { model, lambda, featureShare } = best;
  return { model, lambda, featureShare, validation };
}

/**
 * Bytes that fitting takes at its peak, for N items: six [N, N] matrices in floats (the features' weights, the inverse
 * and the one before it, the product of both, the weights in hand and the best so far), and what an inverse or a product
 * takes beside them: two more in the addon, four without it, where an inverse is found in doubles.
 */
export function l3aeMemory(items: number, addon = native() !== undefined): number {
  return (addon ? 32 : 40) * items * items;
}

function checkedSettings(given: Partial<L3aeSettings>): L3aeSettings {
  const parsed = l3aeSettings.safeParse(given);
  if (parsed.success) return parsed.data;
  throw new PrismrecError("CONFIG_INVALID", "the settings of l3ae are not valid", {
    received: z.prettifyError(parsed.error),
  });
}

/** C = I - P_F diag(1 / diag(P_F)) of P_F = (F F' + lambda I)^-1, the diagonal 0: [N, N]. */
async function featureWeights(
  features: CsrMatrix,
  itemVectors: Matrix | undefined,
  lambda: number,
  run: RunOptions,
): Promise<Matrix> {
  const n = features.rows;
  const gram = await featureGram(features, itemVectors, run);
  for (let i = 0; i < n; i++) gram.data[i * n + i]! += lambda;
  const { data } = await choleskyInverse(gram, run);
  const diagonal = diagonalOf(gram);
  for (let i = 0; i < n; i++) {
    if (i % 16 === 0) await yieldToEventLoop(run.signal);
    for (let j = 0; j < n; j++) data[i * n + j] = i === j ? 0 : -data[i * n + j]! / diagonal[j]!;
  }
  return gram;
}

/** F F' of rows scaled to unit length, zero for an item of which nothing is known: [N, N]. */
async function featureGram(features: CsrMatrix, itemVectors: Matrix | undefined, run: RunOptions): Promise<Matrix> {
  const { indptr, indices, values = new Float32Array(indices.length).fill(1), rows: n } = features;
  const vectors = itemVectors === undefined ? undefined : unitRows(itemVectors, n);
  const scales = Float64Array.from({ length: n }, (_, i) => {
    let squares = vectors?.known[i] ?? 0;
    for (let at = indptr[i]!; at < indptr[i + 1]!; at++) squares += values[at]! ** 2;
    return squares > 0 ? 1 / Math.sqrt(squares) : 0;
  });
  const gram =
    vectors === undefined
      ? { data: new Float32Array(n * n), rows: n, cols: n }
      : await matrixProduct(vectors.rows, vectors.rows, { transposeB: true }, run);
  const itemsOf = transpose({ ...features, values });
  const row = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    if (i % 64 === 0) await yieldToEventLoop(run.signal);
    row.set(gram.data.subarray(i * n, (i + 1) * n));
    for (let at = indptr[i]!; at < indptr[i + 1]!; at++) {
      const [feature, value] = [indices[at]!, values[at]!];
      for (let place = itemsOf.indptr[feature]!; place < itemsOf.indptr[feature + 1]!; place++) {
        row[itemsOf.indices[place]!]! += value * itemsOf.values![place]!;
      }
    }
    for (let j = 0; j < n; j++) gram.data[i * n + j] = row[j]! * scales[i]! * scales[j]!;
  }
  return gram;
}

/** Rows at unit length, and which of them say anything. */
function unitRows({ data, rows, cols }: Matrix, items: number): { readonly rows: Matrix; readonly known: Uint8Array } {
  if (rows !== items || data.length !== rows * cols) {
    throw new PrismrecError("SHAPE_MISMATCH", "itemVectors do not cover the catalog", {
      expected: `[${items}, any width]`,
      received: `[${rows}, ${cols}], ${data.length} values`,
    });
  }
  const known = new Uint8Array(rows);
  const unit = new Float32Array(data.length);
  for (let i = 0; i < rows; i++) {
    const row = data.subarray(i * cols, (i + 1) * cols);
    const norm = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
    if (!Number.isFinite(norm)) {
      throw new PrismrecError("NON_FINITE", `row ${i} of itemVectors is not finite`, { received: String(norm) });
    }
    if (norm === 0) continue;
    known[i] = 1;
    for (let x = 0; x < cols; x++) unit[i * cols + x] = row[x]! / norm;
  }
  return { rows: { data: unit, rows, cols }, known };
}

/** B = I + pull P C - P diag((1 + pull (P C)_jj) / P_jj), the diagonal exactly 0, into [N * N] weights. */
async function fillWeights(
  weights: Float32Array,
  inverse: Matrix,
  product: Float32Array | undefined,
  pull: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const n = inverse.rows;
  const scales = diagonalOf(inverse).map((own, j) => (1 + pull * (product?.[j * n + j] ?? 0)) / own);
  for (let i = 0; i < n; i++) {
    if (i % 16 === 0) await yieldToEventLoop(signal);
    for (let j = 0; j < n; j++) {
      const at = i * n + j;
      weights[at] = i === j ? 0 : pull * (product?.[at] ?? 0) - inverse.data[at]! * scales[j]!;
    }
  }
}

function diagonalOf({ data, rows }: Matrix): Float64Array {
  return Float64Array.from({ length: rows }, (_, i) => data[i * rows + i]!);
}

export const l3ae: ScorerDefinition<L3aeSettings, L3ae> = {
  kind: "scorer",
  name: "l3ae",
  paper: "Moon, Park and Lee, LLM-Enhanced Linear Autoencoders for Recommendation, 2025",
  about: "ease drawn towards weights that categories and titles give; scores items that nobody has yet",
  settings: l3aeSettings,
  chooses: true,
  maxItems: L3AE_MAX_ITEMS,
  priorUpTo: L3AE_PRIOR_ITEMS,
  async fit(dataset, settings, run = {}, choose) {
    const { model, lambda, featureShare, validation } = await fitL3ae(dataset, { ...settings, ...run }, choose);
    const chosen: L3aeSettings = { ...settings, lambdas: [lambda], featureShares: [featureShare] };
    return { model, facts: { lambda, featureShare, ...(choose === undefined ? {} : { validation }), chosen } };
  },
  chosen: ({ chosen }) => l3aeSettings.parse(chosen),
  tensors: ({ weights }) => new Map([["weights", { shape: [weights.data.length], data: weights.data }]]),
  open({ catalog: { size } }, tensors) {
    return new L3ae({ data: storedArray(tensors, "weights", Float32Array, size * size), rows: size, cols: size });
  },
};
