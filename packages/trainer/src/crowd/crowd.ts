import { createRandom, hashJson, PrismrecError, type RunOptions, sha256, yieldToEventLoop } from "@prismrec/core/base";
import type { Catalog, CrowdSet, Dataset, Item } from "@prismrec/core/data";
import { type Partition, type PartitionRequest, partitionRequest } from "@prismrec/core/interests";
import { maxCover } from "@prismrec/core/ops";
import { z } from "zod";
import { type Clique, greedyCliques, randomCliques } from "./cliques.js";
import { type CrowdConfig, type CrowdConfigInput, crowdConfigSchema } from "./config.js";
import { type MergedBehaviour, synthesize } from "./synthesize.js";
import { trainingUsers } from "./training-users.js";
import { type CoverUniverse, coverUniverse } from "./universe.js";
import { userGraph } from "./user-graph.js";

const CLIQUES_PER_TURN = 1024;

/** Most semantic clusters of a synthesized user. */
export const CROWD_MAX_CLUSTERS = 16;

/** Synthesized users in the order of selection, before anyone has split their items into interests. */
export interface SynthesizedCrowd {
  readonly fingerprint: string;
  readonly config: CrowdConfig;
  /** [Q + 1]; synthesized user s holds `items[indptr[s] .. indptr[s + 1])`. */
  readonly indptr: Uint32Array;
  /** Dense item ids, oldest first by the latest event among the members. */
  readonly items: Uint32Array;
  /** Aligned with `items`: members that hold the item, times its inverse document frequency. */
  readonly weights: Float32Array;
  /** [Q] log user indexes of the members, ascending; training users only. */
  readonly members: readonly Uint32Array[];
  /** [Q] mean pairwise similarity of the members. */
  readonly compactness: Float32Array;
  /** [Q] what each one added to the covered weight. */
  readonly gains: Float64Array;
  /** [Q] covered share of all that the candidates could cover, after each one. */
  readonly coverage: Float64Array;
  /** No selection of the same budget covers a larger share. */
  readonly coverageBound: number;
  /** Cliques that stood for selection, and the graph they come from. */
  readonly candidates: number;
  readonly edges: number;
  readonly similarityThreshold: number;
}

/**
 * Cliques of similar training users, merged into synthesized users, of which max cover selects a compact and
 * representative few. Reads training users' visible events only. A data set without similar users gives an empty crowd.
 *
 * @throws PrismrecError CONFIG_INVALID; an aborted signal rejects with its reason
 */
export async function synthesizeCrowd(
  dataset: Dataset,
  config: CrowdConfigInput = {},
  run: RunOptions = {},
): Promise<SynthesizedCrowd> {
  const parsed = parseConfig(config);
  const users = trainingUsers(dataset);
  const graph = await userGraph(users, parsed, run);
  const similar = greedyCliques(graph, parsed);
  const cliques = parsed.cliques === "random" ? randomCliques(similar, users.users.length, parsed.seed) : similar;
  const behaviours: MergedBehaviour[] = [];
  for (const clique of cliques) {
    if (behaviours.length % CLIQUES_PER_TURN === 0) await yieldToEventLoop(run.signal);
    behaviours.push(synthesize(users, clique, parsed.maxItems));
  }
  const selection = await select(dataset.catalog, coverUniverse(parsed.universe, users, cliques, behaviours), {
    cliques,
    behaviours,
    config: parsed,
    userCount: users.users.length,
    run,
  });
  const chosen = Array.from(selection.selected, (s) => ({ clique: cliques[s]!, behaviour: behaviours[s]! }));
  const indptr = new Uint32Array(chosen.length + 1);
  chosen.forEach(({ behaviour }, s) => {
    indptr[s + 1] = indptr[s]! + behaviour.items.length;
  });
  let covered = 0;
  return {
    fingerprint: hashJson({
      version: 1,
      dataset: dataset.fingerprint,
      users: sha256(bytesOf(dataset.split.train.users)),
      ends: sha256(bytesOf(dataset.split.train.ends)),
      config: parsed,
    }),
    config: parsed,
    indptr,
    items: Uint32Array.from(chosen.flatMap(({ behaviour }) => [...behaviour.items])),
    weights: Float32Array.from(chosen.flatMap(({ behaviour }) => [...behaviour.weights])),
    members: chosen.map(({ clique }) => clique.members.map((row) => users.users[row]!).sort()),
    compactness: Float32Array.from(chosen, ({ clique }) => clique.compactness),
    gains: selection.gains,
    coverage: selection.gains.map((gain) => {
      covered += gain;
      return selection.attainable === 0 ? 1 : covered / selection.attainable;
    }),
    coverageBound: selection.attainable === 0 ? 1 : selection.upperBound / selection.attainable,
    candidates: cliques.length,
    edges: graph.edgeCount,
    similarityThreshold: graph.threshold,
  };
}

