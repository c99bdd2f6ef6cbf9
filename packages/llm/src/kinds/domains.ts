import type { Catalog } from "@prismrec/core/data";

/** What the things of a catalog are: it decides which worked examples a model is shown. */
export const CATALOG_DOMAINS = ["films", "games", "products", "music", "papers", "general"] as const;
export type CatalogDomain = (typeof CATALOG_DOMAINS)[number];

interface Signs {
  /** Categories (lower case) of which a catalog of this domain has at least `fewest`, and others hardly. */
  readonly categories?: { readonly names: readonly string[]; readonly fewest: number };
  /** Columns of the items file (lower case) that only this domain has. */
  readonly columns: readonly string[];
  /** What the titles say, and the share of them that has to say so. */
  readonly titles?: { readonly pattern: RegExp; readonly share: number };
}

/** In the order in which they are looked for. */
const SIGNS: Readonly<Record<Exclude<CatalogDomain, "general">, Signs>> = {
  films: {
    categories: {
      names: ["action", "comedy", "drama", "horror", "thriller", "western", "romance", "documentary"],
      fewest: 4,
    },
    columns: ["director", "directors", "imdb_id", "imdbid", "tmdb_id", "tmdbid"],
    titles: { pattern: /\((?:18|19|20)\d\d\)\s*$/, share: 0.5 },
  },
  games: {
    categories: {
      names: [
        "rpg",
        "role-playing",
        "shooter",
        "strategy",
        "platformer",
        "simulation",
        "indie",
        "massively multiplayer",
        "racing",
        "puzzle",
      ],
      fewest: 3,
    },
    columns: ["developer", "developers", "platforms", "metacritic", "steam_appid"],
    // An added pack or another mode of play is nothing but a game's.
    titles: { pattern: /\b(?:DLC|Multiplayer|Singleplayer|Dedicated Server|Season Pass)\b/, share: 0.01 },
  },
  music: {
    categories: {
      names: ["rock", "pop", "jazz", "hip-hop", "hip hop", "electronic", "metal", "folk", "classical", "blues", "soul"],
      fewest: 3,
    },
    columns: ["artist", "artists", "album", "track", "duration_ms"],
    titles: { pattern: /\b(?:feat\.|ft\.|[Rr]emix|[Rr]emastered)(?:\W|$)/, share: 0.02 },
  },
  papers: {
    columns: ["abstract", "doi", "venue", "journal", "arxiv_id"],
    titles: { pattern: /\b(?:a survey|a review of|an approach|case study|analysis of|evidence from)\b/i, share: 0.03 },
  },
  products: {
    columns: ["brand", "price", "asin", "sku", "ean", "manufacturer"],
    titles: { pattern: /\b\d+(?:\.\d+)?[ -]?(?:oz|ounce|ml|pack|pcs|count|inch|cm|mm|kg|lb)s?\b/i, share: 0.05 },
  },
};

export interface FoundDomain {
  readonly domain: CatalogDomain;
  /** What shows it, in words. */
  readonly because: string;
}

/** The domain that a catalog's categories, columns or titles give away, in this order; `general` where none does. */
export function domainOf({ items, columns }: Catalog): FoundDomain {
  const domains = Object.entries(SIGNS) as [Exclude<CatalogDomain, "general">, Signs][];
  const own = new Set(items.flatMap(({ categories }) => categories.map((category) => category.trim().toLowerCase())));
  for (const [domain, { categories }] of domains) {
    const has = categories?.names.filter((name) => own.has(name)) ?? [];
    if (categories !== undefined && has.length >= categories.fewest) {
      return { domain, because: `the items' categories (${has.slice(0, 4).join(", ")})` };
    }
  }
  const names = [...(columns?.keys() ?? [])];
  for (const [domain, signs] of domains) {
    const column = names.find((name) => signs.columns.includes(name.toLowerCase()));
    if (column !== undefined) return { domain, because: `the column ${column}` };
  }
  for (const [domain, { titles }] of domains) {
    if (titles === undefined || items.length < 2) continue;
    const said = items.filter(({ title }) => titles.pattern.test(title)).length / (items.length - 1);
    if (said >= titles.share) {
      return { domain, because: `the titles, of which ${(100 * said).toFixed(said < 0.1 ? 1 : 0)} % show it` };
    }
  }
  return { domain: "general", because: "nothing in the items that shows what they are" };
}
