import { createRandom } from "@prismrec/core/base";
import { describe, expect, it } from "vitest";
import { handMade } from "../testing/hand-made.js";
import { crowdConfigSchema } from "./config.js";
import { type TrainingUsers, trainingUsers } from "./training-users.js";
import { type UserGraph, userGraph } from "./user-graph.js";

const defaults = crowdConfigSchema.parse({});

function edgesOf({ indptr, neighbours, similarity }: UserGraph): Map<string, number> {
  const edges = new Map<string, number>();
  for (let u = 0; u + 1 < indptr.length; u++) {
    for (let n = indptr[u]!; n < indptr[u + 1]!; n++) edges.set(`${u}-${neighbours[n]}`, similarity[n]!);
  }
  return edges;
}

/** Cosine of IDF-weighted item vectors, straight from the definition. */
function cosine({ sets, idf }: TrainingUsers, u: number, v: number): number {
  const items = (row: number) => [...sets.indices.subarray(sets.indptr[row]!, sets.indptr[row + 1]!)];
  const norm = (row: number) => Math.sqrt(items(row).reduce((sum, item) => sum + idf[item]! ** 2, 0));
  const shared = items(u).filter((item) => items(v).includes(item));
  return shared.reduce((sum, item) => sum + idf[item]! ** 2, 0) / (norm(u) * norm(v));
}

function randomHistories(seed: number, users: number, items: number): number[][] {
  const random = createRandom(seed, "histories");
  return Array.from({ length: users }, () =>
    Array.from({ length: random.integer(3, 12) }, () => 1 + Math.floor(items * random.uniform() ** 2)),
  );
}

describe("the graph of users alike", () => {
  it("ties users by their IDF-weighted cosine", async () => {
    // Items 1 and 2 are held by users 0 and 1 alone; 3 by users 0, 1 and 2; users 3 and 4 share 4 with nobody else.
    const users = trainingUsers(
      handMade([
        [1, 2, 3],
        [1, 2, 3],
        [3, 5],
        [4, 6],
        [4, 7],
      ]),
    );
    const edges = edgesOf(await userGraph(users, defaults));
    expect([...edges.keys()].sort()).toEqual(["0-1", "0-2", "1-0", "1-2", "2-0", "2-1", "3-4", "4-3"]);
    expect(edges.get("0-1")).toBeCloseTo(1, 12);
    expect(edges.get("0-2")).toBeCloseTo(cosine(users, 0, 2), 12);
    expect(edges.get("4-3")).toBeCloseTo(cosine(users, 3, 4), 12);
  });

  it("measures Jaccard as the shared weight over the weight of the union", async () => {
    const users = trainingUsers(handMade([[1, 2], [1, 3], [4], [5]]));
    const edges = edgesOf(await userGraph(users, { ...defaults, similarity: "jaccard" }));
    expect(edges.get("0-1")).toBeCloseTo(Math.log(2) / (Math.log(2) + 2 * Math.log(4)), 12);
  });

  it("keeps an edge only where both users are among each other's nearest", async () => {
    const users = trainingUsers(handMade(randomHistories(1, 60, 40)));
    const config = { ...defaults, neighbours: 3, edgesPerUser: 1000, minSimilarity: 0 };
    const nearest = Array.from({ length: 60 }, (_, u) =>
      Array.from({ length: 60 }, (_, v) => v)
        .filter((v) => v !== u && cosine(users, u, v) > 0)
        .sort((a, b) => cosine(users, u, b) - cosine(users, u, a) || a - b)
        .slice(0, 3),
    );
    const expected = nearest.flatMap((list, u) => list.filter((v) => nearest[v]!.includes(u)).map((v) => `${u}-${v}`));
    expect([...edgesOf(await userGraph(users, config)).keys()].sort()).toEqual(expected.sort());
  });

  it("drops the weakest edges until the wanted number per user is left", async () => {
    const users = trainingUsers(handMade(randomHistories(2, 100, 60)));
    const all = await userGraph(users, { ...defaults, edgesPerUser: 1000 });
    const thin = await userGraph(users, { ...defaults, edgesPerUser: 2 });
    expect(thin.edgeCount).toBe(100);
    expect(all.edgeCount).toBeGreaterThan(100);
    const dropped = [...edgesOf(all)].filter(([edge]) => !edgesOf(thin).has(edge));
    for (const [, similarity] of dropped) expect(similarity).toBeLessThanOrEqual(thin.threshold);
  });

  it("measures similarity in full where common items propose nobody", async () => {
    const users = trainingUsers(handMade(randomHistories(3, 80, 50)));
    const edges = edgesOf(await userGraph(users, { ...defaults, maxMeetings: 600 }));
    expect(edges.size).toBeGreaterThan(0);
    expect(edges.size).toBeLessThan(edgesOf(await userGraph(users, defaults)).size);
    for (const [edge, similarity] of edges) {
      const [u, v] = edge.split("-").map(Number);
      expect(similarity).toBeCloseTo(cosine(users, u!, v!), 12);
    }
  });

  it("lists neighbours in ascending order and both ways", async () => {
    const graph = await userGraph(trainingUsers(handMade(randomHistories(4, 80, 50))), defaults);
    const edges = edgesOf(graph);
    for (let u = 0; u < 80; u++) {
      const row = [...graph.neighbours.subarray(graph.indptr[u]!, graph.indptr[u + 1]!)];
      expect(row).toEqual(row.toSorted((a, b) => a - b));
      for (const v of row) expect(edges.get(`${v}-${u}`)).toBe(edges.get(`${u}-${v}`));
    }
  });

  it("has no edges for nobody or for one user", async () => {
    expect((await userGraph(trainingUsers(handMade([])), defaults)).edgeCount).toBe(0);
    expect((await userGraph(trainingUsers(handMade([[1, 2]])), defaults)).edgeCount).toBe(0);
  });

  it("rejects with the signal's own reason", async () => {
    const reason = new Error("enough");
    const users = trainingUsers(handMade([[1], [1]]));
    await expect(userGraph(users, defaults, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});
