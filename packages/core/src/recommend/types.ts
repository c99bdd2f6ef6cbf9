import type { DevicePreference, RunOptions } from "../base/run-options.js";
import type { Catalog, InteractionLog } from "../data/types.js";
import type { HistoryLimits } from "../interests/history-request.js";
import type { Clusterer } from "../interests/types.js";
import type { Model } from "../models/model.js";
import type { ItemFilter } from "./filter.js";
import type { Rules } from "./rules.js";

/** `maxClusters` and `maxItems` had best be those that the model was trained under. */
export interface RecommenderOptions extends HistoryLimits {
  readonly model: Model;
  /** The catalog that the model was fitted on. */
  readonly catalog: Catalog;
  /** Needed for `{ user }` requests: whose history is known. */
  readonly log?: InteractionLog;
  /** Splits a history into semantic interests; absent: the model serves without a semantic side. */
  readonly clusterer?: Clusterer;
  /** Where the model and `similarItems` search (`RankOptions.device`); default "cpu". */
  readonly device?: DevicePreference;
  /**
   * How many histories are kept with what the model tells of them, some 10 KB each (default 4096; 0: none): who asks again
   * with the same history is not read again. No answer depends on it.
   */
  readonly states?: number;
}

/** One event of a history. */
export interface HistoryEvent {
  /** External item id. */
  readonly item: string;
  /** What happened (view, cart, buy), in the words of the log; a model that reads no kinds ignores it. */
  readonly event?: string;
  /** A number as the log has it, or a date such as 2026-03-01T12:00:00Z. */
  readonly time?: number | bigint | string;
}

/** An external item id, or an event with more to be said of it. */
export type HistoryEntry = string | HistoryEvent;

/**
 * What is known of somebody, by column of the users file, in the column's own kind: a number, true or false, a text, a
 * text or several for a list. What is left out or null is not known; a text that the model has not met counts as such.
 */
export type GivenProfile = {
  readonly [column: string]: string | number | boolean | readonly string[] | null | undefined;
};

/**
 * A user of the log, or anybody's history: nobody has to be known beforehand. A history stands oldest first; where every
 * entry has a time, the times order it instead. The profile of a user of the log is the log's; a model that reads none
 * ignores either.
 */
export type RecommendationRequest =
  | {
      readonly user: string;
      /** What the user has done since the log was written; by time where both have times, else behind all of it. */
      readonly since?: readonly HistoryEntry[];
    }
  | { readonly history: readonly HistoryEntry[]; readonly profile?: GivenProfile };

/** An interest of a user: `index`, or `labels` joined by ", ". */
export type InterestName = number | string;

/** What is to count more or less than it does by itself; nothing is kept of it. */
export interface InterestControls {
  /** Left out of the search: no item is recommended for these. Where all are muted the list is empty. */
  readonly mute?: readonly InterestName[];
  /** `log(factor)` is added to the interest's part of every score: above 1 it counts more, below 1 less. */
  readonly boost?: readonly { readonly interest: InterestName; readonly factor: number }[];
}

export interface RecommendOptions extends RunOptions {
  /** Length of the list (default 10); a smaller catalog gives a shorter one. */
  readonly k?: number;
  /** What the items must be: the list is the best of those that are. */
  readonly filter?: ItemFilter;
  /** External ids that must not be recommended; unknown ones are fine. */
  readonly exclude?: Iterable<string>;
  /** Leave out what the history holds (default true). */
  readonly excludeHistory?: boolean;
  /**
   * Interests to mute or to boost, in every request of the call. The scores that a prior adds stay as they are
   * (MODEL_UNSUPPORTED for a model without interests).
   */
  readonly interests?: InterestControls;
  /** An item of a history that the catalog lacks is an error (default), or left out and reported. */
  readonly unknownItems?: "error" | "skip";
  /**
   * 0 (default) to 1: how much a place goes by spread instead of score. Maximal marginal relevance over the cosines of item vectors:
   * each place goes to one of the 100 best items that are left (MODEL_UNSUPPORTED above 0 for a model without item vectors). 0
   * is the list by score, bit for bit.
   */
  readonly diversity?: number;
  /** Business rules, as `rules` of the recommender has checked them. */
  readonly rules?: Rules;
  /** The moment by which rules are valid or not (default: now). */
  readonly at?: Date;
  /**
   * External ids of the list's earlier pages, in their order: they are not listed again, and diversity, limits, pins and the mix
   * of interests go on behind them, so that pages are together what one long list is.
   */
  readonly shown?: readonly string[];
  /**
   * Whether a model without interests is asked which events gave each item its score (default true), at one or two times
   * the cost of the list itself. Interests are always explained.
   */
  readonly explain?: boolean;
}

