import { yieldToEventLoop } from "../base/abort.js";
import { PrismrecError } from "../base/errors.js";
import type { CsrMatrix } from "../base/matrix.js";
import { Recent } from "../base/recent.js";
import type { RunOptions } from "../base/run-options.js";
import { userHistory } from "../data/catalog.js";
import { valueAt } from "../data/columns.js";
import type { History } from "../data/history.js";
import { eventClusters, type HistoryLimits, historyRequest } from "../interests/history-request.js";
import type { Clusterer } from "../interests/types.js";
import type { Ranking } from "../metrics/ranking.js";
import { INTEREST_BATCH, interestRows } from "../models/interest-search.js";
import { type InterestBatch, isMultiInterest, type Model, type MultiInterestModel } from "../models/model.js";
import { PriorModel } from "../models/prior-model.js";
import { chooseDevice, type DeviceChoice } from "../ops/device.js";
import { ExactIndex } from "../ops/similarity-search/exact-index.js";
import { appendHistory } from "./append-history.js";
import { type Arrangement, arrange, type Preference } from "./arrange.js";
import { Calibration, winnersOf } from "./calibrate.js";
import { controlledOffsets, interestFactors } from "./control-interests.js";
import { type DescribedInterest, describeInterests, MOST_BECAUSE } from "./describe-interests.js";
import { Spread } from "./diversify.js";
import { nameItems, rankedList } from "./explain.js";
import { compileFilter, filterKey, type ItemFilter } from "./filter.js";
import { InterestStates } from "./interest-states.js";
import { placeLists, type RankUsers } from "./place-lists.js";
import { orderHistory } from "./read-history.js";
import { readProfile } from "./read-profile.js";
import { NO_RULES, Rules } from "./rules.js";
import { readsHistories, strongestEvents } from "./strongest-events.js";
import type {
  GivenProfile,
  HistoryEntry,
  InterestControls,
  InterestVector,
  ItemDetails,
  PopularItems,
  PopularOptions,
  Recommendation,
  RecommendationRequest,
  RecommendedItem,
  RecommenderOptions,
  RecommendOptions,
  SimilarItem,
  SimilarOptions,
  UserInterest,
} from "./types.js";

