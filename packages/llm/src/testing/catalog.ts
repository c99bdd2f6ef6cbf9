import { type Catalog, createCatalog, type Item } from "@prismrec/core/data";

/** A catalog of titles (and categories), ids i1, i2, ... For tests only. */
export function catalogOf(titles: readonly string[], categories: readonly (readonly string[])[] = []): Catalog {
  const items = titles.map((title, i): Item => ({ id: `i${i + 1}`, title, categories: categories[i] ?? [] }));
  return createCatalog([{ id: "", title: "", categories: [] }, ...items], new Uint32Array(items.length + 1));
}
