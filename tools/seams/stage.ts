import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { defineStage, importStage } from "prismrec/pipeline";
import { z } from "zod";

/** How many of the most popular items have each category. */
export type CategoryCounts = Readonly<Record<string, number>>;

export const categoriesStage = defineStage({
  name: "categories",
  summary: "counts the categories of the most popular items",
  version: 1,
  reads: [importStage],
  settings: z.object({ categoryItems: z.int().min(1).default(10).describe("how many items are looked at") }),
  async run(context, dir) {
    const { dataset } = await context.open(importStage);
    const counts: Record<string, number> = {};
    // Dense ids count down popularity.
    for (const item of dataset.catalog.items.slice(1, 1 + context.settings.categoryItems)) {
      for (const category of item.categories) counts[category] = (counts[category] ?? 0) + 1;
    }
    await writeFile(join(dir, "categories.json"), JSON.stringify(counts));
  },
  open: async (_context, { dir }): Promise<CategoryCounts> =>
    JSON.parse(await readFile(join(dir, "categories.json"), "utf8")),
  describe: async (_context, counts) => ({ summary: `${Object.keys(counts).length} categories` }),
});
