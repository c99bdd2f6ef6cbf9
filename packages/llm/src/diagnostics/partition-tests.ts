import { createRandom } from "@prismrec/core/base";
import { adjustedRandIndex, byFirstAppearance, type Mean, meanOf, sizeEntropy } from "@prismrec/core/interests";

/** One history partitioned twice: with its items in one order, and in another. Clusters are aligned with `order`. */
export interface TwicePartitioned {
  /** Clusters in the order in which the items were first shown. */
  readonly first: ArrayLike<number>;
  /** Clusters of the second showing, in the order of the first. */
  readonly second: ArrayLike<number>;
}

export interface PartitionTestLimits {
  /** Least mean adjusted Rand index between the two orders (default .3). */
  readonly stability?: number;
  /** Most clusters of one item, as a share of all items (default .6). */
  readonly singletons?: number;
  /** Least mean entropy of the sizes over ln(items) (default .05): below it everything is one cluster. */
  readonly entropy?: number;
}

export interface PartitionTests {
  readonly users: number;
  readonly stability: Mean;
  /** Nats that an item's place tells about its cluster, and the 99th percentile of that over permutations. */
  readonly positionInformation: number;
  readonly positionLimit: number;
  /** Mean over users of the entropy of the cluster sizes over ln(items). */
  readonly entropy: number;
  /** Share of items that are alone in their cluster. */
  readonly singletons: number;
  readonly passed: boolean;
  /** What failed, in words with figures. */
  readonly failures: readonly string[];
}

const PERMUTATIONS = 500;
/** Of a hundred models that read the items, one is refused for what its groups' places look like by chance. */
const PERCENTILE = 0.99;

/** Mutual information of place and cluster over all histories; places beyond the common ones share a bucket. */
function positionInformation(histories: readonly ArrayLike<number>[]): number {
  const counts = new Map<number, Map<number, number>>();
  const clusters = new Map<number, number>();
  let total = 0;
  for (const history of histories) {
    for (let place = 0; place < history.length; place++) {
      const bucket = Math.min(place, 19);
      const cluster = history[place]!;
      const row = counts.get(bucket) ?? new Map<number, number>();
      row.set(cluster, (row.get(cluster) ?? 0) + 1);
      counts.set(bucket, row);
      clusters.set(cluster, (clusters.get(cluster) ?? 0) + 1);
      total++;
    }
  }
  let information = 0;
  for (const row of counts.values()) {
    const inRow = [...row.values()].reduce((sum, n) => sum + n, 0);
    for (const [cluster, n] of row)
      information += (n / total) * Math.log((n * total) / (inRow * clusters.get(cluster)!));
  }
  return information;
}

/**
 * Whether partitions mean something: they must survive another order of the same items, must not follow the items'
 * places, and must be neither one cluster nor all singletons. Clusters are renumbered by first appearance, in the data
 * and in its permutations alike, so that naming the first item's cluster first is not held against a model.
 */
export function testPartitions(
  histories: readonly TwicePartitioned[],
  limits: PartitionTestLimits = {},
): PartitionTests {
  const { stability: leastStability = 0.3, singletons: mostSingletons = 0.6, entropy: leastEntropy = 0.05 } = limits;
  const stability = meanOf(histories.map(({ first, second }) => adjustedRandIndex(first, second)));
  const shown = histories.map(({ first }) => byFirstAppearance(first).assign);
  const observed = positionInformation(shown);
  const random = createRandom(1, "position-information");
  const permuted = Array.from({ length: PERMUTATIONS }, () =>
    positionInformation(shown.map((clusters) => byFirstAppearance(random.shuffle(Int16Array.from(clusters))).assign)),
  ).sort((a, b) => a - b);
  const limit = permuted[Math.floor(PERCENTILE * PERMUTATIONS)]!;
  let alone = 0;
  let items = 0;
  const entropies: number[] = [];
  for (const clusters of shown) {
    const sizes = new Map<number, number>();
    for (const c of clusters) sizes.set(c, (sizes.get(c) ?? 0) + 1);
    for (const size of sizes.values()) if (size === 1) alone++;
    items += clusters.length;
    if (clusters.length > 1) entropies.push(sizeEntropy(clusters) / Math.log(clusters.length));
  }
  const entropy = meanOf(entropies).mean;
  const singletons = items === 0 ? 0 : alone / items;
  const failures: string[] = [];
  if (stability.mean < leastStability) {
    failures.push(
      `another order of the same items gives another partition (mean adjusted Rand index ${stability.mean.toFixed(2)}, at least ${leastStability} is needed)`,
    );
  }
  if (observed > limit) {
    failures.push(
      `the groups follow the items' places (${observed.toFixed(3)} nats, ${limit.toFixed(3)} by chance at most)`,
    );
  }
  if (entropy < leastEntropy) failures.push(`nearly everything is one group (relative entropy ${entropy.toFixed(3)})`);
  if (singletons > mostSingletons) {
    failures.push(`${Math.round(100 * singletons)} % of the items are groups of their own`);
  }
  return {
    users: histories.length,
    stability,
    positionInformation: observed,
    positionLimit: limit,
    entropy,
    singletons,
    passed: failures.length === 0,
    failures,
  };
}
