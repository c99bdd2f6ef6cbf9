import type { ActedRule, Recommendation } from "@prismrec/core/recommend";

/** What `recommend --json` and `export recommendations` print. */
export interface RecommendationDocument {
  /** null: a history was given instead of a user. */
  readonly user: string | null;
  readonly items: readonly {
    readonly id: string;
    readonly title: string;
    readonly score: number;
    /** `index` of the interest behind it. */
    readonly interest: number | null;
    /** Which part of its lead a prior gives; absent without one. */
    readonly prior?: number;
    /** A rule has put it in its place. */
    readonly pinned?: true;
  }[];
  readonly interests: readonly { readonly index: number; readonly labels: readonly string[]; readonly share: number }[];
  /** False: diversity or rules have changed the list; absent: it is the best by score. */
  readonly exact?: false;
  /** Rules that made a difference; absent: none did. */
  readonly rules?: readonly ActedRule[];
}

export function recommendationDocument(
  user: string | null,
  { items, interests, exact, rules }: Recommendation,
): RecommendationDocument {
  return {
    user,
    items: items.map(({ id, title, score, interest, prior, pinned }) => ({
      id,
      title,
      score,
      interest,
      ...(prior === undefined ? {} : { prior }),
      ...(pinned === undefined ? {} : { pinned }),
    })),
    interests: interests.map(({ index, labels, share }) => ({ index, labels, share })),
    ...(exact ? {} : { exact }),
    ...(rules.length === 0 ? {} : { rules }),
  };
}
