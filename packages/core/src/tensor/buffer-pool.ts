/**
 * Arrays of disposed tensors, kept for the next tensor of the same length: a training step makes the same shapes again
 * and again, and fresh pages cost more than most of its kernels. Contents are whatever was left in them.
 */
export class BufferPool {
  readonly #free = new Map<number, Float32Array[]>();
  #bytes = 0;
  readonly #limit: number;

  constructor(limitBytes: number) {
    this.#limit = limitBytes;
  }

  /** Bytes lying idle. */
  get bytes(): number {
    return this.#bytes;
  }

  take(length: number): Float32Array | undefined {
    const array = this.#free.get(length)?.pop();
    if (array !== undefined) this.#bytes -= array.byteLength;
    return array;
  }

  give(array: Float32Array): void {
    if (array.byteLength > this.#limit) return;
    const same = this.#free.get(array.length) ?? [];
    // Re-inserting keeps the map in order of last use, so that lengths no longer asked for go first.
    this.#free.delete(array.length);
    this.#free.set(array.length, same);
    same.push(array);
    this.#bytes += array.byteLength;
    for (const [length, arrays] of this.#free) {
      if (this.#bytes <= this.#limit) break;
      this.#bytes -= arrays.length * length * Float32Array.BYTES_PER_ELEMENT;
      this.#free.delete(length);
    }
  }
}
