import { describe, expect, it } from "vitest";
import { missingShared, sharedPath } from "../testing/shared.js";
import { importDataset } from "./import.js";

const sets = [
  {
    folder: "ml-latest-small",
    interactions: "ratings.csv",
    items: "movies.csv",
    kept: { users: 610, items: 3650, events: 90_274 },
    parts: { train: 488, valid: 61, test: 61 },
  },
  {
    folder: "movietweetings-100k",
    interactions: "interactions.csv",
    items: "items.csv",
    kept: { users: 4333, items: 2414, events: 68_055 },
    parts: { train: 3466, valid: 433, test: 434 },
  },
];

describe("importDataset on real data", () => {
  for (const set of sets) {
    const dir = sharedPath("data", set.folder);
    it.skipIf(dir === undefined)(
      `accounts for every row of ${set.folder}${dir === undefined ? ` (${missingShared("data", set.folder)})` : ""}`,
      async () => {
        const { dataset, report } = await importDataset({
          interactions: `${dir}/${set.interactions}`,
          items: `${dir}/${set.items}`,
          split: { file: `${dir}/split.csv` },
        });
        expect(report.kept).toEqual(set.kept);
        expect(report.split).toMatchObject({ ...set.parts, leftOut: 0 });
        const dropped = report.drops
          .filter(({ file }) => file === "interactions")
          .reduce((sum, { count }) => sum + count, 0);
        expect(report.rowsRead).toBe(report.kept.events + dropped);
        expect(report.titleShare).toBe(1);
        const { popularity } = dataset.catalog;
        expect([...popularity.slice(1)].every((count, i) => i === 0 || count <= popularity[i]!)).toBe(true);
      },
    );
  }
});
