import { promptText } from "../facets/item-text.js";
import type { CatalogDomain } from "./domains.js";

/** Counts up with every change of what is asked: part of every fingerprint. */
export const KIND_PROMPT_VERSION = 1;

/** Longest answer: a few words are wanted, and each costs. */
export const KIND_TOKENS = 16;

interface KindPreset {
  /** What one thing of the domain is called. */
  readonly noun: string;
  /** Titles and the kinds of them; two disjoint sets: the second only measures how much the first decides. */
  readonly examples: readonly [readonly Example[], readonly Example[]];
}
type Example = readonly [title: string, kind: string];

const PRESETS: Readonly<Record<CatalogDomain, KindPreset>> = {
  films: {
    noun: "Movie",
    examples: [
      [
        ["Finding Nemo", "animation, family, adventure, fish, ocean"],
        ["The Silence of the Lambs", "thriller, crime, serial killer, police"],
        ["Dirty Dancing", "romance, drama, dancing, holiday"],
      ],
      [
        ["Jaws", "thriller, horror, shark, beach"],
        ["Singin' in the Rain", "musical, comedy, show business, Hollywood"],
        ["Ben-Hur", "epic, history, ancient Rome, chariot race"],
      ],
    ],
  },
  games: {
    noun: "Game",
    examples: [
      [
        ["Portal 2", "puzzle, first person, science fiction, laboratory"],
        ["FIFA 15", "sports, football, simulation, multiplayer"],
        ["The Witcher 3 Wild Hunt", "role-playing, open world, fantasy, monsters"],
      ],
      [
        ["Sid Meier's Civilization V", "strategy, turn-based, history, empires"],
        ["Left 4 Dead 2", "shooter, horror, zombies, cooperative"],
        ["Need for Speed Undercover", "racing, cars, arcade, police"],
      ],
    ],
  },
  products: {
    noun: "Product",
    examples: [
      [
        ["Moisturizing Day Cream SPF 15, 50 ml", "skin care, face, cream, sun protection"],
        ["18V Cordless Drill with Two Batteries", "tools, power drill, cordless, do-it-yourself"],
        ["Stainless Steel French Press, 8 Cups", "kitchen, coffee, brewing, steel"],
      ],
      [
        ["Wooden Train Set, 60 Pieces", "toys, children, trains, wood"],
        ["Men's Waterproof Hiking Boots", "shoes, outdoor, hiking, men"],
        ["USB-C Charging Cable, 2 m", "electronics, charging, cable, phone"],
      ],
    ],
  },
  music: {
    noun: "Music",
    examples: [
      [
        ["Back in Black", "hard rock, electric guitar, energetic, eighties"],
        ["Kind of Blue", "jazz, trumpet, instrumental, calm"],
        ["Dancing Queen", "pop, disco, dancing, joyful"],
      ],
      [
        ["The Four Seasons", "classical, baroque, violin, orchestra"],
        ["No Woman, No Cry", "reggae, vocal, slow, Jamaica"],
        ["Lose Yourself", "hip hop, rap, intense, film song"],
      ],
    ],
  },
  papers: {
    noun: "Paper",
    examples: [
      [
        ["Attention Is All You Need", "machine learning, neural networks, translation, attention"],
        ["A Structure for Deoxyribose Nucleic Acid", "biology, genetics, DNA, molecules"],
        ["The Market for Lemons", "economics, markets, information, quality"],
      ],
      [
        ["On the Electrodynamics of Moving Bodies", "physics, relativity, light, motion"],
        ["The PageRank Citation Ranking", "computer science, web search, ranking, graphs"],
        ["Judgment under Uncertainty", "psychology, decisions, biases, probability"],
      ],
    ],
  },
  general: {
    noun: "Title",
    examples: [
      [
        ["A Brief History of Time", "science, physics, universe, time"],
        ["Salsa Steps at Home", "dancing, fitness, music, lessons"],
        ["The Diary of a Fox", "animals, nature, forest, story"],
      ],
      [
        ["Knitting Warm Socks", "crafts, knitting, clothes, winter"],
        ["How Money Works", "economy, finance, business, banks"],
        ["The Marathon Runner", "sports, running, training, endurance"],
      ],
    ],
  },
};

/** The question of what one thing is: worked examples, which all items share, and the item's own line. */
export function kindPrompt(domain: CatalogDomain, text: string, set: 0 | 1 = 0): string {
  const { noun, examples } = PRESETS[domain];
  const worked = examples[set].map(([title, kind]) => `${noun}: "${title}"\nKind: ${kind}\n`).join("");
  return `${worked}${noun}: "${promptText(text)}"\nKind:`;
}

/** How the question is put: continued greedily as plain text to the end of the line. */
export const KIND_OPTIONS = { chat: false, maxTokens: KIND_TOKENS, stop: ["\n"] } as const;

const MOST_PHRASES = 6;
const LONGEST_PHRASE = 40;

/** A model's answer as phrases in lower case, each once; "" where it said nothing. */
export function parseKind(answer: string): string {
  const phrases = answer
    .split(/[\n\r]/)[0]!
    .split(/[,;/|]/)
    .map((phrase) =>
      phrase
        .replace(/[\p{Cc}\p{Cf}"]/gu, "")
        .replace(/[.\s]+$/, "")
        .trim()
        .toLowerCase(),
    )
    .filter((phrase) => /\p{L}/u.test(phrase) && phrase.length <= LONGEST_PHRASE);
  return [...new Set(phrases)].slice(0, MOST_PHRASES).join(", ");
}
