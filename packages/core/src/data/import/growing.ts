/** A growing column of unsigned 32-bit numbers that costs no boxed element. */
export class Uint32Column {
  #values = new Uint32Array(1 << 12);
  length = 0;

  push(value: number): void {
    if (this.length === this.#values.length) {
      const grown = new Uint32Array(this.length * 2);
      grown.set(this.#values);
      this.#values = grown;
    }
    this.#values[this.length++] = value;
  }

  toArray(): Uint32Array {
    return this.#values.slice(0, this.length);
  }
}

/** The same for signed 64-bit numbers. */
export class Int64Column {
  #values = new BigInt64Array(1 << 12);
  length = 0;

  push(value: bigint): void {
    if (this.length === this.#values.length) {
      const grown = new BigInt64Array(this.length * 2);
      grown.set(this.#values);
      this.#values = grown;
    }
    this.#values[this.length++] = value;
  }

  toArray(): BigInt64Array {
    return this.#values.slice(0, this.length);
  }
}

/** The same for 32-bit floating-point numbers. */
export class Float32Column {
  #values = new Float32Array(1 << 12);
  length = 0;

  push(value: number): void {
    if (this.length === this.#values.length) {
      const grown = new Float32Array(this.length * 2);
      grown.set(this.#values);
      this.#values = grown;
    }
    this.#values[this.length++] = value;
  }

  toArray(): Float32Array {
    return this.#values.slice(0, this.length);
  }
}

/** Signed 32-bit numbers of which most are 0: places that were never set cost nothing until one is. */
export class SparseInt32Column {
  #values: Int32Array | undefined;

  /** Whether any place was set. */
  get used(): boolean {
    return this.#values !== undefined;
  }

  set(place: number, value: number): void {
    this.#values ??= new Int32Array(Math.max(1 << 12, place + 1));
    if (place >= this.#values.length) {
      const grown = new Int32Array(Math.max(place + 1, this.#values.length * 2));
      grown.set(this.#values);
      this.#values = grown;
    }
    this.#values[place] = value;
  }

  at(place: number): number {
    return this.#values?.[place] ?? 0;
  }
}
