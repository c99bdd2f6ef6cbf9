import { createHash } from "node:crypto";
import { createRandom } from "../base/random.js";
import type { RunOptions } from "../base/run-options.js";
import { byFirstAppearance } from "./numbering.js";
import { partitionEach } from "./partition-each.js";
import { type ClustererState, isPortable, type PortableClusterer } from "./portable.js";
import type { Clusterer, Partition, PartitionRequest } from "./types.js";

/** The floor: between 1 and maxClusters clusters of items drawn at random; the same key and items give the same answer. */
export class RandomClusterer implements PortableClusterer {
  readonly name = "random";
  readonly fingerprint: string;
  readonly #seed: number;

  constructor(seed: number) {
    this.#seed = seed;
    this.fingerprint = createHash("sha256").update(`random-1:${seed}`).digest("hex");
  }

  partition(requests: readonly PartitionRequest[], options: RunOptions = {}): Promise<Partition[]> {
    return partitionEach(requests, options, ({ key, items, maxClusters }) => {
      const random = createRandom(this.#seed, `random-clusterer:${key}`);
      const clusters = random.integer(1, Math.min(maxClusters, Math.max(1, items.length)) + 1);
      const { assign, order } = byFirstAppearance(Array.from(items, () => random.integer(0, clusters)));
      return { key, assign, labels: order.map((_, c) => `group ${c + 1}`) };
    });
  }

  state(): ClustererState {
    return { kind: "random", seed: this.#seed };
  }
}

/**
 * The negative control of any clusterer: the same number and sizes of clusters in every history, the members permuted
 * inside the history (drawn by the request's key). What still helps with it is not the clusterer's doing.
 */
export class ShuffledClusterer implements Clusterer {
  readonly name = "shuffled";
  readonly fingerprint: string;
  readonly inner: Clusterer;
  readonly maxItems?: number;
  /** Present where what is shuffled can be kept (`isPortable`). */
  readonly state: (() => ClustererState) | undefined;
  readonly #seed: number;

  constructor(inner: Clusterer, seed: number) {
    this.inner = inner;
    if (inner.maxItems !== undefined) this.maxItems = inner.maxItems;
    this.#seed = seed;
    this.state = isPortable(inner) ? () => ({ kind: "shuffled", seed, inner: inner.state() }) : undefined;
    this.fingerprint = createHash("sha256").update(`shuffled-1:${seed}:${inner.fingerprint}`).digest("hex");
  }

  async partition(requests: readonly PartitionRequest[], options: RunOptions = {}): Promise<Partition[]> {
    const partitions = await this.inner.partition(requests, options);
    return partitions.map(({ key, assign, labels }) => {
      const shuffled = Int16Array.from(assign);
      createRandom(this.#seed, `shuffled-clusterer:${key}`).shuffle(shuffled);
      const numbered = byFirstAppearance(shuffled);
      return { key, assign: numbered.assign, labels: numbered.order.map((c) => labels[c]!) };
    });
  }
}
