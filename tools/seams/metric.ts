import type { RankingMetricDefinition } from "@prismrec/core/metrics";

/** How patient the user is: the chance of going on to the next entry of the list. */
const PATIENCE = 0.8;

/** Rank-biased precision (Moffat and Zobel 2008): `(1 - p) * sum of p^(rank - 1)` over hits. */
export const rankBiasedPrecision: RankingMetricDefinition = {
  name: "rbp",
  description: "(1 - p) * sum of p^(rank - 1) over hits, p = 0.8",
  value: ({ ranks }) => (1 - PATIENCE) * ranks.reduce((sum, rank) => sum + PATIENCE ** (rank - 1), 0),
};
