/**
 * The k best of many offers: score descending, then id ascending, whatever the order of the offers. A binary heap with
 * the worst kept entry on top.
 */
export class TopK {
  readonly #ids: Uint32Array;
  readonly #scores: Float64Array;
  #size = 0;

  constructor(k: number) {
    this.#ids = new Uint32Array(k);
    this.#scores = new Float64Array(k);
  }

  /** How many are kept. */
  get size(): number {
    return this.#size;
  }

  /** No smaller score has a place. */
  get floor(): number {
    return this.#size < this.#ids.length ? Number.NEGATIVE_INFINITY : (this.#scores[0] ?? Number.POSITIVE_INFINITY);
  }

  /** The kept entries, in no particular order. */
  *entries(): Generator<readonly [id: number, score: number]> {
    for (let at = 0; at < this.#size; at++) yield [this.#ids[at]!, this.#scores[at]!];
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
    } else if (this.#size > 0 && !this.#worse(id, score, 0)) {
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
