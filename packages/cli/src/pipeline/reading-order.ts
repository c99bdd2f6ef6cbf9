import type { Dataset } from "@prismrec/core/data";
import { type CrowdConfigInput, synthesizeCrowd } from "@prismrec/trainer";
import type { StageContext } from "./stage.js";

/**
 * Dense ids of a catalog's items in the order in which they are worth reading: items that the crowd is split by and items that
 * few know take turns, the crowd's most frequent and the rarest first.
 *
 * @param popularity [N + 1] events of each item in training
 * @param crowd items of the synthesized users, one after the other
 */
export function readingOrder(popularity: Uint32Array, crowd: Uint32Array): number[] {
  const frequency = new Uint32Array(popularity.length);
  for (const item of crowd) frequency[item]!++;
  const ids = Array.from({ length: popularity.length - 1 }, (_, i) => i + 1);
  const rare = ids.toSorted((a, b) => popularity[a]! - popularity[b]! || a - b);
  const inCrowd = ids.filter((id) => frequency[id]! > 0).sort((a, b) => frequency[b]! - frequency[a]! || a - b);
  // A set keeps the order in which its members came.
  return [...new Set(rare.flatMap((id, turn) => (turn < inCrowd.length ? [inCrowd[turn]!, id] : [id])))];
}

/** `readingOrder` for a run: its crowd is made for it where it has one. */
export async function readingOrderOf(
  dataset: Dataset,
  crowd: { readonly enabled: boolean } & CrowdConfigInput,
  seed: number,
  options: StageContext["options"],
): Promise<number[]> {
  const { enabled, ...config } = crowd;
  const items = enabled ? (await synthesizeCrowd(dataset, { seed, ...config }, options)).items : new Uint32Array();
  return readingOrder(dataset.catalog.popularity, items);
}
