import { hash } from "node:crypto";
import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { xoroshiro128plusFromState } from "pure-rand/generator/xoroshiro128plus";
import { PrismrecError } from "./errors.js";

/** The generator's whole state: plain integers, so that it can stand in a JSON manifest. */
export type RandomState = readonly [number, number, number, number];

/** A seeded stream of random numbers: the same seed and stream name give the same bits everywhere. */
export interface Random {
  /** Uniform in [0, 1), 53 bits. */
  uniform(): number;
  /** Uniform integer, `lo` inclusive, `hi` exclusive. */
  integer(lo: number, hi: number): number;
  /** Standard normal (Box-Muller, two uniforms each, so that the state stays four integers). */
  normal(): number;
  /** Fisher-Yates in place; returns the same array. */
  shuffle<T extends Shuffleable>(values: T): T;
  state(): RandomState;
  restore(state: RandomState): void;
}

/** Anything with numbered, writable places: an array or a typed array. */
export interface Shuffleable {
  readonly length: number;
  [index: number]: unknown;
}

/**
 * A generator for `seed`. Different `stream` names give unrelated sequences of the same seed, so that one consumer's
 * draws never shift another's.
 */
export function createRandom(seed: number | string, stream = ""): Random {
  const digest = hash("sha256", JSON.stringify([String(seed), stream]), "buffer");
  return new PureRandom([digest.readInt32LE(0), digest.readInt32LE(4), digest.readInt32LE(8), digest.readInt32LE(12)]);
}

/** A generator that goes on from a saved state. */
export function randomFromState(state: RandomState): Random {
  return new PureRandom(state);
}

class PureRandom implements Random {
  #generator: ReturnType<typeof xoroshiro128plusFromState>;

  constructor(state: RandomState) {
    this.#generator = fromState(state);
  }

  uniform(): number {
    return uniformFloat64(this.#generator);
  }

  integer(lo: number, hi: number): number {
    if (!Number.isSafeInteger(lo) || !Number.isSafeInteger(hi) || hi <= lo) {
      throw new PrismrecError("INVALID_ARGUMENT", "a random integer needs a range with at least one value", {
        expected: "integers lo < hi",
        received: `lo ${lo}, hi ${hi}`,
      });
    }
    return uniformInt(this.#generator, lo, hi - 1);
  }

  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }

  shuffle<T extends Shuffleable>(values: T): T {
    const places: Shuffleable = values;
    for (let i = places.length - 1; i > 0; i--) {
      const j = uniformInt(this.#generator, 0, i);
      const moved = places[i];
      places[i] = places[j];
      places[j] = moved;
    }
    return values;
  }

  state(): RandomState {
    const [a = 0, b = 0, c = 0, d = 0] = this.#generator.getState();
    return [a, b, c, d];
  }

  restore(state: RandomState): void {
    this.#generator = fromState(state);
  }
}

function fromState(state: RandomState): ReturnType<typeof xoroshiro128plusFromState> {
  if (state.length !== 4 || state.every((word) => word === 0) || !state.every((word) => Number.isInteger(word))) {
    throw new PrismrecError("INVALID_ARGUMENT", "this is not a saved state of the random generator", {
      expected: "four integers, not all zero",
      received: JSON.stringify(state),
    });
  }
  return xoroshiro128plusFromState(state);
}
