import type { Model } from "../models/model.js";

/** Most recent distinct items of a history that are asked what they gave. */
const MOST_ASKED = 100;

/**
 * Whether a model's lists depend on the history at all: by the contract of `Model`, one that reads histories has nothing to
 * say to an empty one.
 */
export async function readsHistories(model: Model): Promise<boolean> {
  const { counts } = await model.rank([{ items: new Uint32Array(0) }], { k: 1 });
  return counts[0] === 0;
}

/**
 * The items of a history that gave each listed item most of its score, strongest first, later ones first among equals:
 * what the model scores it for who took that one item alone. Where a score is the sum of its items' rows, as for EASE and
 * item-knn, these are its very summands.
 *
 * @param listed dense ids, distinct
 * @returns for each listed item at most `most` dense ids, none that gave nothing or took away
 */
export async function strongestEvents(
  model: Model,
  history: Uint32Array,
  listed: Uint32Array,
  most: number,
  signal?: AbortSignal,
): Promise<number[][]> {
  if (listed.length === 0) return [];
  const filter = new Uint32Array(Math.ceil(model.itemCount / 32));
  for (const id of listed) filter[(id - 1) >> 5]! |= 1 << ((id - 1) & 31);
  const recent = [...new Set([...history].reverse())].slice(0, MOST_ASKED);
  const { k, ids, scores, counts } = await model.rank(
    recent.map((item) => ({ items: Uint32Array.of(item) })),
    { k: listed.length, excludeHistory: false, filter, ...(signal === undefined ? {} : { signal }) },
  );
  const given = new Map(Array.from(listed, (id): [number, { item: number; score: number }[]] => [id, []]));
  for (const [row, item] of recent.entries()) {
    for (let at = row * k; at < row * k + counts[row]!; at++) {
      if (scores[at]! > 0) given.get(ids[at]!)!.push({ item, score: scores[at]! });
    }
  }
  return Array.from(listed, (id) =>
    given
      .get(id)!
      .sort((a, b) => b.score - a.score)
      .slice(0, most)
      .map(({ item }) => item),
  );
}
