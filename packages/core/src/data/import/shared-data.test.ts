import { describe, expect, it } from "vitest";
import { sha256 } from "../../base/hash.js";
import { unaccounted } from "../../testing/dataset-files.js";
import { missingShared, sharedPath } from "../../testing/shared.js";
import type { Dataset } from "../types.js";
import { importDataset } from "./import.js";

/**
 * The default protocol: ratings ignored, the earliest of a repeat kept, ties in file order, and where there are no times
 * the file's order because it is asked for. `sequences` and `parts` are hashes of every user's items and of the split as
 * they have always been; they may change with a decision only, never with a mend.
 */
const sets = [
  {
    folder: "ml-latest-small",
    interactions: "ratings.csv",
    items: "movies.csv",
    kept: { users: 610, items: 3650, events: 90_274 },
    parts: { train: 488, valid: 61, test: 61 },
    titleShare: 1,
    hashes: { sequences: "f95e87d3ef35fe50", parts: "f9b04b9399944b4b", drawnParts: "46fd3ac38ff2ec3d" },
    said: [/23\.7 % of events share their time .* sorted by "movieId": --ties random/],
  },
  {
    folder: "movietweetings-100k",
    interactions: "interactions.csv",
    items: "items.csv",
    kept: { users: 4333, items: 2414, events: 68_055 },
    parts: { train: 3466, valid: 433, test: 434 },
    titleShare: 1,
    hashes: { sequences: "be3233d6e9842b21", parts: "955ab14fe2ca9f35", drawnParts: "532e23cfe0f083d4" },
    said: [],
  },
  {
    folder: "steam",
    interactions: "interactions.csv",
    items: "items.csv",
    order: "file",
    kept: { users: 3726, items: 2628, events: 110_176 },
    parts: { train: 2980, valid: 372, test: 374 },
    titleShare: 1,
    hashes: { sequences: "84e87f67cc9230ea", parts: "be03ca58297c1f5a", drawnParts: "6b6d8838ef5b7f6d" },
    said: [],
  },
] as const;

const bytes = (column: Uint32Array): Buffer => Buffer.from(column.buffer, column.byteOffset, column.byteLength);

function hashesOf({ catalog, log, split }: Dataset): { readonly sequences: string; readonly parts: string } {
  const ids = [catalog.items.map(({ id }) => id), log.userIds].map((list) => Buffer.from(JSON.stringify(list)));
  const parts = [
    ...[split.train.users, split.train.ends],
    ...[split.valid, split.test].flatMap(({ users, historyEnds, targetEnds }) => [users, historyEnds, targetEnds]),
  ];
  return {
    sequences: sha256(Buffer.concat([...ids, bytes(log.indptr), bytes(log.items)])).slice(0, 16),
    parts: sha256(Buffer.concat(parts.map(bytes))).slice(0, 16),
  };
}

describe("importDataset on real data", () => {
  for (const set of sets) {
    const dir = sharedPath("data", set.folder);
    it.skipIf(dir === undefined)(
      `accounts for every row of ${set.folder}${dir === undefined ? ` (${missingShared("data", set.folder)})` : ""}`,
      async () => {
        const options = {
          interactions: `${dir}/${set.interactions}`,
          items: `${dir}/${set.items}`,
          ...("order" in set ? { order: set.order } : {}),
        };
        const { dataset, report } = await importDataset({ ...options, split: { file: `${dir}/split.csv` } });
        expect(report.kept).toEqual(set.kept);
        expect(report.split).toMatchObject({ ...set.parts, leftOut: 0 });
        const { drawnParts, ...hashes } = set.hashes;
        expect(hashesOf(dataset)).toEqual(hashes);
        expect(hashesOf((await importDataset(options)).dataset).parts).toBe(drawnParts);
        expect(report.warnings).toEqual(set.said.map((line) => expect.stringMatching(line)));
        expect(unaccounted(report)).toBe(0);
        expect(report.titleShare).toBe(set.titleShare);
        const { popularity } = dataset.catalog;
        expect([...popularity.slice(1)].every((count, i) => i === 0 || count <= popularity[i]!)).toBe(true);
      },
    );
  }

  const steam = sharedPath("data", "steam");
  it.skipIf(steam === undefined)("draws the order of steam, which has no times, unless told otherwise", async () => {
    const options = { interactions: `${steam}/interactions.csv`, split: { file: `${steam}/split.csv` } };
    const { dataset, report } = await importDataset(options);
    expect(report.kept.events).toBe(110_176);
    expect(report.warnings).toEqual([expect.stringContaining("each user's order is drawn from the seed")]);
    const { sequences, parts } = hashesOf(dataset);
    expect(sequences).not.toBe("84e87f67cc9230ea");
    expect(parts).toBe("be03ca58297c1f5a");
  });
});
