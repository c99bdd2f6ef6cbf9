import {
  type Clusterer,
  isMultiInterest,
  type Model,
  type MultiInterestModel,
  type Partition,
  PrismrecError,
  type RunOptions,
  userItems,
} from "@prismrec/core";
import { suggest } from "../suggest.js";
import type { Imported } from "./import.js";

export interface RecommendedItem {
  readonly id: string;
  readonly title: string;
  readonly score: number;
  /** Index of the interest behind it. */
  readonly interest: number;
}

export interface UserInterest {
  readonly index: number;
  readonly labels: readonly string[];
  /** Weight among the user's interests; all shares sum to 1. */
  readonly share: number;
}

/** What `recommend --json` prints. */
export interface Recommendations {
  readonly user: string;
  readonly items: readonly RecommendedItem[];
  readonly interests: readonly UserInterest[];
}

/** A recommendation with the history behind each interest, for the report. */
export interface ExplainedRecommendations extends Recommendations {
  /** Dense ids of the history's items that belong most to each interest, by interest index. */
  readonly because: ReadonlyMap<number, readonly number[]>;
}

export interface Serving {
  readonly imported: Imported;
  readonly model: Model;
  /** undefined: the run has no semantic side. */
  readonly clusterer: Clusterer | undefined;
  readonly maxClusters: number;
}

/** The whole history of a user by external id. Throws UNKNOWN_USER with the nearest id there is. */
export function historyOf({ dataset }: Imported, user: string): Uint32Array {
  const { log } = dataset;
  const index = log.indexOf(user);
  if (index !== undefined) return userItems(log, index);
  const near = log.userIds.length <= 200_000 ? suggest(user, log.userIds) : undefined;
  throw new PrismrecError("UNKNOWN_USER", `there is no user ${user} in this run`, {
    expected: `one of ${log.userIds.length} users, such as ${log.userIds.slice(0, 3).join(", ")}`,
    received: user,
    hint:
      near === undefined
        ? "A user with too few events is left out by the import; --items recommends to any list of items."
        : `Did you mean ${near}?`,
  });
}

/** Reads a history, names its interests and recommends what it does not hold. */
export async function recommendTo(
  serving: Serving,
  user: string,
  history: Uint32Array,
  k: number,
  run: RunOptions,
): Promise<ExplainedRecommendations> {
  const { imported, model, clusterer, maxClusters } = serving;
  const { catalog } = imported.dataset;
  const partition = clusterer === undefined ? undefined : await partitionOf(clusterer, user, history, maxClusters, run);
  const reading = partition === undefined ? { items: history } : { items: history, clusters: partition.clusters };
  const ranking = await model.rank([reading], { k: Math.min(k, catalog.size), ...run });
  const items = Array.from({ length: ranking.counts[0]! }, (_, place) => {
    const item = catalog.items[ranking.ids[place]!]!;
    return { id: item.id, title: item.title, score: ranking.scores[place]!, interest: ranking.interests?.[place] ?? 0 };
  });
  if (!isMultiInterest(model)) return { user, items, interests: [], because: new Map() };
  return { user, items, ...explain(model, reading, partition?.labels ?? [], catalog.items) };
}

async function partitionOf(
  clusterer: Clusterer,
  user: string,
  history: Uint32Array,
  maxClusters: number,
  run: RunOptions,
): Promise<{ readonly clusters: Int16Array; readonly labels: Partition["labels"] }> {
  // The last event of a repeated item is the one that counts, as when the run was clustered.
  const unique = Uint32Array.from([...new Set([...history].reverse())].reverse());
  const [partition] = await clusterer.partition([{ key: `user:${user}`, items: unique, maxClusters }], run);
  if (partition === undefined) {
    throw new PrismrecError("LLM_OUTPUT_INVALID", `the clusterer ${clusterer.name} did not answer for ${user}`);
  }
  const clusterOf = new Map(Array.from(unique, (item, i) => [item, partition.assign[i]!]));
  return { clusters: Int16Array.from(history, (item) => clusterOf.get(item) ?? -1), labels: partition.labels };
}

const MOST_BECAUSE = 4;

/**
 * Present interests with share and labels. A semantic interest has its cluster's label. A collaborative one, which
 * nobody named, is described by the items of the history that it attends to most.
 */
function explain(
  model: MultiInterestModel,
  history: { readonly items: Uint32Array; readonly clusters?: Int16Array },
  labels: readonly string[],
  catalog: readonly { readonly title: string; readonly id: string }[],
): Pick<ExplainedRecommendations, "interests" | "because"> {
  const batch = model.interests([history]);
  const rows = Array.from({ length: batch.count }, (_, row) => row).filter((row) => batch.offsets[row]! > -Infinity);
  const mass = rows.map((row) => Math.exp(batch.offsets[row]!));
  const total = mass.reduce((sum, value) => sum + value, 0);
  const read = history.items.subarray(Math.max(0, history.items.length - model.maxHistory));
  const length = batch.attention === undefined ? 0 : batch.attention.length / batch.count;
  const because = new Map<number, readonly number[]>();
  const interests = rows.map((row, place): UserInterest => {
    const weights = attentionTo(batch.attention, row, length, read.length);
    const order = Array.from(weights.keys()).sort((a, b) => weights[b]! - weights[a]! || b - a);
    const strongest = [...new Set(order.map((t) => read[t]!))].slice(0, MOST_BECAUSE);
    because.set(row, strongest);
    const label = labels[batch.clusters[row]!];
    const titles = strongest.slice(0, 2).map((item) => catalog[item]!.title || catalog[item]!.id);
    return {
      index: row,
      labels: label === undefined ? titles.map((title) => `like ${title}`) : [label],
      share: mass[place]! / total,
    };
  });
  interests.sort((a, b) => b.share - a.share || a.index - b.index);
  return { interests, because };
}

/** Weight of each read event, oldest first; equal where the model does not say. */
function attentionTo(attention: Float32Array | undefined, row: number, length: number, events: number): Float32Array {
  if (attention === undefined) return new Float32Array(events).fill(1 / Math.max(1, events));
  return attention.slice(row * length, row * length + events);
}
