/** Values by key, as many as are kept: the one that was asked for longest ago goes first. */
export class Recent<Value> {
  readonly #values = new Map<string, Value>();

  /** @param kept how many at most; 0: none */
  constructor(readonly kept: number) {}

  /** The value of a key, made where there is none. What `make` throws is thrown, and nothing is kept of it. */
  get(key: string, make: () => Value): Value {
    const known = this.#values.get(key);
    // A map goes by when a key was put in.
    if (known !== undefined) this.#values.delete(key);
    const value = known ?? make();
    if (this.kept === 0) return value;
    this.#values.set(key, value);
    if (this.#values.size > this.kept) this.#values.delete(this.#values.keys().next().value!);
    return value;
  }
}
