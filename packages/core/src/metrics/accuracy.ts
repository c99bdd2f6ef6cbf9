import type { RankingMetricDefinition } from "./ranking-metric.js";

const discount = (rank: number): number => 1 / Math.log2(rank + 1);

const gain = (ranks: readonly number[]): number => ranks.reduce((sum, rank) => sum + discount(rank), 0);

/** The gain of a list whose first entries are all hits. */
function idealGain(hits: number): number {
  let sum = 0;
  for (let rank = 1; rank <= hits; rank++) sum += discount(rank);
  return sum;
}

/** What the field judges a list by; the two historical variants of NDCG are here only to compare with published tables. */
export const ACCURACY_METRICS: readonly RankingMetricDefinition[] = [
  {
    name: "recall",
    description: "hits / targets",
    value: ({ ranks, targets }) => ranks.length / targets,
  },
  {
    name: "ndcg",
    description: "sum of 1 / log2(rank + 1) over hits, over that of an ideal list of min(targets, N) hits",
    value: ({ ranks, targets, n }) => gain(ranks) / idealGain(Math.min(targets, n)),
  },
  {
    name: "ndcg-comirec-hits",
    description:
      "its ideal list has as many hits as this one, so that one hit at rank 1 gives 1 (ComiRec's, REMI's released code)",
    value: ({ ranks }) => gain(ranks) / idealGain(ranks.length),
  },
  {
    name: "ndcg-comirec-paper",
    description: "as before, a hit standing at its place among the targets (ComiRec's first code)",
    value: ({ ranks, places }) => gain(places) / idealGain(ranks.length),
  },
  {
    name: "hit-rate",
    description: "1 with any hit",
    value: () => 1,
  },
  {
    name: "mrr",
    description: "1 / rank of the first hit",
    value: ({ ranks }) => 1 / ranks[0]!,
  },
  {
    name: "map",
    description: "precision at each hit's rank, over min(targets, N)",
    value: ({ ranks, targets, n }) =>
      ranks.reduce((sum, rank, before) => sum + (before + 1) / rank, 0) / Math.min(targets, n),
  },
  {
    name: "precision",
    description: "hits / N",
    value: ({ ranks, n }) => ranks.length / n,
  },
];
