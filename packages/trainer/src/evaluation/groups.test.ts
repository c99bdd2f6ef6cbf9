import { createCatalog, createLog, type Dataset } from "@prismrec/core/data";
import { MostPopular } from "@prismrec/core/models";
import { describe, expect, it } from "vitest";
import { evaluate } from "./evaluate.js";

/** Ten items of which the first two hold 80 % of the events; six test users of one to six events, item 10 is cold. */
function dataset(): Dataset {
  const popularity = Uint32Array.of(0, 50, 30, 5, 4, 3, 3, 2, 2, 1, 0);
  const items = Array.from(popularity, (_, id) => ({ id: id === 0 ? "" : `i${id}`, title: "", categories: [] }));
  const histories = [[3], [3, 4], [3, 4, 5], [3, 4, 5, 6], [3, 4, 5, 6, 7], [3, 4, 5, 6, 7, 8]];
  const targets = [[1], [2, 9], [9], [1, 10], [10], [2]];
  const rows = histories.map((history, u) => [...history, ...targets[u]!]);
  const indptr = Uint32Array.from([0, ...rows.map(({ length }) => length)]);
  for (let u = 0; u < rows.length; u++) indptr[u + 1]! += indptr[u]!;
  const none = new Uint32Array();
  return {
    fingerprint: "groups",
    catalog: createCatalog(items, popularity),
    log: createLog({ userIds: rows.map((_, u) => `u${u}`), indptr, items: Uint32Array.from(rows.flat()) }),
    split: {
      protocol: "user-disjoint",
      train: { users: none, ends: none },
      valid: { users: none, historyEnds: none, targetEnds: none },
      test: {
        users: Uint32Array.from(rows, (_, u) => u),
        historyEnds: Uint32Array.from(histories, ({ length }) => length),
        targetEnds: Uint32Array.from(rows, ({ length }) => length),
      },
    },
  };
}

describe("metrics by group", () => {
  it("tell the head from the tail, the cold from both, and short histories from long ones", async () => {
    const data = dataset();
    const model = new MostPopular(data.catalog.popularity);
    const { groups, metrics } = await evaluate(model, data, { part: "test", metrics: ["recall@2"], groups: true });
    // Two items are recommended to everybody: the whole head, and nothing of the tail.
    expect(groups).toEqual({
      "head items": { users: 4, metrics: { "recall@2": 1 } },
      "tail items": { users: 4, metrics: { "recall@2": 0 } },
      "cold items": { users: 2, metrics: { "recall@2": 0 } },
      "short histories": { users: 2, metrics: { "recall@2": 0.75 } },
      "medium histories": { users: 2, metrics: { "recall@2": 0.25 } },
      "long histories": { users: 2, metrics: { "recall@2": 0.5 } },
    });
    expect(metrics["recall@2"]).toBeCloseTo((2 * 0.75 + 2 * 0.25 + 2 * 0.5) / 6, 12);
    expect(await evaluate(model, data, { part: "test", metrics: ["recall@2"] })).not.toHaveProperty("groups");
  });
});
