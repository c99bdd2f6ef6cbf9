import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createLog } from "../data/catalog.js";
import { textColumn } from "../data/columns.js";
import { MostPopular } from "../models/most-popular.js";
import { titledCatalog } from "../testing/catalog.js";
import { appendHistory } from "./append-history.js";
import { Recommender } from "./recommender.js";

describe("a history with later events", () => {
  it("is in the order of time where both have times, each event keeping what is known of it", () => {
    const events = fc.array(fc.record({ item: fc.integer({ min: 1, max: 9 }), time: fc.bigInt(0n, 20n) }), {
      maxLength: 8,
    });
    fc.assert(
      fc.property(events, events, (before, further) => {
        const sorted = before.toSorted((a, b) => Number(a.time - b.time));
        const historyOf = (list: typeof before) => ({
          items: Uint32Array.from(list, ({ item }) => item),
          times: BigInt64Array.from(list, ({ time }) => time),
          events: textColumn(list.map(({ item }) => `kind ${item}`)),
        });
        const { items, times, events: kinds } = appendHistory(historyOf(sorted), historyOf(further));
        const expected = [...sorted, ...further].toSorted((a, b) => Number(a.time - b.time));
        expect([...items]).toEqual(expected.map(({ item }) => item));
        expect([...times!]).toEqual(expected.map(({ time }) => time));
        expect(Array.from(kinds!.codes, (code) => kinds!.dictionary[code])).toEqual(
          expected.map(({ item }) => `kind ${item}`),
        );
      }),
    );
  });

  it("ends with events that have no time, as late as the last; what one of them lacks is missing there", () => {
    const history = { items: Uint32Array.of(1, 2), times: BigInt64Array.of(5n, 7n), weights: Float32Array.of(1, 2) };
    const more = { items: Uint32Array.of(3), events: textColumn(["buy"]) };
    const { items, times, weights, events } = appendHistory(history, more);
    expect([...items]).toEqual([1, 2, 3]);
    expect([...times!]).toEqual([5n, 7n, 7n]);
    expect([...weights!]).toEqual([1, 2, Number.NaN]);
    expect(Array.from(events!.codes, (code) => events!.dictionary[code])).toEqual(["", "", "buy"]);
    expect(appendHistory({ items: Uint32Array.of(1) }, { ...more, times: BigInt64Array.of(1n) }).times).toBeUndefined();
  });

  it("is what a user is recommended from", async () => {
    const catalog = titledCatalog(["a", "b", "c", "d"]);
    const log = createLog({ userIds: ["ada"], indptr: Uint32Array.of(0, 1), items: Uint32Array.of(1) });
    const recommender = new Recommender({ model: new MostPopular(Uint32Array.of(0, 4, 3, 2, 1)), catalog, log });
    const ids = async (since: string[]) =>
      (await recommender.recommend({ user: "ada", since }, { unknownItems: "skip" })).items.map(({ id }) => id);
    expect(await ids([])).toEqual(["i2", "i3", "i4"]);
    expect(await ids(["i3", "gone"])).toEqual(["i2", "i4"]);
    const { unknownItems } = await recommender.recommend({ user: "ada", since: ["gone"] }, { unknownItems: "skip" });
    expect(unknownItems).toEqual(["gone"]);
    await expect(recommender.recommend({ user: "ada", since: ["gone"] })).rejects.toMatchObject({
      code: "UNKNOWN_ITEM",
    });
  });
});
