import { importDataset } from "@prismrec/core/data/import";
import { describe, expect, it } from "vitest";
import { missingShared, sharedPath } from "../../../core/src/testing/shared.js";
import { synthesizeCrowd } from "./crowd.js";

const folder = sharedPath("data", "movietweetings-100k");

describe("a crowd of real users", () => {
  it.skipIf(folder === undefined)(
    `covers the catalog of movietweetings-100k better than a random choice ${folder === undefined ? missingShared("data", "movietweetings-100k") : ""}`,
    async () => {
      const { dataset } = await importDataset({
        interactions: `${folder}/interactions.csv`,
        items: `${folder}/items.csv`,
        split: { file: `${folder}/split.csv` },
      });
      const greedy = await synthesizeCrowd(dataset, {});
      const drawn = await synthesizeCrowd(dataset, { cover: "random" });
      expect(greedy.members).toHaveLength(Math.ceil(0.05 * dataset.split.train.users.length));
      expect(greedy.coverage.at(-1)!).toBeGreaterThan(1.2 * drawn.coverage.at(-1)!);
      expect(greedy.coverage.at(-1)!).toBeGreaterThan((1 - 1 / Math.E) * greedy.coverageBound);
      const training = new Set(dataset.split.train.users);
      for (const members of greedy.members) for (const user of members) expect(training.has(user)).toBe(true);
    },
  );
});
