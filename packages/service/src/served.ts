import type { RunOptions } from "@prismrec/core/base";
import type {
  ItemDetails,
  PopularItems,
  PopularOptions,
  Recommendation,
  RecommendationRequest,
  Recommender,
  RecommendOptions,
  Rules,
  SimilarItem,
  SimilarOptions,
  UserInterest,
} from "@prismrec/core/recommend";
import type { ServedVariants } from "./variants.js";

/** An opened recommender as the service asks it: what `open` of the package `prismrec` gives. */
export interface Served {
  /** Name of the model. */
  readonly model: string;
  /** The same for the same model, and for no other. */
  readonly hash: string;
  /** How many items can be recommended. */
  readonly items: number;
  /** How many users are known by id. */
  readonly users: number;
  /** Business rules that its lists follow, how many; absent: none. */
  readonly rules?: number;
  recommend(whom: RecommendationRequest, options?: RecommendOptions): Promise<Recommendation>;
  interests(
    whom: RecommendationRequest,
    options?: RunOptions & Pick<RecommendOptions, "unknownItems">,
  ): Promise<UserInterest[]>;
  similarItems(id: string, options?: SimilarOptions): Promise<SimilarItem[]>;
  popularItems(options?: PopularOptions): PopularItems;
  item(id: string): ItemDetails;
  hasItem(id: string): boolean;
  knowsUser(id: string): boolean;
  /** Gives back all that is held. */
  close(): Promise<void>;
}

/** Opens what is to be served, at the start and at each reload. An aborted signal rejects with its reason. */
export type OpenServed = (signal: AbortSignal) => Promise<Served | ServedVariants>;

/**
 * A recommender as the service asks it, with what it cannot tell of itself.
 *
 * @param rules what its lists follow, of its own `rules`
 */
export function servedOf(
  recommender: Pick<
    Recommender,
    "recommend" | "interests" | "similarItems" | "popularItems" | "item" | "hasItem" | "knowsUser"
  >,
  facts: Pick<Served, "model" | "hash" | "items" | "users" | "close">,
  rules?: Rules,
): Served {
  const ruled = rules === undefined ? {} : { rules };
  return {
    ...facts,
    rules: rules?.size ?? 0,
    recommend: (whom, options) => recommender.recommend(whom, { ...options, ...ruled }),
    interests: (whom, options) => recommender.interests(whom, options),
    similarItems: (id, options) => recommender.similarItems(id, options),
    popularItems: (options) => recommender.popularItems({ ...options, ...ruled }),
    item: (id) => recommender.item(id),
    hasItem: (id) => recommender.hasItem(id),
    knowsUser: (id) => recommender.knowsUser(id),
  };
}
