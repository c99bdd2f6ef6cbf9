import { describe, expect, it } from "vitest";
import { DEFAULT_MAX_ITEMS, eventClusters, historyRequest } from "./history-request.js";

const clusterer = { name: "by hand" };
const request = (items: number[], limits = {}, most?: number) => [
  ...historyRequest(Uint32Array.from(items), most === undefined ? {} : { maxItems: most }, limits).items,
];

describe("historyRequest", () => {
  it("asks for distinct items where they stood last, oldest first", () => {
    expect(request([2, 1, 1, 3, 5, 7, 3])).toEqual([2, 1, 5, 7, 3]);
    expect(request([])).toEqual([]);
  });

  it("keeps the most recent of them, by the stricter of its own limit and the clusterer's", () => {
    expect(request([1, 2, 3, 4, 5, 4], { maxItems: 3 })).toEqual([3, 5, 4]);
    expect(request([1, 2, 3, 4, 5, 4], { maxItems: 3 }, 2)).toEqual([5, 4]);
    expect(request([1, 2, 3, 4, 5, 4], {}, 4)).toEqual([2, 3, 5, 4]);
  });

  it("bounds the longest history by default", () => {
    const crawler = Array.from({ length: 10_000 }, (_, n) => n + 1);
    const asked = request(crawler);
    expect(asked).toHaveLength(DEFAULT_MAX_ITEMS);
    expect(asked.at(-1)).toBe(10_000);
  });
});

describe("eventClusters", () => {
  const history = Uint32Array.of(9, 1, 2, 1);
  const asked = historyRequest(history, {}, { maxItems: 2 });

  it("gives the events of an item its cluster, those beyond the limit none", () => {
    const partition = { key: "k", assign: Int16Array.of(1, 0), labels: ["a", "b"] };
    expect([...eventClusters(clusterer, asked, partition, history)]).toEqual([-1, 0, 1, 0]);
  });

  it("refuses an answer that leaves items out, or none", () => {
    const short = { key: "k", assign: Int16Array.of(1), labels: ["a"] };
    for (const answer of [short, undefined]) {
      expect(() => eventClusters(clusterer, asked, answer, history)).toThrow(
        expect.objectContaining({ code: "LLM_OUTPUT_INVALID" }),
      );
    }
  });
});
