import { PrismrecError } from "../errors/errors.js";
import { yieldToEventLoop } from "../runtime/abort.js";
import type { History, Ranking, RankOptions } from "./model.js";

/**
 * Ranks every item by a score vector per history: score descending, ties by dense id ascending (popularity, then
 * external id). `fill` writes the scores of one history into its second argument ([N], item id - 1), which comes zeroed.
 * Scores are rounded to 32 bits first, so that the order is the one that the returned scores show.
 */
export async function rankScores(
  itemCount: number,
  histories: readonly History[],
  options: RankOptions,
  fill: (history: History, scores: Float64Array) => void,
): Promise<Ranking> {
  const { k } = options;
  if (!Number.isInteger(k) || k < 1 || k > itemCount) {
    throw new PrismrecError("INVALID_ARGUMENT", "the length of a list must fit the catalog", {
      expected: `k from 1 to ${itemCount}`,
      received: String(k),
    });
  }
  const ids = new Uint32Array(histories.length * k);
  const scores = new Float32Array(histories.length * k);
  const counts = new Uint32Array(histories.length);
  const all = new Float64Array(itemCount);
  const hidden = new Uint8Array(itemCount + 1);
  const top = new TopK(k);
  for (let row = 0; row < histories.length; row++) {
    if (row % 64 === 0) await yieldToEventLoop(options.signal);
    const history = histories[row]!;
    checkHistory(history, itemCount);
    all.fill(0);
    hidden.fill(0);
    fill(history, all);
    if (options.excludeHistory !== false) for (const id of history.items) hidden[id] = 1;
    const { exclude } = options;
    if (exclude !== undefined) {
      for (let at = exclude.indptr[row]!; at < exclude.indptr[row + 1]!; at++) hidden[exclude.indices[at]!] = 1;
    }
    top.clear();
    for (let id = 1; id <= itemCount; id++) if (hidden[id] === 0) top.offer(id, Math.fround(all[id - 1]!));
    counts[row] = top.drain(ids.subarray(row * k, (row + 1) * k), scores.subarray(row * k, (row + 1) * k));
    options.onProgress?.({ stage: "rank", done: row + 1, total: histories.length, unit: "users" });
  }
  return { k, ids, scores, counts };
}

function checkHistory(history: History, itemCount: number): void {
  for (const id of history.items) {
    if (id >= 1 && id <= itemCount) continue;
    throw new PrismrecError("UNKNOWN_ITEM", "a history holds an id that the catalog does not know", {
      expected: `dense ids from 1 to ${itemCount}`,
      received: String(id),
    });
  }
}

/** The k best of a stream of ascending ids: a binary heap with the worst kept entry on top. */
class TopK {
  readonly #ids: Uint32Array;
  readonly #scores: Float64Array;
  #size = 0;

  constructor(k: number) {
    this.#ids = new Uint32Array(k);
    this.#scores = new Float64Array(k);
  }

  clear(): void {
    this.#size = 0;
  }

  offer(id: number, score: number): void {
    if (this.#size < this.#ids.length) {
      let at = this.#size++;
      for (; at > 0; at = (at - 1) >> 1) {
        const parent = (at - 1) >> 1;
        if (!this.#worse(id, score, parent)) break;
        this.#move(parent, at);
      }
      this.#set(at, id, score);
    } else if (score > this.#scores[0]!) {
      this.#sink(id, score);
    }
  }

  /** Writes the kept entries, best first, and returns how many there are; the rest of the lists stays zero. */
  drain(ids: Uint32Array, scores: Float32Array): number {
    const count = this.#size;
    while (this.#size > 0) {
      const place = this.#size - 1;
      ids[place] = this.#ids[0]!;
      scores[place] = this.#scores[0]!;
      this.#size--;
      this.#sink(this.#ids[place]!, this.#scores[place]!);
    }
    return count;
  }

  /** Puts an entry in the place of the top one and restores the heap. */
  #sink(id: number, score: number): void {
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.#size) break;
      if (child + 1 < this.#size && this.#worse(this.#ids[child + 1]!, this.#scores[child + 1]!, child)) child++;
      if (this.#worse(id, score, child)) break;
      this.#move(child, at);
      at = child;
    }
    this.#set(at, id, score);
  }

  #worse(id: number, score: number, than: number): boolean {
    const other = this.#scores[than]!;
    return score < other || (score === other && id > this.#ids[than]!);
  }

  #move(from: number, to: number): void {
    this.#set(to, this.#ids[from]!, this.#scores[from]!);
  }

  #set(at: number, id: number, score: number): void {
    this.#ids[at] = id;
    this.#scores[at] = score;
  }
}
