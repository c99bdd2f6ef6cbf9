import { createHmac, randomBytes } from "node:crypto";

/** Users who are to stay out, as salted hashes: who they are cannot be read from it, only whether somebody is one. */
export class Forgotten {
  readonly #hashes: ReadonlySet<string>;
  /** A log names a user in many rows. */
  readonly #known = new Map<string, boolean>();

  /** @param salt of this list alone, so that lists of two runs cannot be compared */
  constructor(
    readonly salt: string,
    hashes: Iterable<string>,
  ) {
    this.#hashes = new Set(hashes);
  }

  static empty(): Forgotten {
    return new Forgotten(randomBytes(32).toString("hex"), []);
  }

  /** Sorted, so that the list does not tell who came when. */
  get hashes(): string[] {
    return [...this.#hashes].sort();
  }

  has(userId: string): boolean {
    if (this.#hashes.size === 0) return false;
    const known = this.#known.get(userId) ?? this.#hashes.has(this.#hash(userId));
    this.#known.set(userId, known);
    return known;
  }

  /** The list with further users. */
  with(userIds: Iterable<string>): Forgotten {
    return new Forgotten(this.salt, [...this.#hashes, ...Array.from(userIds, (id) => this.#hash(id))]);
  }

  #hash(userId: string): string {
    return createHmac("sha256", this.salt).update(userId.trim()).digest("hex");
  }
}
