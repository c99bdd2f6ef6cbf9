import { yieldToEventLoop } from "../base/abort.js";
import { PrismrecError } from "../base/errors.js";
import type { CsrMatrix } from "../base/matrix.js";
import type { RunOptions } from "../base/run-options.js";
import type { History } from "../data/history.js";
import { eventClusters, type HistoryLimits, historyRequest } from "../interests/history-request.js";
import type { Clusterer } from "../interests/types.js";
import type { Ranking } from "../metrics/ranking.js";
import { INTEREST_BATCH } from "../models/interest-model.js";
import { isMultiInterest, type MultiInterestModel } from "../models/model.js";
import { ExactIndex } from "../ops/similarity-search/exact-index.js";
import { describeInterests } from "./describe-interests.js";
import type {
  Recommendation,
  RecommendationRequest,
  RecommendedItem,
  RecommenderOptions,
  RecommendOptions,
  SimilarItem,
} from "./types.js";

const DEFAULT_K = 10;

interface Reading {
  readonly history: History;
  /** [clusters] label of each cluster of the history. */
  readonly labels: readonly string[];
  readonly unknownItems: readonly string[];
}

/**
 * Recommends from a fitted model in terms of people: external ids and titles in and out, and the interest behind each
 * item. Inductive: a history is all it needs, so that users the model never saw are served like any other.
 *
 * Owns the index behind `similarItems` and nothing else: the model and the clusterer stay their opener's to dispose of.
 */
export class Recommender implements Disposable {
  readonly #options: RecommenderOptions;
  #items: Promise<ExactIndex> | undefined;
  #disposed = false;

  /** @throws PrismrecError SHAPE_MISMATCH where model and catalog differ in their number of items */
  constructor(options: RecommenderOptions) {
    if (options.model.itemCount !== options.catalog.size) {
      throw new PrismrecError("SHAPE_MISMATCH", "the model was fitted on another catalog", {
        expected: `${options.model.itemCount} items`,
        received: `${options.catalog.size} items`,
      });
    }
    this.#options = options;
  }

  /**
   * @throws PrismrecError UNKNOWN_USER, UNKNOWN_ITEM (unless skipped), INVALID_ARGUMENT, DISPOSED, and what the
   *   clusterer throws; an aborted signal rejects with its reason
   */
  async recommend(request: RecommendationRequest, options: RecommendOptions = {}): Promise<Recommendation> {
    const [recommendation] = await this.recommendMany([request], options);
    return recommendation!;
  }

  /** One recommendation per request, in order: histories are clustered together and ranked in batches. */
  async recommendMany(
    requests: readonly RecommendationRequest[],
    options: RecommendOptions = {},
  ): Promise<Recommendation[]> {
    const { k = DEFAULT_K } = options;
    this.#use();
    checkCount("k", k);
    options.signal?.throwIfAborted();
    const readings = await this.#read(requests, options);
    const recommendations: Recommendation[] = [];
    for (let start = 0; start < readings.length; start += INTEREST_BATCH) {
      await yieldToEventLoop(options.signal);
      const part = readings.slice(start, start + INTEREST_BATCH);
      recommendations.push(...(await this.#recommend(part, k, options)));
      options.onProgress?.({ stage: "rank", done: start + part.length, total: readings.length, unit: "users" });
    }
    return recommendations;
  }

  /** One batch: the network runs once, for the lists and for what is said of the interests behind them. */
  async #recommend(readings: readonly Reading[], k: number, options: RecommendOptions): Promise<Recommendation[]> {
    const { model, catalog } = this.#use();
    const { signal, excludeHistory = true } = options;
    const histories = readings.map(({ history }) => history);
    const wanted = {
      k: Math.min(k, catalog.size),
      excludeHistory,
      ...this.#exclusions(options.exclude, readings.length),
      ...(signal === undefined ? {} : { signal }),
    };
    const interests = isMultiInterest(model) ? model.interests(histories) : undefined;
    const ranking = await (isMultiInterest(model) && interests !== undefined
      ? model.rank(histories, { ...wanted, interests })
      : model.rank(histories, wanted));
    return readings.map(({ history, labels, unknownItems }, row) => ({
      items: this.#listed(ranking, row),
      interests:
        isMultiInterest(model) && interests !== undefined
          ? describeInterests(model, { batch: interests, row }, history, labels, catalog)
          : [],
      unknownItems,
    }));
  }

  #listed(ranking: Ranking, row: number): RecommendedItem[] {
    const { items } = this.#use().catalog;
    return Array.from({ length: ranking.counts[row]! }, (_, place) => {
      const at = row * ranking.k + place;
      const { id, title } = items[ranking.ids[at]!]!;
      return { id, title, score: ranking.scores[at]!, interest: ranking.interests?.[at] ?? null };
    });
  }

