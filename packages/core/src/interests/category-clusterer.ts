import { createHash } from "node:crypto";
import { PrismrecError } from "../base/errors.js";
import type { Catalog } from "../data/types.js";
import { SignatureClusterer } from "./signature-clusterer.js";

/**
 * The metadata control: an item's signature is its categories, rare ones weighing more (log of the inverse share of
 * the catalog, smoothed). Throws MODEL_UNSUPPORTED where no item has a category.
 */
export function categoryClusterer(catalog: Catalog): SignatureClusterer {
  const counts = new Map<string, number>();
  for (const item of catalog.items.slice(1)) {
    for (const category of new Set(item.categories)) counts.set(category, (counts.get(category) ?? 0) + 1);
  }
  if (counts.size === 0) {
    throw new PrismrecError("MODEL_UNSUPPORTED", "the category clusterer needs items with categories", {
      expected: "a column of categories in the items' file",
      received: "no category at all",
      hint: "name the column with --item-categories, or choose another --clusterer",
    });
  }
  const categories = [...counts.keys()].sort();
  const columnOf = new Map(categories.map((category, column) => [category, column]));
  const cols = categories.length;
  const signatures = { data: new Float32Array(catalog.size * cols), rows: catalog.size, cols };
  const digest = createHash("sha256").update("category-1");
  for (let id = 1; id <= catalog.size; id++) {
    const item = catalog.items[id]!;
    digest.update(JSON.stringify([item.id, item.categories]));
    for (const category of item.categories) {
      signatures.data[(id - 1) * cols + columnOf.get(category)!] = Math.log(1 + catalog.size / counts.get(category)!);
    }
  }
  return new SignatureClusterer({
    name: "category",
    fingerprint: digest.digest("hex"),
    catalog,
    signatures,
    facets: categories,
  });
}
