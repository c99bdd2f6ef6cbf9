import type { RunOptions } from "@prismrec/core/base";
import type { Catalog } from "@prismrec/core/data";
import type { Clusterer } from "@prismrec/core/interests";
import type { AnswerCache } from "../cache/answer-cache.js";
import type { BudgetLimits } from "../cache/budget.js";
import type { CostEstimate } from "../cache/cost.js";
import type { TextMode } from "../facets/item-text.js";
import type { Facet } from "../facets/vocabulary.js";
import type { CatalogDomain } from "../kinds/domains.js";
import type { Capability, DroppedWord, LanguageModel } from "../model/language-model.js";
import type { ItemSignatures } from "../signatures/item-signatures.js";

/** All a clusterer may be made from; each takes what it needs and says what is missing. */
export interface ClustererContext extends RunOptions {
  readonly catalog: Catalog;
  readonly model?: LanguageModel;
  /** A second model, for vectors: `embedding` prefers it to `model`, and `kinds` are compared by its vectors, not by their words. */
  readonly embedder?: LanguageModel;
  /** Kept answers; without it nothing is remembered. */
  readonly cache?: AnswerCache;
  /** What the models may be asked, both together. */
  readonly budget?: BudgetLimits;
  /** Items that are read first where the budget may not do for all, as dense ids; the others come after them. */
  readonly order?: readonly number[];
  /** For the controls and for what is drawn (default 1). */
  readonly seed?: number;
  /** Facet words of the user's own; they replace the preset, the categories and the model's own. */
  readonly facets?: readonly string[];
  /**
   * What items were asked about before, as a report says (`asked`): what was read then need not be read again. It stands in the
   * place of what the data and the model would give now, but for `facets`.
   */
  readonly asked?: AskedFacets;
  /** Most facets kept, those that tell most about the items (default 40). */
  readonly maxFacets?: number;
  /** Default `without-year`. */
  readonly textMode?: TextMode;
  /** Share of unrelated item pairs that must be less alike than two items of one cluster; or the silhouette's choice (default .75). */
  readonly cut?: number | "silhouette";
  /** What the items are, which decides the worked examples of `kinds` (default: as the catalog shows). */
  readonly domain?: CatalogDomain;
  /** What a model said before of items, by external id: what `recorded-kinds` goes by. */
  readonly recordedKinds?: ReadonlyMap<string, string>;
  /** What `shuffled` shuffles: `facets` where there is a model, else `category`. */
  readonly inner?: Clusterer;
}

/** The vocabulary of a way of asking, and its name. */
export interface AskedFacets {
  readonly preset: string;
  readonly facets: readonly Facet[];
}

/** What a clusterer did to come about; for the report. */
export interface ClustererReport {
  readonly name: string;
  readonly model?: string;
  /** The way of asking. */
  readonly preset?: string;
  /** Facets in use, most telling first: where each came from, and the nats that its answers tell about an item. */
  readonly facets?: readonly (Facet & { readonly information: number })[];
  readonly dropped?: readonly DroppedWord[];
  /** What every item was asked about; absent where that was the user's own choice. */
  readonly asked?: AskedFacets;
  /** Mean cosine at which items are still one cluster. */
  readonly threshold?: number | "silhouette";
  /** What the items were taken for, and what showed it. */
  readonly domain?: { readonly name: CatalogDomain; readonly because: string };
  readonly seconds?: number;
  /** Items of which nothing was to be known, and how many of them go by their categories. */
  readonly unread?: { readonly items: number; readonly byCategory: number };
  /** There are items that the budget did not do for. */
  readonly budgetSpent?: boolean;
  readonly figures?: Readonly<Record<string, number>>;
}

export interface CreatedClusterer {
  readonly clusterer: Clusterer;
  readonly report: ClustererReport;
}

/** One way to split items into interests. A new one is a new file and a line in `clusterers.ts`. */
export interface ClustererDefinition {
  readonly name: string;
  readonly needs: "nothing" | "categories" | "model" | "embedding-model";
  readonly description: string;
  /** What the engine behind its model must be able to do (default: nothing in particular). */
  readonly requires?: readonly Capability[];
  /**
   * What its questions to the model are about: each item by itself, or histories too, whose answers go when a user is to be
   * forgotten (default).
   */
  readonly asksAbout?: "items" | "histories";
  /** Counts up with every change of what the model is asked (default 1). */
  readonly version?: number;
  /** What one request may ask for at most; absent: anything. */
  readonly most?: { readonly items: number; readonly clusters: number };
  create(context: ClustererContext): Promise<CreatedClusterer>;
  /** What it knows of each item by itself; present: it can be a member of a join such as `kinds+title-words`. */
  signatures?(context: ClustererContext): Promise<ItemSignatures>;
  /**
   * A dry run for `histories` histories of `length` items on average: a few requests are asked, and kept, to see what the others
   * would take. Absent: it costs no model.
   */
  estimate?(context: ClustererContext, histories: number, length: number): Promise<CostEstimate>;
}
