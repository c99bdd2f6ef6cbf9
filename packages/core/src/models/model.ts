import type { CsrMatrix, Matrix } from "../base/matrix.js";
import type { DevicePreference, RunOptions } from "../base/run-options.js";
import type { History } from "../data/history.js";
import type { Ranking } from "../metrics/ranking.js";

export interface RankOptions extends RunOptions {
  /** Length of each list, 1..catalog size. */
  readonly k: number;
  /** Leave out what the history holds (default true). */
  readonly excludeHistory?: boolean;
  /** Further dense ids to leave out, one row per history. */
  readonly exclude?: CsrMatrix;
  /**
   * [ceil(itemCount / 32)] which items may be listed at all, for every history: dense id i + 1 is bit i % 32 of word i / 32.
   * The list is that of the whole catalog without the others, never a list cut before it was filtered.
   */
  readonly filter?: Uint32Array;
  /**
   * Where an exact search over item vectors runs; default "cpu". What has no kernel on a GPU runs on the processor whatever it
   * says: models without item vectors, and scores to which a prior is added. "cuda" is DEVICE_UNAVAILABLE where no GPU can be used.
   */
  readonly device?: DevicePreference;
}

/**
 * A fitted recommender: `rank` is all that evaluation and serving ask of it. Training lives in @prismrec/trainer.
 *
 * What every model holds to:
 * - A list has `k` entries, or as many as are left where history, `exclude` and `filter` leave fewer than `k` items. A `k` outside
 *   1..itemCount is refused (INVALID_ARGUMENT), never cut.
 * - Scores are finite and descend; equal scores stand by ascending dense id. No item is listed twice.
 * - Neither the history (unless `excludeHistory` is false), nor what `exclude` names, nor what `filter` lacks is listed. An id repeated in either
 *   is fine. An id outside 1..itemCount is UNKNOWN_ITEM; clusters, events, times, profiles or rows of
 *   `exclude` that do not fit the histories, and a `filter` that does not fit the catalog, are SHAPE_MISMATCH. Nothing has been ranked then.
 * - An empty history says nothing about anybody: a model that reads histories gives it an empty list. Those
 *   of popularity read none and give everybody the same items.
 * - The same call gives the same bits, in any process and whatever ran before it, on the same machine and backend. A
 *   list does not depend on how often a history stands in the call; a network's scores may differ in the last bits with
 *   the length of the longest history they are batched with.
 * - No histories give no lists. An aborted signal rejects with its reason, within one batch of users.
 */
export interface Model {
  readonly name: string;
  readonly itemCount: number;
  /** @throws PrismrecError INVALID_ARGUMENT, UNKNOWN_ITEM, SHAPE_MISMATCH */
  rank(histories: readonly History[], options: RankOptions): Promise<Ranking>;
}

/** A model that can tell the score of every item, so that its scores can be added to those of another. */
export interface ScoringModel extends Model {
  /**
   * Writes the score of every item into `scores` ([N], item id - 1), which comes zeroed. False where nothing can be said
   * of the history.
   *
   * @param history holds each item once
   */
  score(history: Pick<History, "items">, scores: Float64Array): boolean;
}

/** The interests of a batch of users, ready for exact search: score(b, i) = readout_j(<vectors[b, j], e_i> + b_i + offsets[b, j]). */
export interface InterestBatch {
  /** J, the same for every row; absent interests have offset -Infinity. */
  readonly count: number;
  /** [B * J, d] */
  readonly vectors: Matrix;
  /** [B * J] log prior of each interest, -Infinity where absent, 0 without a prior. */
  readonly offsets: Float32Array;
  /** [B * J] what an interest is: -1 collaborative, else the semantic cluster it stands for. */
  readonly clusters: Int16Array;
  /** [B * J * T] or absent: weight of each history position in each interest (most recent T, oldest first). */
  readonly attention?: Float32Array;
}

export interface InterestRankOptions extends RankOptions {
  /** What `interests` gave for these very histories: the network is not run again. */
  readonly interests?: InterestBatch;
  /**
   * [B * J] what the search adds to each interest in the place of `interests.offsets`, which has to be given: -Infinity
   * leaves one out. What a model adds to the scores beside its interests does not depend on it.
   */
  readonly offsets?: Float32Array;
}

/** A model served by exact search over item vectors. */
export interface MultiInterestModel extends Model {
  readonly dim: number;
  readonly maxHistory: number;
  readonly readout: "max" | "log-sum-exp";
  /** [N, d], row i belongs to dense id i + 1. */
  itemVectors(): Matrix;
  /** [N] or undefined */
  itemBias(): Float32Array | undefined;
  /** @throws PrismrecError UNKNOWN_ITEM, SHAPE_MISMATCH, as `rank` */
  interests(histories: readonly History[]): InterestBatch;
  rank(histories: readonly History[], options: InterestRankOptions): Promise<Ranking>;
}

export function isScoring(model: Model): model is ScoringModel {
  return "score" in model;
}

export function isMultiInterest(model: Model): model is MultiInterestModel {
  return "interests" in model && "itemVectors" in model;
}
