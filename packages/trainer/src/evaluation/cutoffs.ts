/** Lengths at which lists are judged unless others are asked for. */
export const DEFAULT_CUTOFFS: readonly number[] = [20, 50];

/**
 * The cut-offs that say something about a catalog, ascending: those below its size, because a list of all items finds
 * everything; half the catalog where there is none.
 */
export function cutoffsWithin(cutoffs: readonly number[], itemCount: number): number[] {
  const within = [...new Set(cutoffs)].filter((cutoff) => cutoff < itemCount).sort((a, b) => a - b);
  return within.length > 0 ? within : [Math.max(1, Math.floor(itemCount / 2))];
}

/** Recall, NDCG and hit rate at every cut-off that says something about the catalog. */
export function metricsAt(cutoffs: readonly number[], itemCount: number): string[] {
  return cutoffsWithin(cutoffs, itemCount).flatMap((cutoff) =>
    ["recall", "ndcg", "hit-rate"].map((name) => `${name}@${cutoff}`),
  );
}