export interface SimilarOptions extends RunOptions, Pick<RecommendOptions, "k" | "filter" | "exclude"> {}

export interface PopularOptions extends Pick<RecommendOptions, "k" | "filter" | "exclude" | "rules" | "at" | "shown"> {}

/** A rule that made a difference to a list. */
export interface ActedRule {
  /** JSON pointer into the rules, such as #/pin/0. */
  readonly rule: string;
  readonly name?: string;
  /** How many items it put into the list (a pin, the mix of interests) or held back (what is buried, a limit). */
  readonly items: number;
}

export interface RecommendedItem {
  readonly id: string;
  readonly title: string;
  readonly score: number;
  /** `index` of the interest behind it; null for a model without interests. */
  readonly interest: number | null;
  /**
   * External ids of the history's items behind it, strongest first: those that its interest rests on, or, for a model
   * without interests or where a prior brought the item (`prior` above one half), those that gave it most of its score.
   * Empty where the model reads no history.
   */
  readonly because: readonly string[];
  /** Which part of its lead over an average item the prior gives, 0 to 1; absent for a model without a prior. */
  readonly prior?: number;
  /** A rule has put it in its place. */
  readonly pinned?: true;
}

/** An interest of a user, or all those of one label: no two of a user are called the same. */
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
  /** What the request made it count, 0 where it is muted; absent: what it counts by itself. The share is without it. */
  readonly factor?: number;
}

/** An interest of a user as the search takes it: an item's score under it is <vector, item's vector> + bias + offset. */
export interface InterestVector {
  /** Its place among the model's interests: several of one label, which `interests` shows as one, are several here. */
  readonly index: number;
  /** As `UserInterest.labels`. */
  readonly labels: readonly string[];
  /** As `UserInterest.share`. */
  readonly share: number;
  /** Logarithm of its prior; 0 for a model without a prior over interests. */
  readonly offset: number;
  /** [d] */
  readonly vector: Float32Array;
}

export interface Recommendation {
  /** Score descending, ties by popularity, then external id; otherwise only where `exact` is false. */
  readonly items: readonly RecommendedItem[];
  /** Share descending; empty for a model without interests or a history without known items. */
  readonly interests: readonly UserInterest[];
  /** External ids of the history that the catalog lacks (`unknownItems: "skip"`). */
  readonly unknownItems: readonly string[];
  /** How many items the list is the best of: those that history, `exclude` and `filter` let through. */
  readonly considered: number;
  /** Whether the list is the best by score of all that are considered, in that order: always, without diversity and rules. */
  readonly exact: boolean;
  /** Rules that made a difference to it. */
  readonly rules: readonly ActedRule[];
}

/** All that is known of an item of the catalog. Titles, categories and columns are untrusted text. */
export interface ItemDetails {
  readonly id: string;
  readonly title: string;
  readonly categories: readonly string[];
  /** Number of training users who took it. */
  readonly popularity: number;
  /** What the items file further says of it, by column; null where it says nothing. */
  readonly columns: { readonly [column: string]: string | number | boolean | readonly string[] | null };
}

/** A list for somebody of whom nothing is known. */
export interface PopularItems {
  /** `score`: the number of training users who took it. Descending, ties by external id; otherwise only where `exact` is false. */
  readonly items: readonly Pick<RecommendedItem, "id" | "title" | "score" | "pinned">[];
  /** As `Recommendation.considered`. */
  readonly considered: number;
  /** As `Recommendation.exact`. */
  readonly exact: boolean;
  /** As `Recommendation.rules`. */
  readonly rules: readonly ActedRule[];
}

export interface SimilarItem {
  readonly id: string;
  readonly title: string;
  /** Cosine of the two items' vectors; for a model without vectors the score it has for who took the other one alone. */
  readonly score: number;
}
