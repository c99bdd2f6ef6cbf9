import type { Catalog } from "@prismrec/core/data";

export type FacetSource = "user" | "preset" | "category" | "model";

export interface Facet {
  readonly word: string;
  readonly source: FacetSource;
}

/** Words that say nothing when a model proposes them as a theme. */
const EMPTY_WORDS = new Set(
  "about also another being book books film films first gift good great guide have here into life little made many more movie most other over people series show some story such that their them there these thing things this those title used using very what when where which with world your".split(
    " ",
  ),
);

/**
 * Whether a facet's score says nothing: of `film-noir` only the first part is scored, and "film" fits every film as
 * well as the next.
 */
export function saysNothing(facet: string): boolean {
  const [first, ...rest] = facet.split(/[\s-]+/);
  return rest.length > 0 && EMPTY_WORDS.has(first ?? "");
}

/** The categories of the data as words: lower case, single words only, no placeholders such as "(no genres listed)". */
export function categoryWords(catalog: Catalog): string[] {
  const counts = new Map<string, number>();
  for (const { categories } of catalog.items.slice(1)) {
    for (const category of categories) {
      const word = category.trim().toLowerCase();
      if (/^\p{L}[\p{L}-]{2,}$/u.test(word)) counts.set(word, (counts.get(word) ?? 0) + 1);
    }
  }
  return [...counts.keys()].sort((a, b) => counts.get(b)! - counts.get(a)! || (a < b ? -1 : 1)).slice(0, 40);
}

/** Themes a model named for sampled items (one short answer each), those named at least twice, commonest first. */
export function proposedWords(answers: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const answer of answers) {
    const word = /^\s*(?:the |a |an )?(\p{Ll}{4,})(?: movie| film)?\s*$/u.exec(answer)?.[1];
    if (word !== undefined && !EMPTY_WORDS.has(word)) counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return [...counts.entries()]
    .filter(([, count]) => count >= 2)
    .sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
    .map(([word]) => word);
}

/** One list without repetition; of a repeated word the first source stands. */
export function mergeFacets(lists: readonly { source: FacetSource; words: readonly string[] }[]): Facet[] {
  const facets = new Map<string, Facet>();
  for (const { source, words } of lists) {
    for (const raw of words) {
      const word = raw.trim();
      if (word !== "" && !facets.has(word)) facets.set(word, { word, source });
    }
  }
  return [...facets.values()];
}
