import { type RunOptions, TopK, yieldToEventLoop } from "@prismrec/core/base";
import type { CrowdConfig } from "./config.js";
import type { TrainingUsers } from "./training-users.js";

/** Undirected graph of users alike: row u names its neighbours in ascending order, with their similarity. */
export interface UserGraph {
  readonly indptr: Uint32Array;
  readonly neighbours: Uint32Array;
  readonly similarity: Float64Array;
  /** Undirected edges. */
  readonly edgeCount: number;
  /** The weakest edge that was kept; 0 without edges. */
  readonly threshold: number;
}

const ROWS_PER_TURN = 256;
/** Where common items propose no neighbours, this many times the wanted number are proposed, then measured exactly. */
const PROPOSALS = 4;

/**
 * Exact k nearest neighbours through an inverted index, mutual edges only, thinned to `edgesPerUser` on average. Beyond
 * `maxMeetings` the commonest items propose nobody, and two users who share only such items get no edge.
 */
export async function userGraph(users: TrainingUsers, config: CrowdConfig, run: RunOptions = {}): Promise<UserGraph> {
  const { sets } = users;
  const rows = sets.rows;
  const { weight, similarity } = similarityMeasure(users, config.similarity);
  const mostUsers = proposingLimit(users.itemUsers, config.maxMeetings);
  const postings = invert(users, mostUsers);
  const complete = users.itemUsers.every((count) => count <= mostUsers);
  const wanted = Math.min(config.neighbours, Math.max(0, rows - 1));
  const nearest = new TopK(wanted * (complete ? 1 : PROPOSALS));
  const exact = new TopK(wanted);
  const neighbourIds = new Int32Array(rows * wanted).fill(-1);
  const neighbourSimilarity = new Float64Array(rows * wanted);

  const shared = new Float64Array(rows);
  const touched = new Uint32Array(rows);
  const held = new Uint8Array(sets.cols);
  for (let u = 0; u < rows; u++) {
    if (u % ROWS_PER_TURN === 0) {
      await yieldToEventLoop(run.signal);
      run.onProgress?.({ stage: "crowd", done: u, total: rows, unit: "users" });
    }
    let count = 0;
    for (let e = sets.indptr[u]!; e < sets.indptr[u + 1]!; e++) {
      const item = sets.indices[e]!;
      held[item] = 1;
      const own = weight[item]!;
      for (let p = postings.indptr[item]!; p < postings.indptr[item + 1]!; p++) {
        const v = postings.users[p]!;
        if (shared[v] === 0) touched[count++] = v;
        shared[v]! += own;
      }
    }
    nearest.clear();
    for (let n = 0; n < count; n++) {
      const v = touched[n]!;
      if (v !== u) {
        const value = similarity(u, v, shared[v]!);
        if (value >= nearest.floor) nearest.offer(v, value);
      }
      shared[v] = 0;
    }
    let found = nearest;
    if (!complete) {
      exact.clear();
      for (const [v] of nearest.entries()) {
        let sum = 0;
        for (let e = sets.indptr[v]!; e < sets.indptr[v + 1]!; e++) {
          const item = sets.indices[e]!;
          if (held[item] === 1) sum += weight[item]!;
        }
        exact.offer(v, similarity(u, v, sum));
      }
      found = exact;
    }
    let at = u * wanted;
    for (const [v, value] of found.entries()) {
      neighbourIds[at] = v;
      neighbourSimilarity[at++] = value;
    }
    for (let e = sets.indptr[u]!; e < sets.indptr[u + 1]!; e++) held[sets.indices[e]!] = 0;
  }
  return mutualEdges(rows, wanted, neighbourIds, neighbourSimilarity, config);
}

interface SimilarityMeasure {
  /** [N + 1] what a shared item adds to the shared weight of two users. */
  readonly weight: Float64Array;
  similarity(u: number, v: number, shared: number): number;
}