  /**
   * The items whose vectors point the same way as an item's, by cosine, without itself.
   *
   * @throws PrismrecError UNKNOWN_ITEM, MODEL_UNSUPPORTED (a model without item vectors), INVALID_ARGUMENT, DISPOSED
   */
  async similarItems(id: string, options: { readonly k?: number } & RunOptions = {}): Promise<SimilarItem[]> {
    const { model, catalog } = this.#use();
    const { k = DEFAULT_K } = options;
    checkCount("k", k);
    if (!isMultiInterest(model)) {
      throw new PrismrecError("MODEL_UNSUPPORTED", `${model.name} has no item vectors to compare`, {
        expected: "a model with item vectors, such as ldmi",
        received: model.name,
      });
    }
    const row = this.#denseId(id) - 1;
    options.signal?.throwIfAborted();
    const index = await this.#itemIndex(model);
    const { data, cols } = model.itemVectors();
    const found = await index.search(
      {
        queries: { data: data.subarray(row * cols, (row + 1) * cols), rows: 1, cols },
        k: Math.min(k, catalog.size),
        exclude: { indptr: Uint32Array.of(0, 1), indices: Uint32Array.of(row), rows: 1, cols: catalog.size },
      },
      runOptions(options),
    );
    const { ids, scores } = found.row(0);
    return Array.from(ids, (other, place) => {
      const item = catalog.items[other + 1]!;
      return { id: item.id, title: item.title, score: scores[place]! };
    });
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /** Gives the memory of the item index back; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    // An index that failed to build has nothing to give back, and its error has gone to who asked for it.
    this.#items?.then(
      (index) => index.dispose(),
      () => undefined,
    );
    this.#items = undefined;
  }

  #use(): RecommenderOptions {
    if (!this.#disposed) return this.#options;
    throw new PrismrecError("DISPOSED", "this recommender has been disposed of", {
      expected: "a recommender that is still open",
      received: "one that was disposed of",
    });
  }

  #itemIndex(model: MultiInterestModel): Promise<ExactIndex> {
    this.#items ??= ExactIndex.build(model.itemVectors(), { metric: "cosine" });
    return this.#items;
  }

  async #read(requests: readonly RecommendationRequest[], options: RecommendOptions): Promise<Reading[]> {
    const { clusterer } = this.#options;
    const found = requests.map((request) => {
      if ("user" in request) {
        return { items: this.#userItems(request.user), unknownItems: [] };
      }
      return this.#known(request.history, options.unknownItems ?? "error");
    });
    const clustered = await clusterEach(clusterer, found, this.#options, runOptions(options));
    return found.map(({ items, unknownItems }, r) => {
      const { clusters, labels } = clustered[r]!;
      return { history: { items, ...(clusters === undefined ? {} : { clusters }) }, labels, unknownItems };
    });
  }

  #userItems(user: string): Uint32Array {
    const { log } = this.#options;
    const index = log?.indexOf(user);
    if (log !== undefined && index !== undefined) return log.items.subarray(log.indptr[index]!, log.indptr[index + 1]!);
    throw new PrismrecError("UNKNOWN_USER", `there is no user ${user}`, {
      expected: log === undefined ? "a history: this recommender knows no users" : `one of ${log.userCount} users`,
      received: user,
      hint: "Give a history of item ids instead: a user need not be known.",
    });
  }

  #known(history: readonly string[], unknown: "error" | "skip") {
    if (unknown === "error") return { items: Uint32Array.from(history, (id) => this.#denseId(id)), unknownItems: [] };
    const { catalog } = this.#options;
    const dense = history.map((id) => catalog.idOf(id));
    return {
      items: Uint32Array.from(dense.filter((id) => id !== undefined)),
      unknownItems: history.filter((_, n) => dense[n] === undefined),
    };
  }

  #denseId(id: string): number {
    const { catalog } = this.#options;
    const dense = catalog.idOf(id);
    if (dense !== undefined) return dense;
    throw new PrismrecError("UNKNOWN_ITEM", `there is no item ${id} in the catalog`, {
      expected: `one of ${catalog.size} items`,
      received: id,
      hint: "An item with too few events is left out by the import.",
    });
  }

  #exclusions(exclude: Iterable<string> | undefined, rows: number): { readonly exclude?: CsrMatrix } {
    if (exclude === undefined) return {};
    const { catalog } = this.#options;
    const ids = Array.from(new Set(exclude), (id) => catalog.idOf(id)).filter((id) => id !== undefined);
    return {
      exclude: {
        indptr: Uint32Array.from({ length: rows + 1 }, (_, row) => row * ids.length),
        indices: Uint32Array.from({ length: rows * ids.length }, (_, n) => ids[n % ids.length]!),
        rows,
        cols: catalog.size + 1,
      },
    };
  }
}

/** Clusters and labels of each history; without a clusterer, or for an empty history, there are none. */
async function clusterEach(
  clusterer: Clusterer | undefined,
  histories: readonly { readonly items: Uint32Array }[],
  limits: HistoryLimits,
  run: RunOptions,
): Promise<{ readonly clusters?: Int16Array; readonly labels: readonly string[] }[]> {
  if (clusterer === undefined) return histories.map(() => ({ labels: [] }));
  const requests = histories.map(({ items }) => historyRequest(items, clusterer, limits));
  const asked = requests.filter(({ items }) => items.length > 0);
  const partitions = (await clusterer.partition(asked, run)).values();
  return histories.map(({ items }, r) => {
    if (items.length === 0) return { clusters: new Int16Array(0), labels: [] };
    const partition = partitions.next().value;
    return {
      clusters: eventClusters(clusterer, requests[r]!, partition, items),
      labels: partition?.labels ?? [],
    };
  });
}

function runOptions({ signal, onProgress }: RunOptions): RunOptions {
  return { ...(signal === undefined ? {} : { signal }), ...(onProgress === undefined ? {} : { onProgress }) };
}

function checkCount(name: string, value: number): void {
  if (Number.isInteger(value) && value >= 1) return;
  throw new PrismrecError("INVALID_ARGUMENT", `${name} must be a positive whole number`, {
    expected: ">= 1",
    received: String(value),
  });
}
