import { createRandom } from "@prismrec/core/base";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Clique, greedyCliques, randomCliques } from "./cliques.js";
import type { UserGraph } from "./user-graph.js";

function graphOf(rows: number, edges: readonly (readonly [number, number, number])[]): UserGraph {
  const lists: { id: number; s: number }[][] = Array.from({ length: rows }, () => []);
  for (const [u, v, s] of edges) {
    lists[u]!.push({ id: v, s });
    lists[v]!.push({ id: u, s });
  }
  const sorted = lists.map((list) => list.sort((a, b) => a.id - b.id));
  const indptr = new Uint32Array(rows + 1);
  sorted.forEach((list, u) => {
    indptr[u + 1] = indptr[u]! + list.length;
  });
  return {
    indptr,
    neighbours: Uint32Array.from(sorted.flat(), ({ id }) => id),
    similarity: Float64Array.from(sorted.flat(), ({ s }) => s),
    edgeCount: edges.length,
    threshold: 0,
  };
}

const members = (cliques: readonly Clique[]) => cliques.map((clique) => [...clique.members]);

describe("greedy cliques", () => {
  // A triangle 0-1-2 with a tail 2-3, and 4 alone.
  const tail = graphOf(5, [
    [0, 1, 0.5],
    [0, 2, 0.9],
    [1, 2, 0.7],
    [2, 3, 0.8],
  ]);

  it("grows by the strongest weakest tie and keeps the asked prefixes, each member set once", () => {
    // Seed 0 takes 2, then 1 (prefix {0, 2}); seed 1 takes 2, then 0; seed 2 takes 0, then 1; seed 3 takes 2.
    expect(members(greedyCliques(tail, { cliqueSize: 8, prefixes: [2] }))).toEqual([
      [0, 2],
      [0, 1, 2],
      [1, 2],
      [2, 3],
    ]);
  });

  it("emits only the final clique without prefixes", () => {
    expect(members(greedyCliques(tail, { cliqueSize: 8, prefixes: [] }))).toEqual([
      [0, 1, 2],
      [2, 3],
    ]);
  });

  it("stops at the clique size", () => {
    expect(members(greedyCliques(tail, { cliqueSize: 2, prefixes: [] }))).toEqual([
      [0, 2],
      [1, 2],
      [2, 3],
    ]);
  });

  it("measures compactness as the mean pairwise similarity", () => {
    const found = greedyCliques(tail, { cliqueSize: 8, prefixes: [] });
    expect(found[0]!.compactness).toBeCloseTo((0.5 + 0.9 + 0.7) / 3, 12);
    expect(found[1]!.compactness).toBe(0.8);
  });

  it("finds only true cliques: every two members know each other", () => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.integer({ min: 2, max: 25 }),
        fc.double({ min: 0.1, max: 1, noNaN: true }),
        (seed, rows, density) => {
          const random = createRandom(seed, "graph");
          const edges: [number, number, number][] = [];
          for (let u = 0; u < rows; u++) {
            for (let v = u + 1; v < rows; v++) if (random.uniform() < density) edges.push([u, v, random.uniform()]);
          }
          const known = new Set(edges.map(([u, v]) => `${u}-${v}`));
          const found = greedyCliques(graphOf(rows, edges), { cliqueSize: 5, prefixes: [2, 4] });
          expect(new Set(members(found).map(String)).size).toBe(found.length);
          for (const list of members(found)) {
            expect(list.length).toBeGreaterThanOrEqual(2);
            expect(list.length).toBeLessThanOrEqual(5);
            for (const u of list) for (const v of list) if (u < v) expect(known.has(`${u}-${v}`)).toBe(true);
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe("random cliques", () => {
  it("keep the sizes, draw distinct members of the whole crowd, and follow the seed", () => {
    const real: Clique[] = [2, 5, 3].map((size) => ({
      members: Uint32Array.from({ length: size }, (_, n) => n),
      compactness: 1,
    }));
    const drawn = randomCliques(real, 100, 7);
    expect(drawn.map((clique) => new Set(clique.members).size)).toEqual([2, 5, 3]);
    expect(members(drawn)).toEqual(members(randomCliques(real, 100, 7)));
    expect(members(drawn)).not.toEqual(members(randomCliques(real, 100, 8)));
  });
});
