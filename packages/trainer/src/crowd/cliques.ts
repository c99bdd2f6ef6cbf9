import { createRandom } from "@prismrec/core/base";
import type { UserGraph } from "./user-graph.js";

/** A group of training users, rows of `TrainingUsers`. */
export interface Clique {
  /** Ascending. */
  readonly members: Uint32Array;
  /** Mean pairwise similarity of the members; 0 for random groups. */
  readonly compactness: number;
}

export interface CliqueOptions {
  readonly cliqueSize: number;
  readonly prefixes: readonly number[];
}

/**
 * One growing clique per user: the neighbour whose weakest tie to the members is strongest joins, as long as it knows
 * all of them. Every true clique of at least two is a candidate at its final size and at each size of `prefixes`;
 * candidates with the same members count once. Order: by seed user, then size.
 */
export function greedyCliques(graph: UserGraph, { cliqueSize, prefixes }: CliqueOptions): Clique[] {
  const rows = graph.indptr.length - 1;
  const found = new Map<string, Clique>();
  for (let seed = 0; seed < rows; seed++) {
    const members = [seed];
    let similaritySum = 0;
    // Candidates know every member; `weakest` and `sum` run over their ties to the members.
    let candidates = neighboursOf(graph, seed).map(({ id, similarity }) => ({
      id,
      weakest: similarity,
      sum: similarity,
    }));
    while (members.length < cliqueSize && candidates.length > 0) {
      const joining = candidates.reduce((best, other) => (other.weakest > best.weakest ? other : best));
      members.push(joining.id);
      similaritySum += joining.sum;
      const ties = new Map(neighboursOf(graph, joining.id).map(({ id, similarity }) => [id, similarity]));
      candidates = candidates.flatMap(({ id, weakest, sum }) => {
        const tie = ties.get(id);
        return tie === undefined ? [] : [{ id, weakest: Math.min(weakest, tie), sum: sum + tie }];
      });
      const complete = members.length === cliqueSize || candidates.length === 0;
      if (!complete && !prefixes.includes(members.length)) continue;
      const sorted = Uint32Array.from(members).sort();
      const key = sorted.join();
      const pairs = (members.length * (members.length - 1)) / 2;
      if (!found.has(key)) found.set(key, { members: sorted, compactness: similaritySum / pairs });
    }
  }
  return [...found.values()];
}

/** The control: groups of the same sizes whose members are drawn at random from all `rows` users. */
export function randomCliques(cliques: readonly Clique[], rows: number, seed: number): Clique[] {
  const random = createRandom(seed, "random-cliques");
  return cliques.map(({ members }) => {
    const drawn = new Set<number>();
    while (drawn.size < members.length) drawn.add(random.integer(0, rows));
    return { members: Uint32Array.from(drawn).sort(), compactness: 0 };
  });
}

function neighboursOf({ indptr, neighbours, similarity }: UserGraph, user: number) {
  return Array.from({ length: indptr[user + 1]! - indptr[user]! }, (_, n) => ({
    id: neighbours[indptr[user]! + n]!,
    similarity: similarity[indptr[user]! + n]!,
  }));
}
