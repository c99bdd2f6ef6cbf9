import type { Dataset } from "@prismrec/core/data";
import { rankScores, type ScorerDefinition, type ScoringModel } from "@prismrec/core/models";
import { z } from "zod";

const settings = z.strictObject({
  smoothing: z.number().min(0).default(0.01).describe("what the popularity of an item adds to its transitions"),
});

/** A first-order Markov chain: what training users took right after the last item of the history. */
class MarkovChain implements ScoringModel {
  readonly name = "markov-chain";
  readonly itemCount: number;

  /** @param transitions [N, N] worth of item `to` after item `from`, at `(from - 1) * N + to - 1` */
  constructor(readonly transitions: Float32Array) {
    this.itemCount = Math.sqrt(transitions.length);
  }

  score(...[{ items }, scores]: Parameters<ScoringModel["score"]>): boolean {
    const last = items.at(-1);
    if (last === undefined) return false;
    scores.set(this.transitions.subarray((last - 1) * this.itemCount, last * this.itemCount));
    return true;
  }

  rank(...[histories, options]: Parameters<ScoringModel["rank"]>): ReturnType<ScoringModel["rank"]> {
    return rankScores(this, histories, options);
  }
}

function countTransitions({ catalog, log, split }: Dataset, smoothing: number): Float32Array {
  const counts = new Float32Array(catalog.size ** 2);
  for (let row = 0; row < catalog.size; row++) {
    for (let to = 1; to <= catalog.size; to++) {
      counts[row * catalog.size + to - 1] = smoothing * catalog.popularity[to]!;
    }
  }
  split.train.users.forEach((user, r) => {
    const start = log.indptr[user]!;
    for (let at = start + 1; at < start + split.train.ends[r]!; at++) {
      counts[(log.items[at - 1]! - 1) * catalog.size + log.items[at]! - 1]! += 1;
    }
  });
  return counts;
}

export const markovChain: ScorerDefinition<z.infer<typeof settings>, MarkovChain> = {
  kind: "scorer",
  name: "markov-chain",
  paper: "a toy: the first-order Markov chain of Shani et al. 2005, without its clusters",
  settings,
  maxItems: 5000,
  fit: async (dataset, { smoothing }) => ({
    model: new MarkovChain(countTransitions(dataset, smoothing)),
    facts: { smoothing },
  }),
  tensors: ({ itemCount, transitions }) =>
    new Map([["transitions", { shape: [itemCount, itemCount], data: transitions }]]),
  open: (_dataset, tensors) => new MarkovChain(tensors.get("transitions")?.data as Float32Array),
};
