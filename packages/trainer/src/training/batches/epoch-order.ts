import { PrismrecError, type Random } from "@prismrec/core/base";
import { minuteOf } from "@prismrec/core/data";
import type { SequenceOrder, TrainConfig } from "../../config.js";
import type { TrainingSequences } from "../sequences.js";

/** The training sequences as epochs read them: as they stand, or with an order that each epoch draws anew. */
export class EpochOrder {
  readonly #given: TrainingSequences;
  /** Group g holds the events `#groups[g] .. #groups[g + 1]`, whose order says nothing; undefined: there is none such. */
  readonly #groups: Uint32Array | undefined;

  /** @throws PrismrecError CONFIG_INVALID for baskets of sequences without times */
  constructor(sequences: TrainingSequences, order: SequenceOrder = "given") {
    this.#given = sequences;
    if (order === "permuted") this.#groups = sequences.indptr;
    if (order === "baskets") this.#groups = basketsOf(sequences);
  }

  /**
   * The sequences of an epoch: each group shuffled, everything that is known of an event beside it. A function of the
   * generator alone, whatever epochs came before.
   */
  draw(random: Random): TrainingSequences {
    const groups = this.#groups;
    if (groups === undefined) return this.#given;
    const { items, clusters, behaviours, times, weights, ...rest } = this.#given;
    const places = items.map((_, place) => place);
    for (let g = 0; g + 1 < groups.length; g++) random.shuffle(places.subarray(groups[g]!, groups[g + 1]!));
    return {
      ...rest,
      items: items.map((_, to) => items[places[to]!]!),
      clusters: clusters.map((_, to) => clusters[places[to]!]!),
      ...(behaviours === undefined
        ? {}
        : { behaviours: { ...behaviours, codes: behaviours.codes.map((_, to) => behaviours.codes[places[to]!]!) } }),
      ...(times === undefined ? {} : { times: times.map((_, to) => times[places[to]!]!) }),
      ...(weights === undefined ? {} : { weights: weights.map((_, to) => weights[places[to]!]!) }),
    };
  }
}

/** Where the baskets of the sequences begin, and the end of the last: events each within a minute of the one before. */
function basketsOf({ count, indptr, times }: TrainingSequences): Uint32Array {
  if (times === undefined) throw basketsNeedTimes();
  const minute = minuteOf(times);
  const begins = new Uint32Array(indptr[count]! + 1);
  let groups = 0;
  for (let r = 0; r < count; r++) {
    for (let at = indptr[r]!; at < indptr[r + 1]!; at++) {
      if (at === indptr[r] || times[at]! - times[at - 1]! > minute) begins[groups++] = at;
    }
  }
  begins[groups] = indptr[count]!;
  return begins.slice(0, groups + 1);
}

/** Whether a training tells events of one basket by their times. */
export function readsBaskets(config: TrainConfig): boolean {
  return "order" in config && config.order === "baskets";
}

export function basketsNeedTimes(): PrismrecError {
  return new PrismrecError("CONFIG_INVALID", 'the order "baskets" needs the times of events', {
    expected: "times, which tell what was taken together",
    received: "events without times",
    hint: 'Where there is no order at all, "permuted" reads each user\'s events as a set.',
  });
}
