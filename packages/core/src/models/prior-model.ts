import { PrismrecError } from "../base/errors.js";
import type { Matrix, SparseMatrix } from "../base/matrix.js";
import type { RunOptions } from "../base/run-options.js";
import { TopK } from "../base/top-k.js";
import type { History } from "../data/history.js";
import type { Ranking } from "../metrics/ranking.js";
import { matrixProduct } from "../ops/matrix-product/matrix-product.js";
import { checkRank } from "./check-rank.js";
import { type Addition, InterestSearch } from "./interest-search.js";
import type { InterestBatch, InterestRankOptions, MultiInterestModel, ScoringModel } from "./model.js";
import { openModelIndex, saveModelIndex } from "./model-index.js";
import { distinct } from "./rank-scores.js";
import { measuredItems, spreadOf } from "./score-spread.js";

/** Largest catalog for which a user's prior is added whole; in a larger one its best `PRUNED_ENTRIES` items have one. */
export const DENSE_PRIOR_ITEMS = 20_000;
export const PRUNED_ENTRIES = 200;

export interface PriorOptions {
  /** Places (dense id - 1) of the items that the network's spread is measured over; default `measuredItems`. */
  readonly measured?: Uint32Array;
  /** Largest positive scores of a user that are added, the rest being 0; default all, or `PRUNED_ENTRIES` in a large catalog. */
  readonly entries?: number;
}

/**
 * A network together with a linear prior: of user u and item i
 *
 * score(u, i) = m(u, i) + w s_m(u) / s_p(u) p(u, i)
 *
 * with m the network's score, p the prior's, and s the standard deviation of each: the network's over up to 1,024 items
 * that are fixed for the catalog, the prior's over all, whose few large scores a sample would miss. The two err in
 * different ways, so that their sum is often better than either; w is chosen on validation. One exact search serves it.
 * In a catalog above `DENSE_PRIOR_ITEMS` a user's prior is cut to its `PRUNED_ENTRIES` largest positive scores.
 *
 * Owns the search index, and neither of the models.
 */
export class PriorModel implements MultiInterestModel, Disposable {
  readonly name: string;
  readonly dim: number;
  readonly maxHistory: number;
  readonly itemCount: number;
  readonly readout: "max" | "log-sum-exp";
  readonly #places: Uint32Array;
  readonly #entries: number | undefined;
  /** [places, d] */
  readonly #measured: Matrix;
  readonly #search: InterestSearch;

