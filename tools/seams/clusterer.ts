import { hashJson } from "@prismrec/core/base";
import { byFirstAppearance, type Clusterer } from "@prismrec/core/interests";
import type { ClustererDefinition } from "@prismrec/llm";

/** Items whose titles begin alike are one interest. */
export const firstLetter: ClustererDefinition = {
  name: "first-letter",
  needs: "nothing",
  description: "a toy: histories are grouped by the first letters of the titles",
  async create({ catalog }) {
    const letters = catalog.items.map(({ title }) => title.slice(0, 1).toUpperCase());
    const clusterer: Clusterer = {
      name: "first-letter",
      fingerprint: hashJson(["first-letter-1", letters]),
      async partition(requests, { signal } = {}) {
        return requests.map(({ key, items, maxClusters }) => {
          signal?.throwIfAborted();
          const { assign, order } = byFirstAppearance(Array.from(items, (item) => letters[item]!.charCodeAt(0)));
          // The last cluster takes what is over, so that the limit holds.
          for (let i = 0; i < assign.length; i++) assign[i] = Math.min(assign[i]!, maxClusters - 1);
          return { key, assign, labels: order.slice(0, maxClusters).map((code) => String.fromCharCode(code)) };
        });
      },
    };
    return { clusterer, report: { name: "first-letter" } };
  },
};
