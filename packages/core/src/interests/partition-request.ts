import { hashJson } from "../base/hash.js";
import type { PartitionRequest } from "./types.js";

/**
 * The request to split these items, keyed by what it asks: the items in their order and the number of clusters. Whoever
 * asks the same gets the same answer, and two prefixes of one user's history are two requests.
 *
 * @param items dense ids, oldest first, no duplicates
 */
export function partitionRequest(items: Uint32Array, maxClusters: number): PartitionRequest {
  return { key: hashJson([maxClusters, ...items]), items, maxClusters };
}