  /**
   * @param network what tells the interests
   * @param prior fitted on the same catalog
   * @param weight w, above 0
   * @throws PrismrecError SHAPE_MISMATCH, INVALID_ARGUMENT
   */
  constructor(
    readonly network: MultiInterestModel,
    readonly prior: ScoringModel,
    readonly weight: number,
    { measured: places = measuredItems(network.itemCount), entries }: PriorOptions = {},
  ) {
    if (network.itemCount !== prior.itemCount) {
      throw new PrismrecError("SHAPE_MISMATCH", "the prior was fitted on another catalog", {
        expected: `${network.itemCount} items`,
        received: `${prior.itemCount} items`,
      });
    }
    if (!(weight > 0 && Number.isFinite(weight))) {
      throw new PrismrecError("INVALID_ARGUMENT", "a prior needs a positive weight", {
        expected: "weight > 0",
        received: String(weight),
        hint: "Without a prior the network is served as it is.",
      });
    }
    this.name = network.name;
    this.dim = network.dim;
    this.maxHistory = network.maxHistory;
    this.itemCount = network.itemCount;
    this.readout = network.readout;
    this.#places = places;
    this.#entries = entries ?? (network.itemCount > DENSE_PRIOR_ITEMS ? PRUNED_ENTRIES : undefined);
    const { data, cols } = network.itemVectors();
    const measured = new Float32Array(this.#places.length * cols);
    this.#places.forEach((place, n) => {
      measured.set(data.subarray(place * cols, (place + 1) * cols), n * cols);
    });
    this.#measured = { data: measured, rows: this.#places.length, cols };
    this.#search = new InterestSearch(network);
  }

  itemVectors(): Matrix {
    return this.network.itemVectors();
  }

  itemBias(): Float32Array | undefined {
    return this.network.itemBias();
  }

  interests(histories: readonly History[]): InterestBatch {
    return this.network.interests(histories);
  }

  async rank(histories: readonly History[], options: InterestRankOptions): Promise<Ranking> {
    checkRank(this.itemCount, histories, options);
    const { k } = options;
    const shares = new Float32Array(histories.length * k);
    const ranking = await this.#search.rank(histories, options, (part, interests, offsets) =>
      this.#addition(part, interests, offsets, options, shares),
    );
    return { ...ranking, priorShares: shares };
  }

  /** As `InterestModel.saveIndex`: the prior is added in the search, and no part of the index. */
  async saveIndex(dir: string, { signal }: RunOptions = {}): Promise<void> {
    await saveModelIndex(dir, await this.#search.index(signal), this);
  }

  /** As `InterestModel.openIndex`. */
  async openIndex(dir: string, run: RunOptions = {}): Promise<void> {
    this.#search.adopt(await openModelIndex(dir, this, run));
  }

  [Symbol.dispose](): void {
    this.#search[Symbol.dispose]();
  }

  async #addition(
    histories: readonly History[],
    interests: InterestBatch,
    offsets: Float32Array,
    { k, signal }: InterestRankOptions,
    shares: Float32Array,
  ): Promise<Addition> {
    const run = signal === undefined ? {} : { signal };
    const own = await matrixProduct(interests.vectors, this.#measured, { transposeB: true }, run);
    const network = histories.map((_, b) => spreadOf(this.#readOut(own, interests, b)));
    // The prior goes by what the network says of its own; a lead is one over the mean of what was searched.
    const searched =
      offsets === interests.offsets
        ? network
        : histories.map((_, b) => spreadOf(this.#readOut(own, { ...interests, offsets }, b)));
    const addend = new PriorRows(this.itemCount, histories.length, this.#entries);
    const scores = new Float64Array(this.itemCount);
    const means: number[] = [];
    for (const [b, history] of histories.entries()) {
      scores.fill(0);
      const known = this.prior.score(distinct(history), scores);
      const { mean, deviation } = spreadOf(scores);
      const factor = known && deviation > 0 ? (this.weight * network[b]!.deviation) / deviation : 0;
      means.push(factor * mean);
      addend.add(scores, factor);
    }
    return {
      scores: addend.rows(),
      listed(lists, firstUser) {
        for (const b of histories.keys()) {
          const { ids, scores: found } = lists.row(b);
          for (const [place, id] of ids.entries()) {
            const added = addend.at(b, id);
            const lead = Math.max(0, added - means[b]!);
            const rest = Math.max(0, found[place]! - added - searched[b]!.mean);
            shares[(firstUser + b) * k + place] = lead > 0 ? lead / (lead + rest) : 0;
          }
        }
      },
    };
  }

  /** The network's scores of one user over the measured items, by its readout; none for a user without interests. */
  #readOut({ data, cols }: Matrix, { count, offsets }: InterestBatch, user: number): Float64Array {
    const present = Array.from({ length: count }, (_, j) => user * count + j).filter((at) => offsets[at]! > -Infinity);
    if (present.length === 0) return new Float64Array(1);
    const bias = this.itemBias();
    return Float64Array.from(this.#places, (place, n) => {
      const terms = present.map((at) => data[at * cols + n]! + offsets[at]!);
      const top = terms.reduce((a, b) => Math.max(a, b));
      const mass = this.readout === "max" ? 1 : terms.reduce((sum, term) => sum + Math.exp(term - top), 0);
      return top + Math.log(mass) + (bias?.[place] ?? 0);
    });
  }
}

/** Users' priors as the search takes them: whole rows, or the `entries` largest positive scores of each. */
class PriorRows {
  readonly #dense: Float32Array | undefined;
  readonly #entries: ReadonlyMap<number, number>[] = [];
  readonly #top: TopK;
  #users = 0;

  constructor(
    readonly items: number,
    users: number,
    entries: number | undefined,
  ) {
    if (entries === undefined) this.#dense = new Float32Array(users * items);
    this.#top = new TopK(entries ?? 0);
  }

  /** The next user's scores ([N]), each times `factor`. */
  add(scores: Float64Array, factor: number): void {
    const user = this.#users++;
    if (this.#dense !== undefined) {
      const start = user * this.items;
      for (let i = 0; i < this.items; i++) this.#dense[start + i] = factor * scores[i]!;
      return;
    }
    this.#top.clear();
    for (let i = 0; factor > 0 && i < this.items; i++) if (scores[i]! > 0) this.#top.offer(i, scores[i]!);
    const best = [...this.#top.entries()].sort(([a], [b]) => a - b);
    this.#entries.push(new Map(best.map(([item, score]) => [item, Math.fround(factor * score)])));
  }

  /** What a user's score of an item has been added. */
  at(user: number, item: number): number {
    return this.#dense?.[user * this.items + item] ?? this.#entries[user]?.get(item) ?? 0;
  }

  rows(): Matrix | SparseMatrix {
    const [rows, cols] = [this.#users, this.items];
    if (this.#dense !== undefined) return { data: this.#dense, rows, cols };
    const indptr = new Uint32Array(rows + 1);
    for (const [user, entries] of this.#entries.entries()) indptr[user + 1] = indptr[user]! + entries.size;
    return {
      indptr,
      indices: Uint32Array.from(this.#entries.flatMap((entries) => [...entries.keys()])),
      values: Float32Array.from(this.#entries.flatMap((entries) => [...entries.values()])),
      rows,
      cols,
    };
  }
}
