import { PrismrecError, type RunOptions } from "@prismrec/core/base";
import type {
  ItemDetails,
  PopularItems,
  PopularOptions,
  Recommender as Reader,
  Recommendation,
  RecommendationRequest,
  RecommendOptions,
  Rules,
  SimilarItem,
  SimilarOptions,
  UserInterest,
} from "@prismrec/core/recommend";
import type { Run } from "../pipeline/run.js";
import { saveRun } from "./save.js";

/** Whom to recommend to: a known user by id, or anybody's history. */
export type Whom = string | RecommendationRequest;

interface Holdings {
  readonly model: string;
  readonly hash: string;
  readonly items: number;
  readonly users: number;
  readonly run: Run;
  close(): Promise<void>;
}

/** A trained model that answers: the same object from `fit`, from `open` and inside the service. */
export class Recommender implements AsyncDisposable {
  /** Name of the model. */
  readonly model: string;
  /** Hash of all that its answers depend on: data, clusters and model. The same answers, the same hash. */
  readonly hash: string;
  /** How many items can be recommended. */
  readonly items: number;
  /** How many users are known by id. */
  readonly users: number;
  readonly #reader: Reader;
  readonly #holdings: Holdings;
  #closed: Promise<void> | undefined;

  /** @internal `fit` and `open` make recommenders. */
  constructor(reader: Reader, holdings: Holdings) {
    this.#reader = reader;
    this.#holdings = holdings;
    const { model, hash, items, users } = holdings;
    this.model = model;
    this.hash = hash;
    this.items = items;
    this.users = users;
  }

  /**
   * The best items for a user or a history, each with the interest behind it and the items of the history that it rests
   * on.
   *
   * @throws PrismrecError UNKNOWN_USER, UNKNOWN_ITEM, INVALID_ARGUMENT, DISPOSED
   */
  async recommend(whom: Whom, options: RecommendOptions = {}): Promise<Recommendation> {
    const [recommendation] = await this.recommendMany([whom], options);
    return recommendation!;
  }

  /** One recommendation each, in order: faster than one call after the other. */
  async recommendMany(whom: readonly Whom[], options: RecommendOptions = {}): Promise<Recommendation[]> {
    this.#use();
    return this.#reader.recommendMany(whom.map(requestOf), options);
  }

  /** The interests in a user's events or in a history, largest share first; empty for a model without interests. */
  async interests(
    whom: Whom,
    options: RunOptions & Pick<RecommendOptions, "unknownItems"> = {},
  ): Promise<UserInterest[]> {
    this.#use();
    return this.#reader.interests(requestOf(whom), options);
  }

  /**
   * The items most like one, without itself.
   *
   * @throws PrismrecError UNKNOWN_ITEM, MODEL_UNSUPPORTED for a model that cannot compare items, INVALID_ARGUMENT
   */
  async similarItems(id: string, options: SimilarOptions = {}): Promise<SimilarItem[]> {
    this.#use();
    return this.#reader.similarItems(id, options);
  }

  /**
   * The items that most training users took: for somebody of whom nothing is known.
   *
   * @throws PrismrecError INVALID_ARGUMENT
   */
  popularItems(options: PopularOptions = {}): PopularItems {
    this.#use();
    return this.#reader.popularItems(options);
  }

  /**
   * Checks business rules (pins, bury, limits, a mix of interests), for `recommend(whom, { rules })`.
   *
   * @param raw the document, as docs/reference/rules.md has it
   * @param source what to call it in errors, such as the path of its file
   * @throws PrismrecError CONFIG_INVALID with a JSON pointer to the part that cannot be
   */
  rules(raw: unknown, source?: string): Rules {
    this.#use();
    return this.#reader.rules(raw, source);
  }

  /**
   * All that is known of an item.
   *
   * @throws PrismrecError UNKNOWN_ITEM
   */
  item(id: string): ItemDetails {
    this.#use();
    return this.#reader.item(id);
  }

  /** Whether there is an item of this id. */
  hasItem(id: string): boolean {
    this.#use();
    return this.#reader.hasItem(id);
  }

  /** Whether there is a user of this id. */
  knowsUser(id: string): boolean {
    this.#use();
    return this.#reader.knowsUser(id);
  }

  /**
   * Writes what serving needs into a folder for `open`, there or on another machine. The folder must be empty or not
   * there.
   *
   * @throws PrismrecError INVALID_ARGUMENT for a folder that holds something; IO, DISK_FULL, DISPOSED
   */
  async save(dir: string): Promise<void> {
    this.#use();
    await saveRun(this.#holdings.run, dir);
  }

  /** Gives back all that is held; a second call does nothing. */
  close(): Promise<void> {
    this.#closed ??= this.#holdings.close();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #use(): void {
    if (this.#closed === undefined) return;
    throw new PrismrecError("DISPOSED", "this recommender has been closed", {
      expected: "a recommender that is still open",
      received: "one that was closed",
    });
  }
}

function requestOf(whom: Whom): RecommendationRequest {
  return typeof whom === "string" ? { user: whom } : whom;
}
