import { Recent } from "../base/recent.js";
import { valueAt } from "../data/columns.js";
import type { History } from "../data/history.js";
import type { Catalog } from "../data/types.js";
import type { InterestBatch, MultiInterestModel } from "../models/model.js";
import { type DescribedInterest, describeInterests } from "./describe-interests.js";

/** What a model tells of one history: its interests, and what is said of them. Nobody may change it. */
export interface InterestState {
  readonly batch: InterestBatch;
  readonly described: readonly DescribedInterest[];
}

/**
 * What the model has told of the histories that were asked for most recently. They are kept by what they hold, so that one
 * more event, another cluster or another profile is another history; a model tells the same of the same.
 */
export class InterestStates {
  readonly #states: Recent<InterestState>;

  /** @param kept how many histories at most */
  constructor(kept: number) {
    this.#states = new Recent(kept);
  }

  /** As `model.interests([history])` and `describeInterests`. */
  of(model: MultiInterestModel, history: History, labels: readonly string[], catalog: Catalog): InterestState {
    return this.#states.get(contentsOf(history, labels), () => {
      const batch = model.interests([history]);
      return { batch, described: describeInterests(model, { batch, row: 0 }, history, labels, catalog) };
    });
  }
}

/** All that a model and the words about it can depend on, as a text. */
function contentsOf({ items, clusters, events, times, weights, profile }: History, labels: readonly string[]): string {
  const said = [
    labels,
    events === undefined ? null : Array.from(events.codes, (code) => events.dictionary[code]),
    profile === undefined
      ? null
      : Array.from(profile.columns, ([name, column]) => [name, column.kind, valueAt(column, profile.row)]),
  ];
  // Arrays are of the length of the items, or absent: no two histories are written alike.
  const arrays = [items, clusters, times, weights].map((array) => (array === undefined ? "-" : `+${bytesOf(array)}`));
  return `${items.length}${arrays.join("")}${JSON.stringify(said)}`;
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString("latin1");
}
