import { createRandom } from "../base/random.js";

/** Items that a user's scores are measured over, so that two models' scores can be added. */
const MEASURED_ITEMS = 1024;

/**
 * Places (dense id - 1) of the items that the spread of scores is measured over, ascending: drawn once for a catalog of
 * that size, all of a small one.
 */
export function measuredItems(itemCount: number): Uint32Array {
  const places = Uint32Array.from({ length: itemCount }, (_, place) => place);
  if (itemCount <= MEASURED_ITEMS) return places;
  const random = createRandom(1, "measured-items");
  for (let i = 0; i < MEASURED_ITEMS; i++) {
    const j = random.integer(i, itemCount);
    [places[i], places[j]] = [places[j]!, places[i]!];
  }
  return places.slice(0, MEASURED_ITEMS).sort();
}

export interface Spread {
  readonly mean: number;
  /** Standard deviation, of the population. */
  readonly deviation: number;
}

/** Mean and standard deviation of the scores at `places`, or of all of them. */
export function spreadOf(scores: ArrayLike<number>, places?: Uint32Array): Spread {
  const count = places?.length ?? scores.length;
  const at = (n: number): number => scores[places === undefined ? n : places[n]!]!;
  let sum = 0;
  for (let n = 0; n < count; n++) sum += at(n);
  const mean = sum / count;
  let squares = 0;
  for (let n = 0; n < count; n++) squares += (at(n) - mean) ** 2;
  return { mean, deviation: Math.sqrt(squares / count) };
}
