/** One user's list beside the targets, as far as accuracy is concerned. */
export interface Hits {
  /** Ranks of the hits among the first `n` of the list, ascending, counted from 1; at least one. */
  readonly ranks: readonly number[];
  /** Place of each hit among the targets, oldest first, counted from 1; in the order of `ranks`. */
  readonly places: readonly number[];
  /** How many targets there are. */
  readonly targets: number;
  /** The cut-off. */
  readonly n: number;
}

/** A way to judge a ranked list: asked for by `NAME@N`. */
export interface RankingMetricDefinition {
  readonly name: string;
  /** One line for the reference; N is the cut-off. */
  readonly description: string;
  /** A fraction in [0, 1]. Asked only where there is a hit: a list without one has the value 0. */
  value(hits: Hits): number;
}
