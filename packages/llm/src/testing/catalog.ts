import type { Catalog, Item } from "@prismrec/core/data";

/** A catalog of titles (and categories), ids i1, i2, ... For tests only. */
export function catalogOf(titles: readonly string[], categories: readonly (readonly string[])[] = []): Catalog {
  const items = titles.map((title, i): Item => ({ id: `i${i + 1}`, title, categories: categories[i] ?? [] }));
  const ids = new Map(items.map(({ id }, i) => [id, i + 1]));
  return {
    size: items.length,
    items: [{ id: "", title: "", categories: [] }, ...items],
    popularity: new Uint32Array(items.length + 1),
    idOf: (id) => ids.get(id),
  };
}
