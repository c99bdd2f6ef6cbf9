import type { Recommendation } from "@prismrec/core/recommend";

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
  }[];
  readonly interests: readonly { readonly index: number; readonly labels: readonly string[]; readonly share: number }[];
}

export function recommendationDocument(
  user: string | null,
  { items, interests }: Recommendation,
): RecommendationDocument {
  return {
    user,
    items: items.map(({ id, title, score, interest, prior }) => ({
      id,
      title,
      score,
      interest,
      ...(prior === undefined ? {} : { prior }),
    })),
    interests: interests.map(({ index, labels, share }) => ({ index, labels, share })),
  };
}