const DEFAULT_K = 10;
/** Some 10 KB each. */
const DEFAULT_STATES = 4096;
/** An eighth of a byte for each item each. */
const KEPT_FILTERS = 64;
/** Share of an item's lead from which the events that its prior rests on say more than those of its interest. */
const PRIOR_BRINGS = 0.5;

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
  readonly #options: RecommenderOptions & DeviceChoice;
  readonly #states: InterestStates;
  readonly #filters = new Recent<Uint32Array>(KEPT_FILTERS);
  #readsHistories: Promise<boolean> | undefined;
  #items: Promise<ExactIndex> | undefined;
  #disposed = false;

  /**
   * @throws PrismrecError SHAPE_MISMATCH where model and catalog differ in their number of items; DEVICE_UNAVAILABLE for "cuda"
   *   where no GPU can be used
   */
  constructor(options: RecommenderOptions) {
    if (options.model.itemCount !== options.catalog.size) {
      throw new PrismrecError("SHAPE_MISMATCH", "the model was fitted on another catalog", {
        expected: `${options.model.itemCount} items`,
        received: `${options.catalog.size} items`,
      });
    }
    const { states = DEFAULT_STATES } = options;
    checkCount("states", states, 0);
    this.#options = { ...options, ...chooseDevice(options.device) };
    this.#states = new InterestStates(states);
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
    checkDiversity(options.diversity, this.#options.model);
    const filter = this.#filterOf(options.filter);
    const readings = await this.#read(requests, options);
    const recommendations: Recommendation[] = [];
    for (let start = 0; start < readings.length; start += INTEREST_BATCH) {
      await yieldToEventLoop(options.signal);
      const part = readings.slice(start, start + INTEREST_BATCH);
      recommendations.push(...(await this.#recommend(part, k, filter, options)));
      options.onProgress?.({ stage: "rank", done: start + part.length, total: readings.length, unit: "users" });
    }
    return recommendations;
  }

  /**
   * The interests of a user of the log or of a history, share descending: empty for a model without interests, and for a
   * history without known items.
   *
   * @throws PrismrecError as `recommend`
   */
  async interests(
    request: RecommendationRequest,
    options: RunOptions & Pick<RecommendOptions, "unknownItems"> = {},
  ): Promise<UserInterest[]> {
    const { model, catalog } = this.#use();
    options.signal?.throwIfAborted();
    if (!isMultiInterest(model)) return [];
    const [reading] = await this.#read([request], options);
    const { history, labels } = reading!;
    return this.#states.of(model, history, labels, catalog).described.map(({ shown }) => ownCopy(shown));
  }

  /**
   * The vectors behind each request's interests, for a search elsewhere: index ascending, none for a history without known
   * items.
   *
   * @throws PrismrecError MODEL_UNSUPPORTED for a model without interests, and as `recommend`
   */
  async interestVectors(
    requests: readonly RecommendationRequest[],
    options: RunOptions & Pick<RecommendOptions, "unknownItems"> = {},
  ): Promise<InterestVector[][]> {
    const { model, catalog } = this.#use();
    options.signal?.throwIfAborted();
    if (!isMultiInterest(model)) {
      throw new PrismrecError("MODEL_UNSUPPORTED", `${model.name} has no interest vectors`, {
        expected: "a model that searches among item vectors",
        received: model.name,
      });
    }
    const readings = await this.#read(requests, options);
    const all: InterestVector[][] = [];
    for (let start = 0; start < readings.length; start += INTEREST_BATCH) {
      await yieldToEventLoop(options.signal);
      const part = readings.slice(start, start + INTEREST_BATCH);
      const batch = model.interests(part.map(({ history }) => history));
      const { data, cols } = batch.vectors;
      for (const [row, { history, labels }] of part.entries()) {
        const described = describeInterests(model, { batch, row }, history, labels, catalog);
        const vectors = described.flatMap(({ shown, members, shares }) =>
          members.map((index, n) => {
            const at = row * batch.count + index;
            const vector = data.slice(at * cols, (at + 1) * cols);
            return { index, labels: shown.labels, share: shares[n]!, offset: batch.offsets[at]!, vector };
          }),
        );
        all.push(vectors.sort((a, b) => a.index - b.index));
      }
    }
    return all;
  }

  /** One batch: the network runs once, for the lists and for what is said of the interests behind them. */
  async #recommend(
    readings: readonly Reading[],
    k: number,
    filter: { readonly filter?: Uint32Array },
    options: RecommendOptions,
  ): Promise<Recommendation[]> {
    const { model, catalog, device } = this.#use();
    const { signal, excludeHistory = true } = options;
    const controls = this.#controlsOf(options.interests);
    const histories = readings.map(({ history }) => history);
    const hidden = hiddenOf(options);
    const excluded = this.#excludedIds(hidden);
    const considered = histories.map(({ items }) =>
      countAllowed(catalog.size, filter.filter, excludeHistory ? [...excluded, ...items] : excluded),
    );
    const wanted = (users: Users) => ({
      excludeHistory,
      device,
      ...this.#exclusions(hidden, users.to - users.from),
      ...(signal === undefined ? {} : { signal }),
    });
    const lists = { users: readings.length, k: Math.min(k, catalog.size), filter: filter.filter, options };
    if (!isMultiInterest(model)) {
      const { ranking, told } = await this.#lists({
        ...lists,
        rank: (users, depth, allowed) =>
          model.rank(histories.slice(users.from, users.to), {
            ...wanted(users),
            k: depth,
            ...(allowed === undefined ? {} : { filter: allowed }),
          }),
      });
      const because = await this.#becauseOf(histories, ranking, options);
      return readings.map(({ unknownItems }, row) => ({
        items: this.#listed(ranking, row, told[row], (place) => ({
          interest: null,
          because: because[row]?.[place] ?? [],
        })),
        interests: [],
        unknownItems,
        considered: considered[row]!,
        ...outcomeOf(told[row], options.rules),
      }));
    }
    const { batch, described } = this.#told(model, readings);
    const factors = controls === undefined ? undefined : described.map((own) => interestFactors(own, controls));
    const offsets = factors === undefined ? undefined : controlledOffsets(batch, described, factors);
    const factorOf = (row: number, place: number): number | undefined => factors?.[row]?.get(place);
    const heardOf = (row: number): DescribedInterest[] => described[row]!.filter((_, n) => factorOf(row, n) !== 0);
    const { ranking, told } = await this.#lists({
      ...lists,
      rank: (users, depth, allowed) =>
        model.rank(histories.slice(users.from, users.to), {
          ...wanted(users),
          k: depth,
          ...(allowed === undefined ? {} : { filter: allowed }),
          interests:
            users.to - users.from === readings.length ? batch : interestRows(batch, users.from, users.to - users.from),
          ...(offsets === undefined
            ? {}
            : { offsets: offsets.subarray(users.from * batch.count, users.to * batch.count) }),
        }),
      mix: (row, items) => {
        const interests = heardOf(row);
        const shares = described[row]!.flatMap(({ shown }, n) => {
          const factor = factorOf(row, n) ?? 1;
          return factor === 0 ? [] : [shown.share * factor];
        });
        const winners = winnersOf(model, { batch, row }, offsets ?? batch.offsets, items);
        const list = { ids: Uint32Array.from(items), winners };
        return { shares, named: nameItems(model, { batch, row }, interests, list) };
      },
    });
    const fromPrior = await this.#becauseOfPrior(histories, ranking, options);
    return readings.map(({ unknownItems }, row) => {
      const interests = described[row]!;
      const shown = interests.map((interest) => ownCopy(interest.shown));
      const places = Array.from(interests.keys()).filter((place) => factorOf(row, place) !== 0);
      const heard = places.map((place) => interests[place]!);
      const named = nameItems(model, { batch, row }, heard, rankedList(ranking, row));
      return {
        items: this.#listed(ranking, row, told[row], (place) => {
          const { index = null, because = [] } = shown[places[named[place] ?? -1] ?? -1] ?? {};
          return { interest: index, because: fromPrior[row]?.[place] ?? because };
        }),
        interests: shown.map((interest, place) => {
          const factor = factorOf(row, place);
          return factor === undefined ? interest : { ...interest, factor };
        }),
        unknownItems,
        considered: considered[row]!,
        ...outcomeOf(told[row], options.rules),
      };
    });
  }

  /** The lists of a batch: the best by score, or as diversity and rules would have them, and what these did. */
  async #lists({
    users,
    k,
    filter,
    rank,
    mix,
    options: { diversity = 0, rules, at = new Date(), shown },
  }: BatchLists): Promise<{ readonly ranking: Ranking; readonly told: readonly Arrangement[] }> {
    const { model, catalog } = this.#use();
    const active = rules?.at(at);
    if (active === undefined && diversity === 0) {
      return { ranking: await rank({ from: 0, to: users }, k, filter), told: [] };
    }
    const before = this.#excludedIds(shown);
    const { ranking, arrangements } = await placeLists({
      users,
      k,
      itemCount: catalog.size,
      filter,
      shown: before,
      rules: active ?? NO_RULES,
      rank,
      preferences: (user, candidates, row) => {
        const preferences: Preference[] = [];
        if (diversity > 0 && isMultiInterest(model)) preferences.push(new Spread(model, diversity));
        if (active?.calibrate !== undefined && mix !== undefined) {
          const from = row * candidates.k;
          const pins = active.pins.map(({ item }) => item);
          const ids = [...before, ...pins, ...candidates.ids.subarray(from, from + candidates.counts[row]!)];
          const { shares, named } = mix(user, ids);
          const interestOf = new Map(ids.map((id, n) => [id, named[n] ?? -1]));
          if (shares.some((share) => share > 0)) {
            preferences.push(new Calibration(active.calibrate.weight, shares, (id) => interestOf.get(id) ?? -1));
          }
        }
        return preferences;
      },
    });
    return { ranking, told: arrangements };
  }

  /**
   * What the model tells of a batch of users. One who is alone is looked up among those asked for before; not so in a
   * batch, whose bits go by its longest history.
   */
  #told(
    model: MultiInterestModel,
    readings: readonly Reading[],
  ): { readonly batch: InterestBatch; readonly described: readonly (readonly DescribedInterest[])[] } {
    const { catalog } = this.#options;
    const [first] = readings;
    if (first !== undefined && readings.length === 1) {
      const { batch, described } = this.#states.of(model, first.history, first.labels, catalog);
      return { batch, described: [described] };
    }
    const batch = model.interests(readings.map(({ history }) => history));
    const described = readings.map(({ history, labels }, row) =>
      describeInterests(model, { batch, row }, history, labels, catalog),
    );
    return { batch, described };
  }

  #listed(
    ranking: Ranking,
    row: number,
    told: Arrangement | undefined,
    reasonOf: (place: number) => Pick<RecommendedItem, "interest" | "because">,
  ): RecommendedItem[] {
    const { items } = this.#use().catalog;
    return Array.from({ length: ranking.counts[row]! }, (_, place) => {
      const at = row * ranking.k + place;
      const { id, title } = items[ranking.ids[at]!]!;
      const prior = ranking.priorShares?.[at];
      return {
        id,
        title,
        score: ranking.scores[at]!,
        ...reasonOf(place),
        ...(prior === undefined ? {} : { prior }),
        ...(told?.pinned.has(ranking.ids[at]!) === true ? { pinned: true as const } : {}),
      };
    });
  }

  /** For each list, external ids of the events behind those of its items that a prior has brought there. */
  async #becauseOfPrior(
    histories: readonly History[],
    ranking: Ranking,
    { explain = true, signal }: RecommendOptions,
  ): Promise<(readonly string[] | undefined)[][]> {
    const { model, catalog } = this.#use();
    if (!explain || !(model instanceof PriorModel)) return [];
    const all: (readonly string[] | undefined)[][] = [];
    for (const [row, { items }] of histories.entries()) {
      const from = row * ranking.k;
      const listed = ranking.ids.subarray(from, from + ranking.counts[row]!);
      const brought = listed.filter((_, place) => ranking.priorShares![from + place]! > PRIOR_BRINGS);
      const strongest = await strongestEvents(model.prior, items, brought, MOST_BECAUSE, signal);
      const events = new Map(Array.from(brought, (item, n) => [item, strongest[n]!]));
      all.push(Array.from(listed, (item) => events.get(item)?.map((event) => catalog.items[event]!.id)));
    }
    return all;
  }

  /** For each list of a model without interests, external ids of the events behind each of its items. */
  async #becauseOf(
    histories: readonly History[],
    ranking: Ranking,
    { explain = true, signal }: RecommendOptions,
  ): Promise<readonly (readonly string[])[][]> {
    const { model, catalog } = this.#use();
    if (!explain || !(await this.#hasHistories())) return [];
    const all: (readonly string[])[][] = [];
    for (const [row, { items }] of histories.entries()) {
      const from = row * ranking.k;
      const listed = ranking.ids.subarray(from, from + ranking.counts[row]!);
      const strongest = await strongestEvents(model, items, listed, MOST_BECAUSE, signal);
      all.push(strongest.map((events) => events.map((item) => catalog.items[item]!.id)));
    }
    return all;
  }

  #hasHistories(): Promise<boolean> {
    this.#readsHistories ??= readsHistories(this.#options.model);
    return this.#readsHistories;
  }

  /**
   * The items most like an item, without itself: by the cosine of their vectors, or, of a model without vectors, by what it
   * recommends to who took that item alone (for EASE and item-knn the item's row of weights), as far as that is above 0.
   *
   * @throws PrismrecError UNKNOWN_ITEM, MODEL_UNSUPPORTED (a model without item vectors that reads no history),
   *   INVALID_ARGUMENT, DISPOSED
   */
  async similarItems(id: string, options: SimilarOptions = {}): Promise<SimilarItem[]> {
    const { model, catalog, device } = this.#use();
    const { k = DEFAULT_K } = options;
    checkCount("k", k);
    const item = this.#denseId(id);
    const wanted = { k: Math.min(k, catalog.size), ...this.#filterOf(options.filter) };
    options.signal?.throwIfAborted();
    if (!isMultiInterest(model)) return await this.#recommendedWith(item, wanted, options);
    const index = await this.#itemIndex(model);
    const { data, cols } = model.itemVectors();
    const excluded = Uint32Array.from([item, ...this.#excludedIds(options.exclude)], (dense) => dense - 1);
    const found = await index.search(
      {
        ...wanted,
        device,
        queries: { data: data.subarray((item - 1) * cols, item * cols), rows: 1, cols },
        exclude: { indptr: Uint32Array.of(0, excluded.length), indices: excluded, rows: 1, cols: catalog.size },
      },
      runOptions(options),
    );
    const { ids, scores } = found.row(0);
    return Array.from(ids, (other, place) => this.#similar(other + 1, scores[place]!));
  }

  /** Whether `{ user }` has a history here. */
  knowsUser(id: string): boolean {
    return this.#use().log?.indexOf(id) !== undefined;
  }

  /** @throws PrismrecError UNKNOWN_ITEM, DISPOSED */
  item(id: string): ItemDetails {
    const { catalog } = this.#use();
    const dense = this.#denseId(id);
    const { title, categories } = catalog.items[dense]!;
    return {
      id,
      title,
      categories,
      popularity: catalog.popularity[dense]!,
      columns: Object.fromEntries(
        Array.from(catalog.columns ?? [], ([name, column]) => [name, valueAt(column, dense)]),
      ),
    };
  }

  /** Whether the catalog has an item of this external id. */
  hasItem(id: string): boolean {
    return this.#use().catalog.idOf(id) !== undefined;
  }

  /**
   * The items that most training users took: for somebody of whom nothing is known.
   *
   * @throws PrismrecError INVALID_ARGUMENT, DISPOSED
   */
  popularItems(options: PopularOptions = {}): PopularItems {
    const { catalog } = this.#use();
    const { k = DEFAULT_K, rules, at = new Date(), shown } = options;
    checkCount("k", k);
    const { filter } = this.#filterOf(options.filter);
    const excluded = this.#excludedIds(hiddenOf(options));
    const hidden = new Set(excluded);
    const active = rules?.at(at);
    const ids: number[] = [];
    // Dense ids stand by popularity.
    for (let dense = 1; dense <= catalog.size && (active !== undefined || ids.length < k); dense++) {
      if (!hidden.has(dense) && passes(filter, dense)) ids.push(dense);
    }
    const told =
      active === undefined
        ? undefined
        : arrange(
            { ids, scores: ids.map((dense) => catalog.popularity[dense]!), whole: true },
            { k, shown: this.#excludedIds(shown), rules: active, pinnable: new Set(ids), preferences: [] },
          );
    const items = (told?.items ?? ids).map((dense) => {
      const { id, title } = catalog.items[dense]!;
      const pinned = told?.pinned.has(dense) === true ? { pinned: true as const } : {};
      return { id, title, score: catalog.popularity[dense]!, ...pinned };
    });
    return { items, considered: countAllowed(catalog.size, filter, excluded), ...outcomeOf(told, rules) };
  }

  /**
   * Checks business rules against the catalog, for `recommend(whom, { rules })`.
   *
   * @param source what to call them in errors, such as the path of their file
   * @throws PrismrecError CONFIG_INVALID with a JSON pointer to the part that cannot be
   */
  rules(raw: unknown, source?: string): Rules {
    const { model, catalog } = this.#use();
    return Rules.compile(raw, catalog, isMultiInterest(model), source);
  }

  async #recommendedWith(
    item: number,
    wanted: { readonly k: number; readonly filter?: Uint32Array },
    options: SimilarOptions,
  ): Promise<SimilarItem[]> {
    const { model } = this.#use();
    if (!(await this.#hasHistories())) {
      throw new PrismrecError("MODEL_UNSUPPORTED", `${model.name} has nothing to compare items by`, {
        expected: "a model with item vectors, or one that scores items by the history",
        received: model.name,
      });
    }
    const { ids, scores, counts } = await model.rank([{ items: Uint32Array.of(item) }], {
      ...wanted,
      ...this.#exclusions(options.exclude, 1),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    const listed = Array.from(ids.subarray(0, counts[0]), (other, place) => this.#similar(other, scores[place]!));
    return listed.filter(({ score }) => score > 0);
  }

  #similar(item: number, score: number): SimilarItem {
    const { id, title } = this.#use().catalog.items[item]!;
    return { id, title, score };
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

  #use(): RecommenderOptions & DeviceChoice {
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
      const unknown = options.unknownItems ?? "error";
      if ("user" in request) {
        const history = this.#userHistory(request.user);
        if (request.since === undefined) return { history, unknownItems: [] };
        const { history: since, unknownItems } = this.#known(request.since, unknown);
        return { history: appendHistory(history, since), unknownItems };
      }
      const { history, unknownItems } = this.#known(request.history, unknown);
      return { history: { ...history, ...this.#profile(request.profile) }, unknownItems };
    });
    const clustered = await clusterEach(
      clusterer,
      found.map(({ history }) => history),
      this.#options,
      runOptions(options),
    );
    return found.map(({ history, unknownItems }, r) => {
      const { clusters, labels } = clustered[r]!;
      return { history: { ...history, ...(clusters === undefined ? {} : { clusters }) }, labels, unknownItems };
    });
  }

  #userHistory(user: string): History {
    const { log } = this.#options;
    const index = log?.indexOf(user);
    if (log !== undefined && index !== undefined) return userHistory(log, index);
    throw new PrismrecError("UNKNOWN_USER", `there is no user ${user}`, {
      expected:
        log === undefined
          ? "a history: this recommender knows no users"
          : `one of ${log.userCount} users, such as ${log.userIds.slice(0, 3).join(", ")}`,
      received: user,
      hint: "A user with too few events is left out by the import. Anybody can be given as a history of item ids.",
    });
  }

  #known(given: readonly HistoryEntry[], unknown: "error" | "skip"): Pick<Reading, "history" | "unknownItems"> {
    const { catalog, log } = this.#options;
    const { ids, events, times } = orderHistory(given, log?.timestamps);
    const dense = ids.map((id) => (unknown === "error" ? this.#denseId(id) : (catalog.idOf(id) ?? 0)));
    const isKnown = (_: unknown, place: number): boolean => dense[place] !== 0;
    return {
      history: {
        items: Uint32Array.from(dense.filter(isKnown)),
        ...(events === undefined ? {} : { events: { ...events, codes: events.codes.filter(isKnown) } }),
        ...(times === undefined ? {} : { times: times.filter(isKnown) }),
      },
      unknownItems: ids.filter((_, place) => dense[place] === 0),
    };
  }

  #profile(given: GivenProfile | undefined): Pick<History, "profile"> {
    if (given === undefined) return {};
    const { log } = this.#options;
    return { profile: readProfile(given, log === undefined ? undefined : (log.profile ?? new Map())) };
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

  /** @throws PrismrecError MODEL_UNSUPPORTED where there are controls and the model has nothing to control */
  #controlsOf(controls: InterestControls | undefined): InterestControls | undefined {
    if (controls === undefined || (controls.mute ?? []).length + (controls.boost ?? []).length === 0) return undefined;
    const { model } = this.#options;
    if (isMultiInterest(model)) return controls;
    throw new PrismrecError("MODEL_UNSUPPORTED", `${model.name} has no interests to be muted or boosted`, {
      expected: "a model that tells interests",
      received: model.name,
      hint: "docs/reference/models.md lists what each model tells.",
    });
  }

  #filterOf(filter: ItemFilter | undefined): { readonly filter?: Uint32Array } {
    if (filter === undefined) return {};
    const compiled = this.#filters.get(filterKey(filter), () => compileFilter(this.#options.catalog, filter));
    return { filter: compiled };
  }

  #excludedIds(exclude: Iterable<string> | undefined): number[] {
    const { catalog } = this.#options;
    return Array.from(new Set(exclude), (id) => catalog.idOf(id)).filter((id) => id !== undefined);
  }

  #exclusions(exclude: Iterable<string> | undefined, rows: number): { readonly exclude?: CsrMatrix } {
    if (exclude === undefined) return {};
    const ids = this.#excludedIds(exclude);
    return {
      exclude: {
        indptr: Uint32Array.from({ length: rows + 1 }, (_, row) => row * ids.length),
        indices: Uint32Array.from({ length: rows * ids.length }, (_, n) => ids[n % ids.length]!),
        rows,
        cols: this.#options.catalog.size + 1,
      },
    };
  }
}

/** What a caller may do with as he likes. */
function ownCopy(shown: UserInterest): UserInterest {
  return { ...shown, labels: [...shown.labels], because: [...shown.because] };
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

interface Users {
  readonly from: number;
  readonly to: number;
}

/** What the lists of a batch are made from. */
interface BatchLists {
  readonly users: number;
  readonly k: number;
  readonly filter: Uint32Array | undefined;
  readonly rank: RankUsers;
  readonly options: RecommendOptions;
  /** Shares of a user's interests, and the place among them of the one behind each item; -1: none. */
  mix?(
    user: number,
    items: readonly number[],
  ): { readonly shares: readonly number[]; readonly named: readonly number[] };
}

/** What must not be listed: what the caller excludes, and the pages before. */
function hiddenOf({ exclude, shown }: Pick<RecommendOptions, "exclude" | "shown">): Iterable<string> | undefined {
  return shown === undefined ? exclude : [...shown, ...(exclude ?? [])];
}

/** What is said of a list that rules or diversity may have changed. */
function outcomeOf(told: Arrangement | undefined, rules: Rules | undefined): Pick<Recommendation, "exact" | "rules"> {
  return {
    exact: told?.exact ?? true,
    rules: Array.from(told?.acted ?? [], ([rule, items]) => {
      const name = rules?.nameOf(rule);
      return { rule, items, ...(name === undefined ? {} : { name }) };
    }),
  };
}

function passes(filter: Uint32Array | undefined, id: number): boolean {
  return filter === undefined || (filter[(id - 1) >> 5]! & (1 << ((id - 1) & 31))) !== 0;
}

/** How many items a list is the best of. */
function countAllowed(size: number, filter: Uint32Array | undefined, hidden: readonly number[]): number {
  let count = size;
  if (filter !== undefined) {
    count = 0;
    for (let word of filter) for (; word !== 0; word &= word - 1) count++;
  }
  for (const id of new Set(hidden)) if (passes(filter, id)) count--;
  return count;
}

function runOptions({ signal, onProgress }: RunOptions): RunOptions {
  return { ...(signal === undefined ? {} : { signal }), ...(onProgress === undefined ? {} : { onProgress }) };
}

/** @throws PrismrecError INVALID_ARGUMENT; MODEL_UNSUPPORTED for diversity by a model without item vectors */
function checkDiversity(diversity: number | undefined, model: Model): void {
  if (diversity === undefined) return;
  if (!(diversity >= 0 && diversity <= 1)) {
    throw new PrismrecError("INVALID_ARGUMENT", "this is no diversity", {
      expected: "a number from 0 (the score alone) to 1 (the spread alone)",
      received: String(diversity),
    });
  }
  if (diversity === 0 || isMultiInterest(model)) return;
  throw new PrismrecError("MODEL_UNSUPPORTED", `${model.name} has no item vectors to tell items apart by`, {
    expected: "a model with item vectors, or a diversity of 0",
    received: model.name,
  });
}

function checkCount(name: string, value: number, least = 1): void {
  if (Number.isInteger(value) && value >= least) return;
  throw new PrismrecError("INVALID_ARGUMENT", `${name} must be a whole number of at least ${least}`, {
    expected: `>= ${least}`,
    received: String(value),
  });
}