function similarityMeasure({ sets, idf }: TrainingUsers, kind: CrowdConfig["similarity"]): SimilarityMeasure {
  const weight = kind === "cosine" ? idf.map((value) => value * value) : idf;
  const total = new Float64Array(sets.rows);
  for (let u = 0; u < sets.rows; u++) {
    for (let e = sets.indptr[u]!; e < sets.indptr[u + 1]!; e++) total[u]! += weight[sets.indices[e]!]!;
  }
  if (kind === "jaccard") return { weight, similarity: (u, v, shared) => shared / (total[u]! + total[v]! - shared) };
  const inverse = total.map((value) => 1 / Math.sqrt(value));
  return { weight, similarity: (u, v, shared) => shared * inverse[u]! * inverse[v]! };
}

/** The most users an item may have to propose neighbours: n users of one item meet n * n times. */
function proposingLimit(itemUsers: Uint32Array, maxMeetings: number): number {
  const counts = itemUsers.slice().sort();
  let meetings = 0;
  for (let from = 0, to = 0; from < counts.length; from = to) {
    // All items of one count together: which of them propose must not depend on their ids.
    while (to < counts.length && counts[to] === counts[from]) to++;
    meetings += (to - from) * counts[from]! ** 2;
    if (meetings > maxMeetings) return counts[from]! - 1;
  }
  return counts.at(-1) ?? 0;
}

function invert({ sets, itemUsers }: TrainingUsers, mostUsers: number) {
  const indptr = new Uint32Array(sets.cols + 1);
  for (let item = 0; item < sets.cols; item++) {
    indptr[item + 1] = indptr[item]! + (itemUsers[item]! <= mostUsers ? itemUsers[item]! : 0);
  }
  const at = indptr.slice(0, sets.cols);
  const users = new Uint32Array(indptr[sets.cols]!);
  for (let u = 0; u < sets.rows; u++) {
    for (let e = sets.indptr[u]!; e < sets.indptr[u + 1]!; e++) {
      const item = sets.indices[e]!;
      if (itemUsers[item]! <= mostUsers) users[at[item]!++] = u;
    }
  }
  return { indptr, users };
}

function mutualEdges(
  rows: number,
  wanted: number,
  ids: Int32Array,
  similarity: Float64Array,
  { edgesPerUser, minSimilarity }: CrowdConfig,
): UserGraph {
  const edges: { readonly u: number; readonly v: number; readonly s: number }[] = [];
  for (let u = 0; u < rows; u++) {
    for (let n = u * wanted; n < (u + 1) * wanted; n++) {
      const v = ids[n]!;
      if (v <= u || similarity[n]! < minSimilarity) continue;
      if (ids.subarray(v * wanted, (v + 1) * wanted).includes(u)) edges.push({ u, v, s: similarity[n]! });
    }
  }
  edges.sort((a, b) => b.s - a.s || a.u - b.u || a.v - b.v);
  const kept = edges.slice(0, Math.ceil((edgesPerUser * rows) / 2));
  const indptr = new Uint32Array(rows + 1);
  for (const { u, v } of kept) {
    indptr[u + 1]!++;
    indptr[v + 1]!++;
  }
  for (let u = 0; u < rows; u++) indptr[u + 1]! += indptr[u]!;
  const at = indptr.slice(0, rows);
  const graph = {
    indptr,
    neighbours: new Uint32Array(2 * kept.length),
    similarity: new Float64Array(2 * kept.length),
    edgeCount: kept.length,
    threshold: kept.at(-1)?.s ?? 0,
  };
  // First by the smaller end, then by the larger: every row fills in ascending order.
  const add = (u: number, v: number, s: number) => {
    graph.neighbours[at[u]!] = v;
    graph.similarity[at[u]!++] = s;
  };
  for (const { u, v, s } of kept.toSorted((a, b) => a.u - b.u || a.v - b.v)) add(v, u, s);
  for (const { u, v, s } of kept.toSorted((a, b) => a.v - b.v || a.u - b.u)) add(u, v, s);
  return graph;
}
