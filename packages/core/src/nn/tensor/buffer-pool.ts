const STEPS_PER_OCTAVE_BITS = 3;

/** The next of eight capacities per power of two: at most an eighth is wasted, and batches of similar size share. */
export function capacityFor(length: number): number {
  const step = 2 ** Math.max(0, 31 - Math.clz32(length) - STEPS_PER_OCTAVE_BITS);
  return Math.ceil(length / step) * step;
}

/**
 * Memory of disposed tensors, kept for the next tensor of about the same size: a training step asks for the same shapes
 * again and again, and fresh pages cost more than most of its kernels. Contents are whatever was left in them.
 */
export class BufferPool {
  /** By capacity in elements. */
  readonly #free = new Map<number, ArrayBuffer[]>();
  #bytes = 0;
  readonly #limit: number;

  constructor(limitBytes: number) {
    this.#limit = limitBytes;
  }

  /** Bytes lying idle. */
  get bytes(): number {
    return this.#bytes;
  }

  take(length: number): Float32Array {
    const capacity = capacityFor(length);
    const buffer = this.#free.get(capacity)?.pop();
    if (buffer !== undefined) this.#bytes -= buffer.byteLength;
    return new Float32Array(buffer ?? new ArrayBuffer(capacity * Float32Array.BYTES_PER_ELEMENT), 0, length);
  }

  /** `buffer` must be one that `take` made, and nobody may read it any more. */
  give(buffer: ArrayBuffer): void {
    const capacity = buffer.byteLength / Float32Array.BYTES_PER_ELEMENT;
    const same = this.#free.get(capacity) ?? [];
    // Re-inserting keeps the map in order of last use, so that sizes no longer asked for go first.
    this.#free.delete(capacity);
    this.#free.set(capacity, same);
    same.push(buffer);
    this.#bytes += buffer.byteLength;
    for (const [size, buffers] of this.#free) {
      if (this.#bytes <= this.#limit) break;
      this.#bytes -= buffers.length * size * Float32Array.BYTES_PER_ELEMENT;
      this.#free.delete(size);
    }
  }
}
