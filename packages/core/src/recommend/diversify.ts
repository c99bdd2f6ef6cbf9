import type { MultiInterestModel } from "../models/model.js";
import type { Preference } from "./arrange.js";

const norms = new WeakMap<MultiInterestModel, Float64Array>();

/** [N] lengths of the item vectors; taken once per model. */
function normsOf(model: MultiInterestModel): Float64Array {
  const known = norms.get(model);
  if (known !== undefined) return known;
  const { data, rows, cols } = model.itemVectors();
  const lengths = Float64Array.from({ length: rows }, (_, row) => {
    let sum = 0;
    for (let at = row * cols; at < (row + 1) * cols; at++) sum += data[at]! * data[at]!;
    return Math.sqrt(sum);
  });
  norms.set(model, lengths);
  return lengths;
}

/**
 * Maximal marginal relevance (Carbonell and Goldstein 1998, "The Use of MMR, Diversity-Based Reranking"): an item costs what
 * it is like the placed item that is most like it, by the cosine of their vectors; a vector of zeros is like none.
 */
export class Spread implements Preference {
  readonly #placed: number[] = [];
  readonly #norms: Float64Array;
  /** Of each item that was asked about: its largest cosine so far, and with how many of the placed items it was compared. */
  readonly #known = new Map<number, { cosine: number; compared: number }>();

  constructor(
    private readonly model: MultiInterestModel,
    readonly weight: number,
  ) {
    this.#norms = normsOf(model);
  }

  cost(item: number): number {
    if (this.#placed.length === 0) return 0;
    let known = this.#known.get(item);
    if (known === undefined) {
      known = { cosine: -1, compared: 0 };
      this.#known.set(item, known);
    }
    for (; known.compared < this.#placed.length; known.compared++) {
      known.cosine = Math.max(known.cosine, this.#cosine(item, this.#placed[known.compared]!));
    }
    return known.cosine;
  }

  placed(item: number): void {
    this.#placed.push(item);
  }

  #cosine(a: number, b: number): number {
    const { data, cols } = this.model.itemVectors();
    const length = this.#norms[a - 1]! * this.#norms[b - 1]!;
    if (length === 0) return 0;
    let sum = 0;
    for (let x = 0; x < cols; x++) sum += data[(a - 1) * cols + x]! * data[(b - 1) * cols + x]!;
    return sum / length;
  }
}
