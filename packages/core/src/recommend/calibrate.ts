import type { MultiInterestModel } from "../models/model.js";
import type { Preference } from "./arrange.js";
import type { InterestRow } from "./describe-interests.js";

/** Part of the wanted mix that is lent to the list, so that an interest it lacks costs no infinite amount (Steck 2018: 0.01). */
const LENT = 0.01;

/**
 * Calibrated recommendations (Steck 2018): an item costs what the Kullback-Leibler divergence of the list's mix of interests
 * from the user's shares is with it, in nats. An item behind which no interest is named belongs to no part of the mix.
 */
export class Calibration implements Preference {
  /** [interests] the wanted mix; sums to 1. */
  readonly #wanted: readonly number[];
  readonly #counts: number[];
  #placed = 0;

  /**
   * @param shares of the interests, in the order that `interestOf` counts; their sum is above 0
   * @param interestOf place among the shares of the interest behind an item; -1: none
   */
  constructor(
    readonly weight: number,
    shares: readonly number[],
    private readonly interestOf: (item: number) => number,
  ) {
    const total = shares.reduce((sum, share) => sum + share, 0);
    this.#wanted = shares.map((share) => share / total);
    this.#counts = shares.map(() => 0);
  }

  cost(item: number): number {
    const own = this.interestOf(item);
    let divergence = 0;
    for (const [g, wanted] of this.#wanted.entries()) {
      if (wanted === 0) continue;
      const given = (this.#counts[g]! + (g === own ? 1 : 0)) / (this.#placed + 1);
      divergence += wanted * Math.log(wanted / ((1 - LENT) * given + LENT * wanted));
    }
    return divergence;
  }

  placed(item: number): void {
    const own = this.interestOf(item);
    if (own >= 0) this.#counts[own]!++;
    this.#placed++;
  }
}

/** [items] the interest of the model whose term is largest for each item, by the offsets that a search goes by. */
export function winnersOf(
  model: MultiInterestModel,
  { batch, row }: InterestRow,
  offsets: Float32Array,
  items: readonly number[],
): Uint16Array {
  const { data, cols } = model.itemVectors();
  const first = row * batch.count;
  return Uint16Array.from(items, (item) => {
    let [best, most] = [0, -Infinity];
    for (let j = 0; j < batch.count; j++) {
      let term = offsets[first + j]!;
      for (let x = 0; x < cols; x++) term += batch.vectors.data[(first + j) * cols + x]! * data[(item - 1) * cols + x]!;
      if (term > most) [best, most] = [j, term];
    }
    return best;
  });
}
