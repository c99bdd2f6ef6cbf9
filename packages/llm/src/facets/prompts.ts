/** Counts up with every change of what is asked: part of every fingerprint. */
export const FACET_PROMPT_VERSION = 3;

/** One way of asking what an item is about, for one kind of catalog. */
export interface FacetPreset {
  readonly name: string;
  /** Worked examples, one per line; two disjoint sets: the second only measures how much the first decides. */
  readonly examples: readonly [readonly string[], readonly string[]];
  /** What stands around an item's text; the answer is the next word. */
  readonly before: string;
  readonly after: string;
  /** The facet words to start from. */
  readonly words: readonly string[];
}

/** Themes that things sold, read, watched or visited may be about. */
const THEMES: FacetPreset = {
  name: "themes",
  examples: [
    [
      '"The Art of War" is about history.',
      '"Finding Nemo" is about animals.',
      '"Salsa Steps at Home" is about dancing.',
    ],
    [
      '"A Brief History of Time" is about physics.',
      '"The Godfather" is about crime.',
      '"Learning to Swim" is about sports.',
    ],
  ],
  before: '"',
  after: '" is about',
  words: (
    "nature animals pets dogs cats birds food cooking baking wine gardening farming music art painting drawing " +
    "photography film literature poetry history science astronomy space technology computers games chess puzzles " +
    "sports fitness running cycling fishing hunting swimming sailing camping hiking travel fashion sewing knitting " +
    "crafts woodworking home family children health beauty business money politics war religion philosophy love " +
    "mystery fantasy horror comedy crime adventure cars education weather psychology"
  ).split(" "),
};

/** Kinds of film, for catalogs whose categories are film genres. */
const FILMS: FacetPreset = {
  name: "films",
  examples: [
    [
      'The movie "Finding Nemo" is an animated movie.',
      'The movie "The Godfather" is a crime movie.',
      'The movie "Dirty Dancing" is a dance movie.',
    ],
    [
      'The movie "Jaws" is a shark movie.',
      'The movie "Titanic" is a romance movie.',
      'The movie "Saving Private Ryan" is a war movie.',
    ],
  ],
  before: 'The movie "',
  after: '" is a',
  words: (
    "action comedy horror drama thriller romance fantasy animation documentary crime mystery adventure science war " +
    "western musical family biography history sports zombie vampire heist revenge superhero spy space robot detective " +
    "teenage"
  ).split(" "),
};

export const FACET_PRESETS: readonly FacetPreset[] = [THEMES, FILMS];

/** Genres that no other kind of catalog has together. */
const FILM_GENRES = new Set(["action", "comedy", "drama", "horror", "thriller", "western", "romance", "documentary"]);

/** The preset that fits the data's categories: films where they are film genres, themes otherwise. */
export function facetPreset(categories: readonly string[]): FacetPreset {
  const genres = categories.filter((category) => FILM_GENRES.has(category)).length;
  return genres >= 4 ? FILMS : THEMES;
}

/** The part of the prompt that all items share. */
export function facetPrefix(preset: FacetPreset, set: 0 | 1 = 0): string {
  return `${preset.examples[set].join("\n")}\n${preset.before}`;
}

/** The part that is the item's own. */
export function facetQuestion(preset: FacetPreset, text: string): string {
  return text + preset.after;
}
