import type { Clusterer } from "../interests/types.js";

/** Puts items of one label together, in the order in which the labels appear in a history. For tests only. */
export function labelClusterer(labelOf: (dense: number) => string): Clusterer {
  return {
    name: "labels",
    fingerprint: "labels",
    async partition(requests) {
      return requests.map(({ key, items }) => {
        const own = Array.from(items, labelOf);
        const labels = [...new Set(own)];
        return { key, assign: Int16Array.from(own, (label) => labels.indexOf(label)), labels };
      });
    },
  };
}