/** What a clusterer is asked about a crowd, clustered before or not: one request per synthesized user. */
export function crowdRequests(
  crowd: Pick<CrowdSet, "members" | "items" | "indptr">,
  maxClusters = CROWD_MAX_CLUSTERS,
): PartitionRequest[] {
  return crowd.members.map((_, s) =>
    partitionRequest(crowd.items.subarray(crowd.indptr[s]!, crowd.indptr[s + 1]!), maxClusters),
  );
}

/**
 * A crowd with the clusters of its users, `partitions[s]` answering `crowdRequests(crowd)[s]`.
 *
 * @throws PrismrecError SHAPE_MISMATCH where a partition is missing or of another length
 */
export function crowdSet(crowd: SynthesizedCrowd, partitions: readonly Partition[]): CrowdSet {
  if (partitions.length !== crowd.members.length) {
    throw new PrismrecError("SHAPE_MISMATCH", "every synthesized user needs one partition", {
      expected: String(crowd.members.length),
      received: String(partitions.length),
    });
  }
  const clusters = new Int16Array(crowd.items.length);
  partitions.forEach((partition, s) => {
    const [from, to] = [crowd.indptr[s]!, crowd.indptr[s + 1]!];
    if (partition.assign.length !== to - from) {
      throw new PrismrecError("SHAPE_MISMATCH", `the partition of synthesized user ${s} has the wrong length`, {
        expected: String(to - from),
        received: String(partition.assign.length),
      });
    }
    clusters.set(partition.assign, from);
  });
  const labels = partitions.map((partition) => partition.labels);
  return {
    fingerprint: hashJson({ crowd: crowd.fingerprint, clusters: sha256(bytesOf(clusters)), labels }),
    indptr: crowd.indptr,
    items: crowd.items,
    clusters,
    labels,
    members: crowd.members,
  };
}

interface Candidates {
  readonly cliques: readonly Clique[];
  readonly behaviours: readonly MergedBehaviour[];
  readonly config: CrowdConfig;
  readonly userCount: number;
  readonly run: RunOptions;
}

interface Selection {
  readonly selected: Uint32Array;
  readonly gains: Float64Array;
  readonly attainable: number;
  readonly upperBound: number;
}

async function select(
  catalog: Catalog,
  universe: CoverUniverse,
  { cliques, behaviours, config, userCount, run }: Candidates,
): Promise<Selection> {
  const maxSets = Math.min(Math.ceil(config.share * userCount), config.maxUsers, cliques.length);
  const costs =
    config.maxTokens === undefined ? undefined : Float32Array.from(behaviours, ({ items }) => tokens(catalog, items));
  const found = await maxCover(
    { ...universe, ...(costs === undefined ? {} : { costs }) },
    {
      maxSets,
      repeats: config.repeats,
      minGain: config.minGain,
      solver: config.solver,
      seed: config.seed,
      ...(config.maxTokens === undefined ? {} : { maxCost: config.maxTokens }),
    },
    run,
  );
  if (config.cover === "greedy") return found;
  const order = createRandom(config.seed, "random-cover").shuffle(Uint32Array.from(cliques, (_, s) => s));
  const selected: number[] = [];
  let cost = 0;
  for (const s of order) {
    if (selected.length === maxSets) break;
    if (cost + (costs?.[s] ?? 0) > (config.maxTokens ?? Number.POSITIVE_INFINITY)) continue;
    cost += costs?.[s] ?? 0;
    selected.push(s);
  }
  return { ...found, selected: Uint32Array.from(selected), gains: gainsInOrder(universe, selected, config.repeats) };
}

/** What each of the given sets adds to those before it. */
function gainsInOrder({ sets, weights }: CoverUniverse, order: readonly number[], repeats: number): Float64Array {
  const left = new Uint16Array(sets.cols).fill(repeats);
  return Float64Array.from(order, (s) => {
    let gain = 0;
    for (let e = sets.indptr[s]!; e < sets.indptr[s + 1]!; e++) {
      const element = sets.indices[e]!;
      if (left[element] === 0) continue;
      left[element]!--;
      gain += weights[element]!;
    }
    return gain;
  });
}

/** About four characters make a token; an item's number and line end make two more. */
function tokens(catalog: Catalog, items: Uint32Array): number {
  const lengthOf = ({ title, categories }: Item) => title.length + categories.join(", ").length;
  return items.reduce((sum, item) => sum + Math.ceil(lengthOf(catalog.items[item]!) / 4) + 2, 0);
}

function parseConfig(config: CrowdConfigInput): CrowdConfig {
  const parsed = crowdConfigSchema.safeParse(config);
  if (parsed.success) return parsed.data;
  throw new PrismrecError("CONFIG_INVALID", "the crowd settings are not valid", {
    expected: "the keys and ranges of the crowd section",
    received: z.prettifyError(parsed.error),
    cause: parsed.error,
  });
}

function bytesOf({ buffer, byteOffset, byteLength }: Uint32Array | Int16Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
