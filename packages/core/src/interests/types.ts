import type { RunOptions } from "../base/run-options.js";

/** A request to split one (real or synthesized) user's items into semantic interests. */
export interface PartitionRequest {
  /** What is drawn for the answer is drawn by it. `partitionRequest` makes one of the content. */
  readonly key: string;
  /** Dense item ids, oldest first, no duplicates. */
  readonly items: Uint32Array;
  readonly maxClusters: number;
}

/** A partition by construction: every item of the request has exactly one cluster. */
export interface Partition {
  readonly key: string;
  /** [items] cluster of each item, 0..labels.length - 1, clusters numbered by first appearance. */
  readonly assign: Int16Array;
  /** [clusters] short texts for people; untrusted (a language model may have written them). */
  readonly labels: readonly string[];
}

/** Splits item lists into semantic interests; implementations live in @prismrec/llm. */
export interface Clusterer {
  /** Its name, or those of its members: `facets`, `kinds+title-words`. */
  readonly name: string;
  /** Content hash of all that decides the output: model file, prompt version, facets, item texts, parameters. */
  readonly fingerprint: string;
  /** Longest request it answers; absent: any. */
  readonly maxItems?: number;
  partition(requests: readonly PartitionRequest[], options?: RunOptions): Promise<Partition[]>;
}

/**
 * Semantic clusters aligned with a list of sequences: row r holds `assign[indptr[r] .. indptr[r + 1])`, one value per
 * visible event of that row (-1: none), and `labels[r]` names its clusters.
 */
export interface PartitionTable {
  readonly clusterer: string;
  readonly fingerprint: string;
  readonly indptr: Uint32Array;
  readonly assign: Int16Array;
  readonly labels: readonly (readonly string[])[];
}
