import { PrismrecError } from "../base/errors.js";
import type { InterestBatch } from "../models/model.js";
import type { DescribedInterest } from "./describe-interests.js";
import type { InterestControls, InterestName } from "./types.js";

/** What is asked for one user: by place in the described interests, 0 where muted; the others are as they are. */
export type InterestFactors = ReadonlyMap<number, number>;

/**
 * Finds the interests that controls name among a user's own.
 *
 * @throws PrismrecError INVALID_ARGUMENT for a name that is none of theirs, one that is named twice, or a factor that is
 *   no positive number
 */
export function interestFactors(described: readonly DescribedInterest[], controls: InterestControls): InterestFactors {
  const factors = new Map<number, number>();
  const set = (name: InterestName, factor: number): void => {
    const place = placeOf(described, name);
    if (factors.has(place)) {
      throw new PrismrecError("INVALID_ARGUMENT", "an interest is muted or boosted twice", {
        expected: "each interest in one place only",
        received: shown(name),
      });
    }
    factors.set(place, factor);
  };
  for (const name of controls.mute ?? []) set(name, 0);
  for (const { interest, factor } of controls.boost ?? []) {
    if (!(Number.isFinite(factor) && factor > 0)) {
      throw new PrismrecError("INVALID_ARGUMENT", "an interest cannot be boosted by this factor", {
        expected: "a finite number above 0; above 1 the interest counts more, below 1 less",
        received: String(factor),
        hint: "An interest that is to count for nothing is muted.",
      });
    }
    set(interest, factor);
  }
  return factors;
}

/**
 * [B * J] the offsets to rank by: -Infinity for what is muted, plus log(factor) for what is boosted.
 *
 * @param factors of each user of the batch
 */
export function controlledOffsets(
  { count, offsets }: InterestBatch,
  described: readonly (readonly DescribedInterest[])[],
  factors: readonly InterestFactors[],
): Float32Array {
  const controlled = offsets.slice();
  for (const [row, own] of factors.entries()) {
    for (const [place, factor] of own) {
      for (const j of described[row]![place]!.members) controlled[row * count + j]! += Math.log(factor);
    }
  }
  return controlled;
}

function placeOf(described: readonly DescribedInterest[], name: InterestName): number {
  const place = described.findIndex(({ shown: { index, labels } }) =>
    typeof name === "number" ? index === name : labels.join(", ") === name,
  );
  if (place >= 0) return place;
  throw new PrismrecError("INVALID_ARGUMENT", "this user has no such interest", {
    expected:
      described.length === 0
        ? "no interests to be muted or boosted: the history holds none"
        : described.map(({ shown: { index, labels } }) => `index ${index}, label "${labels.join(", ")}"`).join("; or "),
    received: shown(name),
    hint: "An interest is named by its index, or by its labels joined by a comma and a space.",
  });
}

const shown = (name: InterestName): string => (typeof name === "number" ? String(name) : JSON.stringify(name));
