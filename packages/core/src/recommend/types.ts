import type { RunOptions } from "../base/run-options.js";
import type { Catalog, InteractionLog } from "../data/types.js";
import type { HistoryLimits } from "../interests/history-request.js";
import type { Clusterer } from "../interests/types.js";
import type { Model } from "../models/model.js";

/** `maxClusters` and `maxItems` had best be those that the model was trained under. */
export interface RecommenderOptions extends HistoryLimits {
  readonly model: Model;
  /** The catalog that the model was fitted on. */
  readonly catalog: Catalog;
  /** Needed for `{ user }` requests: whose history is known. */
  readonly log?: InteractionLog;
  /** Splits a history into semantic interests; absent: the model serves without a semantic side. */
  readonly clusterer?: Clusterer;
}

/** A user of the log, or anybody's history as external item ids, oldest first: nobody has to be known beforehand. */
export type RecommendationRequest = { readonly user: string } | { readonly history: readonly string[] };

export interface RecommendOptions extends RunOptions {
  /** Length of the list (default 10); a smaller catalog gives a shorter one. */
  readonly k?: number;
  /** External ids that must not be recommended; unknown ones are fine. */
  readonly exclude?: Iterable<string>;
  /** Leave out what the history holds (default true). */
  readonly excludeHistory?: boolean;
  /** An item of a history that the catalog lacks is an error (default), or left out and reported. */
  readonly unknownItems?: "error" | "skip";
}

export interface RecommendedItem {
  readonly id: string;
  readonly title: string;
  readonly score: number;
  /** `index` of the interest behind it; null for a model without interests. */
  readonly interest: number | null;
}

export interface UserInterest {
  /** The number that recommended items refer to. */
  readonly index: number;
  /** "semantic": stands for a cluster of the history; "collaborative": learned from behaviour alone. */
  readonly kind: "semantic" | "collaborative";
  /** What to call it, most telling first. Untrusted text: a language model or the data's owner wrote it. */
  readonly labels: readonly string[];
  /** Its part among the user's interests; all shares sum to 1. */
  readonly share: number;
  /** External ids of the history's items that it rests on most, strongest first. */
  readonly because: readonly string[];
}

export interface Recommendation {
  /** Score descending, ties by popularity, then external id. */
  readonly items: readonly RecommendedItem[];
  /** Share descending; empty for a model without interests or a history without known items. */
  readonly interests: readonly UserInterest[];
  /** External ids of the history that the catalog lacks (`unknownItems: "skip"`). */
  readonly unknownItems: readonly string[];
}

export interface SimilarItem {
  readonly id: string;
  readonly title: string;
  /** Cosine of the two items' vectors. */
  readonly score: number;
}
