/** Counts up with every change of what is asked: part of every fingerprint. */
export const FACET_PROMPT_VERSION = 1;

export interface WorkedExample {
  readonly title: string;
  readonly about: string;
}

/** Two disjoint sets of worked examples: the second only measures how much the first decides. */
export const EXAMPLES: readonly (readonly WorkedExample[])[] = [
  [
    { title: "The Art of War", about: "history" },
    { title: "Finding Nemo", about: "animals" },
    { title: "Salsa Steps at Home", about: "dancing" },
  ],
  [
    { title: "A Brief History of Time", about: "physics" },
    { title: "The Godfather", about: "crime" },
    { title: "Learning to Swim", about: "sports" },
  ],
];

/** The part of the prompt that all items share. */
export function facetPrefix(examples: readonly WorkedExample[]): string {
  return `${examples.map(({ title, about }) => `"${title}" is about ${about}.\n`).join("")}"`;
}

/** The part that is the item's own. */
export function facetQuestion(text: string): string {
  return `${text}" is about`;
}
