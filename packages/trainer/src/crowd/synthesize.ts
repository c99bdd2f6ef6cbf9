import type { Clique } from "./cliques.js";
import type { TrainingUsers } from "./training-users.js";

/** The merged behaviour of one clique: distinct dense item ids, oldest first by their latest event among the members. */
export interface MergedBehaviour {
  readonly items: Uint32Array;
  /** Aligned with `items`: members that hold the item, times its inverse document frequency. */
  readonly weights: Float32Array;
}

/**
 * The multiset union of the members' items, cut to the `maxItems` heaviest; equal weights go to the more recent item,
 * then to the lower id.
 */
export function synthesize(users: TrainingUsers, clique: Clique, maxItems: number): MergedBehaviour {
  const { sets, recency, idf } = users;
  const merged = new Map<number, { item: number; count: number; latest: number }>();
  for (const member of clique.members) {
    for (let e = sets.indptr[member]!; e < sets.indptr[member + 1]!; e++) {
      const item = sets.indices[e]!;
      const entry = merged.get(item);
      if (entry === undefined) merged.set(item, { item, count: 1, latest: recency[e]! });
      else {
        entry.count++;
        entry.latest = Math.max(entry.latest, recency[e]!);
      }
    }
  }
  const kept = [...merged.values()]
    .map(({ item, count, latest }) => ({ item, weight: count * idf[item]!, latest }))
    .sort((a, b) => b.weight - a.weight || b.latest - a.latest || a.item - b.item)
    .slice(0, maxItems)
    .sort((a, b) => a.latest - b.latest || a.item - b.item);
  return {
    items: Uint32Array.from(kept, ({ item }) => item),
    weights: Float32Array.from(kept, ({ weight }) => weight),
  };
}
