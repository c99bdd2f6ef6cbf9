import { createRandom } from "@prismrec/core/base";
import type { PartitionRequest } from "@prismrec/core/interests";

/** Items of one group in one history. */
const OF_A_GROUP = 3;

/** Histories of two or three groups, three items of each, in random order; the same for the same count. */
export function plantedUsers(count: number, truth: Int16Array): PartitionRequest[] {
  const random = createRandom(1, "probe-users");
  const groups = Array.from({ length: Math.max(...truth) + 1 }, (_, group) => group);
  return Array.from({ length: count }, (_, u) => {
    const own = random.shuffle([...groups]).slice(0, random.integer(2, 4));
    const items = own.flatMap((group) =>
      random.shuffle(Array.from(truth.keys()).filter((id) => truth[id] === group)).slice(0, OF_A_GROUP),
    );
    return { key: `probe:${u}`, items: Uint32Array.from(random.shuffle(items)), maxClusters: 8 };
  });
}
