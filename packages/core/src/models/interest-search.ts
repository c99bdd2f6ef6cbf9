import { yieldToEventLoop } from "../base/abort.js";
import { checkLength } from "../base/check-matrix.js";
import type { CsrMatrix, Matrix, SparseMatrix } from "../base/matrix.js";
import type { History } from "../data/history.js";
import type { Ranking } from "../metrics/ranking.js";
import { chooseDevice } from "../ops/device.js";
import { ExactIndex, type SimilarityResult } from "../ops/similarity-search/exact-index.js";
import { checkRank } from "./check-rank.js";
import type { InterestBatch, InterestRankOptions, MultiInterestModel, RankOptions } from "./model.js";

/** Users of one forward pass and search: what a caller who runs it himself had best hand over at once. */
export const INTEREST_BATCH = 128;

/** What is added to the scores of a batch of users. */
export interface Addition {
  /** [B, N], or rows of a few entries. */
  readonly scores: Matrix | SparseMatrix;
  /** Told of the lists that came of it, and of the place of their first user among all. */
  listed(lists: SimilarityResult, firstUser: number): void;
}

/**
 * Exact lists of a model over its item vectors, through one index that the first search builds: what `rank` of a
 * `MultiInterestModel` does once it can tell interests.
 */
export class InterestSearch implements Disposable {
  readonly #model: Omit<MultiInterestModel, "rank">;
  #index: Promise<ExactIndex> | undefined;

  /** @param model read at each search; its item vectors must stay as they are */
  constructor(model: Omit<MultiInterestModel, "rank">) {
    this.#model = model;
  }

  /**
   * As `MultiInterestModel.rank`.
   *
   * @param add what is to be added to the scores of a batch of users; `offsets` are those that the search goes by
   */
  async rank(
    histories: readonly History[],
    options: InterestRankOptions,
    add?: (histories: readonly History[], interests: InterestBatch, offsets: Float32Array) => Promise<Addition>,
  ): Promise<Ranking> {
    const { k, interests: given, offsets: asked, filter, signal } = options;
    const { itemCount, readout } = this.#model;
    checkRank(itemCount, histories, options);
    const { device } = chooseDevice(options.device);
    const rows = histories.length;
    if (given !== undefined) checkLength("interests.offsets", given.offsets.length, rows * given.count);
    if (asked !== undefined) checkLength("offsets", asked.length, given?.offsets.length ?? 0);
    const ranking = {
      k,
      ids: new Uint32Array(rows * k),
      scores: new Float32Array(rows * k),
      counts: new Uint32Array(rows),
      interests: new Uint16Array(rows * k),
    };
    for (let start = 0; start < rows; start += INTEREST_BATCH) {
      await yieldToEventLoop(signal);
      const part = histories.slice(start, start + INTEREST_BATCH);
      const index = await this.index(signal);
      const interests = given === undefined ? this.#model.interests(part) : interestRows(given, start, part.length);
      const { count, vectors } = interests;
      const offsets = asked?.subarray(start * count, (start + part.length) * count) ?? interests.offsets;
      const addition = await add?.(part, interests, offsets);
      const found = await index.search(
        {
          queries: vectors,
          interestsPerQuery: count,
          offsets,
          readout,
          k,
          exclude: excludedRows(part, start, options, itemCount),
          ...(filter === undefined ? {} : { filter }),
          // No kernel on a GPU adds scores.
          ...(addition === undefined ? { device } : { additive: addition.scores }),
        },
        signal === undefined ? {} : { signal },
      );
      addition?.listed(found, start);
      for (let b = 0; b < part.length; b++) {
        const { ids, scores, interests } = found.row(b);
        const at = (start + b) * k;
        ranking.counts[start + b] = ids.length;
        for (let i = 0; i < ids.length; i++) ranking.ids[at + i] = ids[i]! + 1;
        ranking.scores.set(scores, at);
        ranking.interests.set(interests, at);
      }
      options.onProgress?.({ stage: "rank", done: start + part.length, total: rows, unit: "users" });
    }
    return ranking;
  }

  /** The index, built once for all who wait for it, on threads of its own. It stays the search's to dispose of. */
  async index(signal: AbortSignal | undefined): Promise<ExactIndex> {
    if (this.#index === undefined) {
      const bias = this.#model.itemBias();
      const built = ExactIndex.build(this.#model.itemVectors(), bias === undefined ? {} : { bias });
      this.#index = built;
      built.catch(() => {
        if (this.#index === built) this.#index = undefined;
      });
    }
    const index = await this.#index;
    signal?.throwIfAborted();
    return index;
  }

  /** Searches through a given index from now on, and disposes of it as of its own. */
  adopt(index: ExactIndex): void {
    this[Symbol.dispose]();
    this.#index = Promise.resolve(index);
  }

  /** Gives the memory of the index back; the next search builds it anew. */
  [Symbol.dispose](): void {
    // An index that failed to build has nothing to give back, and its error has gone to who asked for it.
    this.#index?.then(
      (index) => index.dispose(),
      () => undefined,
    );
    this.#index = undefined;
  }
}

/** The interests of some of the users of a batch, as views. */
export function interestRows(batch: InterestBatch, first: number, users: number): InterestBatch {
  const { count, vectors, offsets, clusters } = batch;
  const [from, to] = [first * count, (first + users) * count];
  const { data, cols } = vectors;
  return {
    count,
    vectors: { data: data.subarray(from * cols, to * cols), rows: to - from, cols },
    offsets: offsets.subarray(from, to),
    clusters: clusters.subarray(from, to),
  };
}

/** Rows of the item table that no list may hold: what a history holds, and what the caller excludes. */
function excludedRows(
  histories: readonly History[],
  firstRow: number,
  { exclude, excludeHistory }: RankOptions,
  itemCount: number,
): CsrMatrix {
  const indptr = new Uint32Array(histories.length + 1);
  const indices: number[] = [];
  for (const [b, { items }] of histories.entries()) {
    if (excludeHistory !== false) for (const id of items) indices.push(id - 1);
    if (exclude !== undefined) {
      const row = firstRow + b;
      for (let i = exclude.indptr[row]!; i < exclude.indptr[row + 1]!; i++) indices.push(exclude.indices[i]! - 1);
    }
    indptr[b + 1] = indices.length;
  }
  return { indptr, indices: Uint32Array.from(indices), rows: histories.length, cols: itemCount };
}
